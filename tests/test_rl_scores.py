"""When a task counts as solved."""

from experiments.rl.scores import Scores
from tests.policies import made_batch, small


def test_solved_needs_a_hundred_episodes():
    scores = Scores(1, 195.0)
    for episode in range(150):
        scores._add(0, 200.0 if episode >= 20 else 0.0, 10)
    first = next(n for n in range(100, 151) if 200 * min(100, n - 20) / 100 > 195)
    assert scores.solved_episodes[0] == first
    assert scores.solved_frames[0] == 10 * first


def after(returns: list[float], goal: float) -> Scores:
    """Scores of one replica that played episodes of one step with these returns."""
    scores = Scores(1, goal)
    ends = [[1] * len(returns)]
    batch = made_batch([returns], ends, [[0] * len(returns)])
    batch.last = batch.last.bool()
    scores.add(batch)
    return scores


def test_the_mean_must_be_above_the_goal():
    assert after([195.0] * 120, 195.0).solved_frames.tolist() == [-1]
    assert after([195.5] * 120, 195.0).solved_frames.tolist() == [100]


def test_fewer_than_a_hundred_episodes_solve_nothing():
    scores = after([500.0] * 99, 195.0)
    assert scores.solved_frames.tolist() == [-1]
    assert scores.latest().tolist() == [500.0]  # the mean of those that were played


def test_what_was_solved_behind_the_end_does_not_count():
    """A longer run is shortened: one seed solved the task before the new end, one after it."""
    agents = small(True, "a2c", seeds=2)
    agents.config.frames = 1000
    agents.scores.solved_frames[:] = 900, 1100
    agents.scores.solved_episodes[:] = 90, 110
    summary = agents.summary()
    assert summary["solved_frames"] == [900, -1] and summary["solved_episodes"] == [90, -1]
