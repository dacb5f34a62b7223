"""The environments: gymnasium's own transitions, independent rows, starts from the seed alone."""

import builtins
import itertools
import sys

import numpy as np
import pytest

from experiments.rl import envs
from experiments.run.errors import UserError

gymnasium = pytest.importorskip("gymnasium")
spaces = gymnasium.spaces


def test_cartpole_is_gymnasiums_bit_for_bit():
    ours, theirs = envs.make("CartPole-v1", 5, 60), envs.Environments("CartPole-v1", 5, 60)
    rng, rows = np.random.default_rng(0), np.arange(5)
    first = [envs.episode_seed(int(row), 0) for row in rows]
    seen = ours.reset(rows, first)
    assert np.array_equal(seen, theirs.reset(rows, first))
    episodes = 5
    for _ in range(3000):
        steady = seen[:, 2] + seen[:, 3] > 0  # keeps the pole up long enough for the clock
        action = np.where(rng.random(5) < 0.3, rng.integers(0, 2, 5), steady)
        a, b = ours.step(rows, action), theirs.step(rows, action)
        assert all(np.array_equal(p, q) for p, q in zip(a, b, strict=True))
        seen, ended = a[0], a[2] | a[3]
        if ended.any():
            seeds = [envs.episode_seed(7, episodes + i) for i in range(ended.sum())]
            episodes += len(seeds)
            seen[ended] = ours.reset(rows[ended], seeds)
            assert np.array_equal(seen[ended], theirs.reset(rows[ended], seeds))
    assert episodes > 30


def test_the_clock_truncates_and_does_not_terminate():
    stepper = envs.make("CartPole-v1", 1, 3)
    stepper.reset(np.array([0]), [0])
    flags = [stepper.step(np.array([0]), np.array([t % 2]))[2:] for t in range(3)]
    assert [bool(terminated[0]) for terminated, _ in flags] == [False] * 3
    assert [bool(truncated[0]) for _, truncated in flags] == [False, False, True]


def test_a_row_steps_alone():
    both, one = envs.make("Acrobot-v1", 3, 50), envs.make("Acrobot-v1", 1, 50)
    both.reset(np.array([0, 1, 2]), [4, 5, 6])
    one.reset(np.array([0]), [5])
    for action in (0, 2, 1, 2):
        beside_another = both.step(np.array([1]), np.array([action]))
        by_itself = one.step(np.array([0]), np.array([action]))
        assert all(np.array_equal(a, b) for a, b in zip(beside_another, by_itself, strict=True))


def test_episode_seeds_depend_on_run_and_episode_only():
    seeds = {
        (run, episode): envs.episode_seed(run, episode)
        for run in range(20)
        for episode in range(50)
    }
    assert len(set(seeds.values())) == len(seeds)
    assert envs.episode_seed(3, 11) == seeds[3, 11]


def test_actions_are_spread_and_then_clipped():
    pytest.importorskip("mujoco")
    pendulum = envs.make("InvertedPendulum-v4", 1, 10, rescale=True)
    low, high = pendulum.low[0], pendulum.high[0]
    taken = pendulum.to_bounds(np.array([[-1.0], [0.0], [1.0], [9.0]]))
    np.testing.assert_allclose(taken[:, 0], [low, (low + high) / 2, high, high])


def test_a_missing_gymnasium_names_the_extra(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "gymnasium":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(UserError, match=r"\[experiments\]"):
        envs.make("CartPole-v1", 1, 10)


def test_an_unknown_environment_is_named():
    with pytest.raises(UserError, match="NoSuchEnv-v0"):
        envs.make("NoSuchEnv-v0", 1, 10)


# ---- spaces ----

BOX = spaces.Box(-1.0, 1.0, (2,))


class Echo(gymnasium.Env):
    """Insists on actions of its space, keeps them, and lasts until the clock cuts it."""

    def __init__(self, action_space, observation_space, render_mode=None):
        self.action_space, self.observation_space = action_space, observation_space
        self.taken = []

    def reset(self, seed=None, options=None):
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        assert self.action_space.contains(action), action
        self.taken.append(action)
        return self.observation_space.sample(), 1.0, False, False, {}


NUMBERS = itertools.count()


@pytest.fixture
def echo(monkeypatch):
    """Register an Echo with these spaces; its id."""

    def register(action_space, observation_space):
        name = f"Echo-v{next(NUMBERS)}"
        kwargs = {"action_space": action_space, "observation_space": observation_space}
        gymnasium.register(name, Echo, kwargs=kwargs)
        return name

    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    return register


def test_actions_of_a_discrete_space_begin_at_its_start(echo):
    name = echo(spaces.Discrete(3, start=1), BOX)
    two = envs.make(name, 2, 5)
    assert envs.discrete(name) and two.actions == 3
    two.reset(np.arange(2), [0, 1])
    two.step(np.arange(2), np.array([0, 2]))
    assert [env.unwrapped.taken for env in two.envs] == [[1], [3]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16])
