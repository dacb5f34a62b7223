"""The settings of each estimator on the VAE, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

RESIDUAL_INPUTS = ("z", "sigma", "x")  # sigma: 2 sigma(z / lambda) - 1 instead of z


@dataclass
class Reinforce:
    """The score function without a baseline, or leave-one-out with samples > 1."""

    samples: int = 1
    lr_factor: float = 1.0


@dataclass
class Nvil:
    """A learned baseline, a network of the layer's input, trained by squared error."""

    hidden: int = 100
    lr_factor: float = 10.0  # phi's learning rate over the model's


@dataclass
class MuProp:
    """A first-order Taylor expansion around the mean field, and NVIL's baseline."""

    hidden: int = 100
    lr_factor: float = 10.0


@dataclass
class Reparameterization:
    """An estimator that differentiates f through the sample; it is biased and has no phi."""

    core: ClassVar[str]  # the estimator of relax/


@dataclass
class Concrete(Reparameterization):
    """Relaxed samples instead of hard ones."""

    core: ClassVar[str] = "concrete"
    lambda_: float = 0.5


@dataclass
class StGumbel(Reparameterization):
    """The derivative at the hard sample, through the relaxed one."""

    core: ClassVar[str] = "st_gumbel"
    lambda_: float = 0.5


@dataclass
class StraightThrough(Reparameterization):
    """The derivative at the hard sample, as if H were the identity."""

    core: ClassVar[str] = "straight_through"


@dataclass
class ReinMax(Reparameterization):
    """Straight-through, exact to second order."""

    core: ClassVar[str] = "reinmax"


@dataclass
class Rebar:
    """c = eta f(sigma_lambda(z)); as in Grathwohl et al., or Tucker's relaxation."""

    eta: float = 1.0
    lambda_: float = 0.5
    learn_eta: bool = True
    learn_lambda: bool = True
    relaxation: str = "sigmoid"  # sigmoid | tucker
    coupled: bool = True
    lr_factor: float = 1.0  # phi's learning rate over the model's
    beta1: float = 0.9  # of phi's Adam
    warm_up: int = 0  # steps of phi alone before training


@dataclass
class Relax(Rebar):
    """c = eta (f(sigma_lambda(z)) + r(z, x)), or eta r(z, x) alone with `with_f=false`."""

    hidden: int = 200
    depth: int = 2  # hidden layers of r; the paper tried 2 and 4
    activation: str = "relu"  # of r
    inputs: list[str] = field(default_factory=lambda: ["z", "x"])  # of r: z | sigma, and x
    weight_decay: float = 0.0  # of r, in the scale of the paper's code
    with_f: bool = True
    warm_up: int = 1000


@dataclass
class RelaxPublished(Relax):
    """RELAX with the weight decay of the authors' code, which drives every weight of r to zero."""

    weight_decay: float = 0.001


@dataclass
class UnbiasedReinMax:
    """ReinMax made unbiased, with c = f; several samples on a model of one layer."""

    samples: int = 1
    eta: float = 1.0
    gamma: float = 0.8  # of the linear control variate given b
    lambda_: float = 0.1
    learn_lambda: bool = True
    lr_factor: float = 1.0  # phi's learning rate over the model's


@dataclass
class RelaxBenchmark(Relax):
    """RELAX as in the benchmark of Shi et al. (2022): a network of 137 units, z~ drawn anew."""

    lambda_: float = 0.1
    coupled: bool = False
    hidden: int = 137
    depth: int = 1
    activation: str = "leaky_relu"
    beta1: float = 0.999
    warm_up: int = 0


@dataclass
class Several:
    """Leave-one-out among independent samples."""

    core: ClassVar[str] = "rloo"  # the estimator of relax/
    learned: ClassVar[tuple[str, ...]] = ()  # scalars of phi, by name
    samples: int = 2
    lr_factor: float = 1.0  # phi's learning rate over the model's


@dataclass
class DisArm(Several):
    """Antithetic pairs."""

    core: ClassVar[str] = "disarm"


@dataclass
class Arms(Several):
    """Mutually antithetic samples."""

    core: ClassVar[str] = "arms"
    samples: int = 3


@dataclass
class DoubleCv(Several):
    """Double control variates, with a learned alpha."""

    core: ClassVar[str] = "double_cv"
    learned: ClassVar[tuple[str, ...]] = ("alpha",)
    samples: int = 3
    alpha: float = 0.0  # where it starts


@dataclass
class Carms(Several):
    """Mutually antithetic samples of classes."""

    core: ClassVar[str] = "carms"
    samples: int = 3


@dataclass
class DebiasedReinMax(Several):
    """ReinMax, corrected at one other outcome chosen at random, with a learned gamma."""

    core: ClassVar[str] = "debiased_reinmax"
    learned: ClassVar[tuple[str, ...]] = ("gamma",)
    samples: int = 1
    gamma: float = 1.0  # where it starts
