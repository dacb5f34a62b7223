"""The variants of each estimator of the policy gradient, one table per kind of action space."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Variant:
    """A critic, the objective that trains it, and how the actions' noise is sampled.

    critic     what is learned beside the policy: None, the state value V(s) ("value"), or the
               surrogate c ("surrogate"). A continuous policy always has V(s) as well.
    objective  what the surrogate minimises: "variance", the squared norm of an episode's gradient;
               "score", that of its score-function part alone, which probably made the paper's
               discrete figures; "squared", the squared error of the return, which probably made its
               continuous figure
    published  sample z~ as the authors' code does, which makes the estimate biased
    """

    critic: str | None
    objective: str = "variance"
    published: bool = False


DISCRETE = {
    "reinforce": Variant(None),
    "a2c": Variant("value"),
    "relax": Variant("surrogate"),
    "relax_biased": Variant("surrogate", published=True),
    "relax_score": Variant("surrogate", "score"),
    "relax_squared": Variant("surrogate", "squared"),
    "relax_published": Variant("surrogate", "score", published=True),
}
CONTINUOUS = {
    "a2c": Variant(None),
    "lax": Variant("surrogate"),
    "lax_score": Variant("surrogate", "score"),
    "lax_squared": Variant("surrogate", "squared"),
}


@dataclass
class DiscreteRates:
    """Learning rates. A list is a grid: every combination is trained with every seed."""

    lr: list[float] = field(default_factory=lambda: [0.01])
    scale: list[float] = field(default_factory=lambda: [1.0])  # the critic's rate is scale * lr


@dataclass
class ContinuousRates:
    """Adam's learning rates; a list is a grid. Where the policy's rate follows the KL, `lr` is its
    first value."""

    lr: list[float] = field(default_factory=lambda: [0.003])
    value_lr: list[float] = field(default_factory=lambda: [0.003])


@dataclass
class SurrogateRates(ContinuousRates):
    """The same for a variant with a surrogate."""

    surrogate_lr: list[float] = field(default_factory=lambda: [0.003])
    surrogate_steps: int = 1  # of the surrogate's optimiser per batch


def rates_schema(variant: Variant, discrete: bool) -> type:
    """The dataclass of a variant's settings, `estimators.<name>` in the configuration."""
    if discrete:
        return DiscreteRates
    return SurrogateRates if variant.critic else ContinuousRates
