"""What a policy-gradient run can be told; configs/rl.yaml and its groups fill it in."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from experiments.rl import envs
from experiments.run.config import Experiment, overlay
from experiments.run.errors import UserError, check, known, positive


@dataclass
class Variance:
    """When mode=variance measures the policy gradient, and what.

    Each measurement plays `episodes` with the parameters held; every estimator in `of` is measured
    on the same ones, with a critic that learned beside the same policy.
    """

    points: int = 50
    every: int = 10  # updates between two measurements: episodes, or batches where continuous
    episodes: int = 100
    of: list[str] = field(default_factory=list)


@dataclass
class Env:
    """An environment, its goal (the mean return of 100 episodes above `solved`), what suits it."""

    name: str = "cartpole"
    id: str = "CartPole-v1"  # gymnasium's
    steps: int = 200  # the clock cuts an episode here
    solved: float = 195.0
    rescale: bool = False  # continuous actions: [-1, 1] is spread over the action space
    rates: dict[str, Any] = field(default_factory=dict)  # per estimator: the best of its grid
    grid: dict[str, Any] = field(default_factory=dict)  # per estimator: what mode=grid runs
    variance: Variance = field(default_factory=Variance)

    @property
    def discrete(self) -> bool:
        """Whether an action is one of n; the environment's action space says so."""
        return envs.discrete(self.id)


@dataclass
class Rl(Experiment):
    """The schema of configs/rl.yaml."""

    device: str = "cpu"  # where the simulators are
    env: Env = field(default_factory=Env)
    mode: str = "train"  # train | grid (all rates of env.grid) | variance (as env.variance says)
    frames: int = 0  # steps in the environment, per seed; 0: as `lengths` says
    lengths: dict[str, int] = field(default_factory=dict)  # a preset's frames by environment
    first_seed: int = 100  # the grid's seeds start from 0: its winner is run on fresh ones
    gamma: float = 0.99
    precision: str = "float32"  # float32 | float64
    clip: bool = True  # film the trained policy where the environment can be drawn
    log_every: int = 10  # training episodes (continuous: batches) to a row of metrics.csv

    # discrete policies
    entropy: float = 0.01
    hidden: list[int] = field(default_factory=lambda: [10, 10])
    optimizer: str = "rmsprop"  # rmsprop | adam (beta2 = .99999, as the published code)
    # continuous policies
    batch: int = 2500  # whole episodes until there are this many steps
    value_steps: int = 25  # of V(s) per batch
    gae: float = 1.0  # lambda of the advantage; 1 is the return minus V(s)
    bootstrap: bool = True  # V(s) continues an episode that the clock cut
    kl: float = 0.002  # the policy's rate follows this KL per batch; 0 keeps it fixed
    filtered: bool = True  # observations divided by running moments
    previous: bool = True  # the observation before is part of the input
    context: bool = True  # critics also see the policy's mean and std and the time
    continuous_hidden: list[int] = field(default_factory=lambda: [64, 64])

    @property
    def measured(self) -> list[str]:
        """The estimators whose variance is measured, each with a critic of its own."""
        return list(self.env.variance.of) if self.mode == "variance" else []

    def rates_of(self, name: str) -> dict[str, float]:
        """One number per rate of an arm: the first of each list."""
        own = vars(arm(name, self.estimators.get(name, {}), self)[1])
        return {key: value[0] if isinstance(value, list) else value for key, value in own.items()}

    @property
    def case(self) -> str:
        """cartpole, cartpole-grid or cartpole-variance"""
        return self.env.name if self.mode == "train" else f"{self.env.name}-{self.mode}"

    def check(self) -> None:
        super().check()
        self.frames = self.frames or self.lengths.get(self.env.name, 0)
        check(
            self.frames > 0,
            f"frames={self.frames}: the preset has no length for {self.env.name}; give frames=N",
        )
        positive(self.gamma, "gamma")
        positive(self.log_every, "log_every")
        positive(self.kl, "kl", zero=True)
        known(self.mode, ("train", "grid", "variance"), "mode")
        known(self.precision, ("float32", "float64"), "precision")
        known(self.optimizer, ("rmsprop", "adam"), "optimizer")
        check(
            0 <= self.gae <= 1 and self.gamma <= 1,
            f"gae={self.gae}, gamma={self.gamma}: between 0 and 1",
        )
        check(
            self.device == "cpu",
            f"device={self.device}: these runs wait for the simulator; use device=cpu",
        )
        for name, values in self.estimators.items():
            arm(name, values, self)
        for name in self.measured:
            arm(name, {}, self)
        if not self.env.discrete:
            check(
                self.batch >= self.env.steps,
                f"batch={self.batch} is shorter than an episode of {self.env.name}: "
                f"{self.env.steps} steps",
            )


