"""Many runs in one process: networks, optimisers and random streams with a replica axis.

The replica axis R comes first in every parameter. Nothing reduces over it, so that a replica equals
the run alone bit for bit; `relax.backward` sums over it for the same reason.
"""

from relax.replicas.networks import (
    ACTIVATIONS,
    MLP,
    Activation,
    Linear,
    glorot,
    matmul,
    zeros,
)
from relax.replicas.optimizers import Adam, Optimizer, RMSprop
from relax.replicas.streams import Streams

__all__ = [
    "ACTIVATIONS",
    "MLP",
    "Activation",
    "Adam",
    "Linear",
    "Optimizer",
    "RMSprop",
    "Streams",
    "glorot",
    "matmul",
    "zeros",
]
