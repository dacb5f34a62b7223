"""The configuration of policy-gradient runs; configs/rl.yaml and its groups fill it in."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any

from experiments.rl import envs
from experiments.rl.variants import CONTINUOUS, DISCRETE, Variant, rates_schema
from experiments.run.accelerate import COMPILE, compiles
from experiments.run.config import Experiment, overlay
from experiments.run.errors import UserError, check, known, positive

# Updates from which torch.compile has paid on a CPU: it takes 11 to 22 s, and an update of ten
# replicas then takes 1.7 to 2.5 ms less.
WORTHWHILE = 8_000


@dataclass
class Variance:
    """When mode=variance measures the policy gradient's variance, and of which estimators.

    A measurement plays `episodes` episodes at fixed parameters. All estimators in `of` are measured
    on the same episodes, each with a critic of its own that was trained on the same policy.
    """

    points: int = 50
    every: int = 10  # updates between two measurements (an update is an episode, or a batch)
    episodes: int = 100
    of: list[str] = field(default_factory=list)


@dataclass
class Env:
    """An environment, and the learning rates and measurements chosen for it.

    It counts as solved when the mean return of the last 100 episodes exceeds `solved`.
    """

    name: str = "cartpole"
    id: str = "CartPole-v1"  # of gymnasium
    steps: int = 200  # episodes are truncated here
    solved: float = 195.0
    rescale: bool = False  # continuous actions: map [-1, 1] to the bounds of the action space
    rates: dict[str, Any] = field(default_factory=dict)  # per estimator, the best of its grid
    grid: dict[str, Any] = field(default_factory=dict)  # per estimator, the rates of mode=grid
    variance: Variance = field(default_factory=Variance)

    @property
    def discrete(self) -> bool:
        """Whether the action space is discrete."""
        return envs.discrete(self.id)


@dataclass
class Rl(Experiment):
    """The schema of configs/rl.yaml."""

    device: str = "cpu"  # the simulators run there
    env: Env = field(default_factory=Env)
    mode: str = (
        "train"  # train | grid (all rates of env.grid) | variance | terms (see env.variance)
    )
    frames: int = 0  # steps in the environment per seed; 0: the value in `lengths`
    lengths: dict[str, int] = field(default_factory=dict)  # the preset's frames per environment
    first_seed: int = 100  # the grid uses seeds from 0, so its winner is trained on new ones
    gamma: float = 0.99
    precision: str = "float32"  # float32 | float64
    clip: bool = True  # record a GIF of the trained policy where the environment can be rendered
    log_every: int = 10  # updates per row of metrics.csv
    max_norm: float = 0.0  # scale the policy's gradient down to this norm; 0: never
    compile: str = "auto"  # torch.compile of a discrete policy's update: auto | on | off

    # discrete policies
    entropy: float = 0.01
    hidden: list[int] = field(default_factory=lambda: [10, 10])
    optimizer: str = "rmsprop"  # rmsprop | adam (beta2 = .99999, as the published code)
    # continuous policies
    batch: int = 2500  # least number of steps per batch, which consists of whole episodes
    value_steps: int = 25  # of V(s)'s optimiser per batch
    gae: float = 1.0  # lambda of the advantage; with 1 it is the return minus V(s)
    bootstrap: bool = True  # add V(s) of the last state to the return of a truncated episode
    kl: float = 0.002  # target KL per batch, by which the policy's rate is adapted; 0: a fixed rate
    filtered: bool = True  # normalise observations by running moments
    previous: bool = True  # the previous observation is part of the input
    context: bool = True  # the critics also see the policy's mean and std and the time
    continuous_hidden: list[int] = field(default_factory=lambda: [64, 64])

    @property
    def measured(self) -> list[str]:
        """The estimators whose variance is measured, each with a critic of its own."""
        return list(self.env.variance.of) if self.mode in ("variance", "terms") else []

    @property
    def compiled(self) -> bool:
        """Whether the update is compiled; of a continuous policy it is not."""
        updates = 2 * self.frames // self.env.steps  # episodes end after half of their steps or so
        return self.env.discrete and compiles(self.compile, updates, WORTHWHILE)

    def variant(self, name: str) -> Variant:
        """The variant of that name for the environment's action space."""
        variants, others = (DISCRETE, CONTINUOUS) if self.env.discrete else (CONTINUOUS, DISCRETE)
        kind = "discrete" if self.env.discrete else "continuous"
        if name in others and name not in variants:
            raise UserError(
                f"estimator={name} is not for the {kind} actions of {self.env.name}; use "
                f"{' or '.join(variants)}"
            )
        known(name, variants, f"estimator for {kind} actions")
        return variants[name]

    def rates_of(self, name: str) -> Any:
        """The learning rates of a variant, a dataclass of `variants`.

        Those of the command line take precedence over the environment's.
        """
        schema = rates_schema(self.variant(name), self.env.discrete)
        chosen = {**self._rates_of_env(name, schema), **self.estimators.get(name, {})}
        rates = overlay(schema, chosen, f"estimators.{name}")
        for key, value in vars(rates).items():
            for rate in value if isinstance(value, list) else [value]:
                positive(rate, f"estimators.{name}.{key}")
        return rates

    def _rates_of_env(self, name: str, schema: type) -> dict[str, Any]:
        """The environment's rates for a variant; relax_biased and the like use those of relax."""
        env = self.env
        table = env.grid if self.mode == "grid" else env.rates
        rates = table.get(name, table.get(name.split("_")[0], {}))
        unknown = sorted(rates.keys() - {item.name for item in fields(schema)})
        kind = "discrete" if env.discrete else "continuous"
        check(
            not unknown,
            f"env.rates of {env.name} has {', '.join(unknown)} for {name}, which has no meaning "
            f"for the {kind} actions of {env.id}; start from env=own to use env.id with another "
            "environment",
        )
        return rates

    def first_rates_of(self, name: str) -> dict[str, float]:
        """One number per learning rate of a variant: the first of each grid."""
        rates = vars(self.rates_of(name))
        return {key: value[0] if isinstance(value, list) else value for key, value in rates.items()}

    @property
    def case(self) -> str:
        """cartpole, or with the mode: cartpole-grid, cartpole-variance, cartpole-terms"""
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
        positive(self.max_norm, "max_norm", zero=True)
        known(self.compile, COMPILE, "compile")
        known(self.mode, ("train", "grid", "variance", "terms"), "mode")
        known(self.precision, ("float32", "float64"), "precision")
        known(self.optimizer, ("rmsprop", "adam"), "optimizer")
        check(
            0 <= self.gae <= 1 and self.gamma <= 1,
            f"gae={self.gae}, gamma={self.gamma}: between 0 and 1",
        )
        check(
            self.gae == 1 or self.mode != "terms",
            f"mode=terms splits the variance of an advantage with gae=1; here gae={self.gae}",
        )
        check(
            self.device == "cpu",
            f"device={self.device}: policies run on the CPU, as simulators do; use device=cpu",
        )
        for name in [*self.estimators, *self.measured]:
            self.rates_of(name)
        if not self.env.discrete:
            check(
                self.batch >= self.env.steps,
                f"batch={self.batch} is shorter than an episode of {self.env.name}: "
                f"{self.env.steps} steps",
            )