@pytest.mark.parametrize("shape", [(1,), (2, 3)])
def test_actions_of_a_box_have_its_dtype_and_shape(echo, dtype, shape):
    name = echo(spaces.Box(-0.3, 0.1, shape, dtype), BOX)
    two = envs.make(name, 2, 5)
    assert not envs.discrete(name) and two.dimension == int(np.prod(shape))
    two.reset(np.arange(2), [0, 1])
    two.step(np.arange(2), np.full((2, two.dimension), 0.123456789))
    (taken,) = two.envs[0].unwrapped.taken
    assert np.shape(taken) == shape and (taken == dtype(0.1)).all()


@pytest.mark.parametrize(
    "space", [spaces.Box(0, 255, (2, 3), np.uint8), spaces.Box(-np.inf, np.inf, (4, 1, 2)), BOX]
)
def test_observations_of_several_axes_are_flattened(echo, space):
    two = envs.make(echo(spaces.Discrete(2), space), 2, 5)
    assert two.features == np.prod(space.shape)
    space.seed(7)
    assert np.array_equal(two.reset(np.arange(2), [6, 7])[1], space.sample().ravel())
    assert two.step(np.array([1]), np.array([0]))[0].shape == (1, two.features)


def test_a_discrete_observation_is_one_hot(echo):
    space = spaces.Discrete(4, start=-1)
    two = envs.make(echo(spaces.Discrete(2), space), 2, 5)
    seen = two.reset(np.arange(2), [6, 7])
    space.seed(7)
    assert two.features == 4
    assert seen[1].tolist() == np.eye(4)[space.sample() + 1].tolist()


OTHERS = [
    spaces.Dict({"a": BOX, "b": spaces.Discrete(2)}),
    spaces.Tuple([BOX, BOX]),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary(3),
    spaces.Text(5),
    spaces.Sequence(BOX),
]


@pytest.mark.parametrize("space", OTHERS, ids=lambda space: type(space).__name__)
def test_other_spaces_are_refused_in_one_line(echo, space):
    kind = type(space).__name__
    for what, both in (("action", (space, BOX)), ("observation", (spaces.Discrete(2), space))):
        with pytest.raises(UserError, match=f"has the {what} space {kind}") as error:
            envs.make(echo(*both), 1, 5)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("space", [spaces.Box(0, 9, (2,), np.int64)])
def test_whole_numbers_are_no_continuous_action(echo, space):
    with pytest.raises(UserError, match="has the action space Box.*floating-point"):
        envs.make(echo(space, BOX), 1, 5)


def test_rescaling_needs_bounds(echo):
    name = echo(spaces.Box(-np.inf, np.inf, (2,)), BOX)
    assert envs.make(name, 1, 5).dimension == 2
    with pytest.raises(UserError, match=r"without bounds: env.rescale=true"):
        envs.make(name, 1, 5, rescale=True)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (None, "importing mine failed (ModuleNotFoundError: No module named 'mine')"),
        ("import numpyy", "importing mine failed (ModuleNotFoundError: No module named 'numpyy')"),
        ("def", "importing mine failed (SyntaxError: "),
        ("", "is not an environment of gymnasium"),
    ],
)
def test_a_module_that_cannot_be_imported_is_named(tmp_path, monkeypatch, code, message):
    if code is not None:
        (tmp_path / "mine.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    with pytest.raises(UserError) as error:
        envs.make("mine:Mine-v0", 1, 5)
    assert message in str(error.value) and "\n" not in str(error.value)


def test_an_environment_that_cannot_be_made_is_named(monkeypatch):
    monkeypatch.setattr(gymnasium.envs.registration, "registry", dict(gymnasium.registry))
    gymnasium.register("Needy-v0", Echo)  # its arguments are missing
    with pytest.raises(UserError, match="env.id=Needy-v0 cannot be made: TypeError: "):
        envs.make("Needy-v0", 1, 5)