@dataclass
class Rates:
    """Learning rates; a list is a grid, and every combination is a set of replicas of its own."""

    lr: list[float] = field(default_factory=lambda: [0.01])
    scale: list[float] = field(
        default_factory=lambda: [1.0]
    )  # of the critic's rate: critic rate = scale * lr


@dataclass
class ContinuousRates:
    """Adam's rates; a list is a grid. The policy's `lr` is a start where it follows the KL."""

    lr: list[float] = field(default_factory=lambda: [0.003])
    value_lr: list[float] = field(default_factory=lambda: [0.003])


@dataclass
class SurrogateRates(ContinuousRates):
    surrogate_lr: list[float] = field(default_factory=lambda: [0.003])
    surrogate_steps: int = 1  # of the surrogate per batch


@dataclass(frozen=True)
class Arm:
    """One way to a policy gradient.

    critic     what stands beside the policy: None, "value" V(s), "surrogate" c
    objective  what the surrogate is fitted by: "variance", the square of an episode's whole
               gradient; "score", that of its score part only, which probably made the paper's
               discrete figures; "squared", the distance to the return, which probably made its
               continuous figure
    published  draw z~ as the published code does, which is biased
    """

    critic: str | None
    objective: str = "variance"
    published: bool = False


DISCRETE = {
    "reinforce": Arm(None),
    "a2c": Arm("value"),
    "relax": Arm("surrogate"),
    "relax_biased": Arm("surrogate", published=True),
    "relax_score": Arm("surrogate", "score"),
    "relax_squared": Arm("surrogate", "squared"),
    "relax_published": Arm("surrogate", "score", published=True),
}
CONTINUOUS = {
    "a2c": Arm(None),  # V(s) belongs to every continuous arm
    "lax": Arm("surrogate"),
    "lax_score": Arm("surrogate", "score"),
    "lax_squared": Arm("surrogate", "squared"),
}


def arm(name: str, values: dict[str, Any], config: Rl) -> tuple[Arm, Any]:
    """The arm of that name for this kind of actions, and its settings.

    Those given count before those of the environment; relax_biased and the like have relax's.
    """
    env = config.env
    here, there = (DISCRETE, CONTINUOUS) if env.discrete else (CONTINUOUS, DISCRETE)
    kind = "discrete" if env.discrete else "continuous"
    if name not in here and name in there:
        culprit = f"estimator={name} is not for the {kind} actions of {env.name}"
        raise UserError(f"{culprit}; use {' or '.join(here)}")
    known(name, here, f"estimator for {kind} actions")
    chosen = here[name]
    continuous = SurrogateRates if chosen.critic else ContinuousRates
    schema = Rates if env.discrete else continuous
    of_env = env.grid if config.mode == "grid" else env.rates
    of_env = of_env.get(name, of_env.get(name.split("_")[0], {}))
    others = sorted(of_env.keys() - {item.name for item in fields(schema)})
    check(
        not others,
        f"env.rates of {env.name} has {', '.join(others)} for {name}, which has no meaning for the "
        f"{kind} actions of {env.id}; start from env=own to use env.id with another environment",
    )
    own = overlay(schema, {**of_env, **values}, f"estimators.{name}")
    for key, value in vars(own).items():
        for rate in value if isinstance(value, list) else [value]:
            positive(rate, f"estimators.{name}.{key}")
    return chosen, own
