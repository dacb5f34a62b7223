"""Linear-Gaussian DAGs: data, BIC scores of all parent sets, and distances between DAGs."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import permutations

import numpy as np

DENSITY = 0.5  # the probability of an edge
WEIGHTS = (0.5, 1.5)  # absolute values of the weights of edges
SEED = 10**6  # of the first graph: apart from the seeds of the estimators


class Graphs:
    """One random DAG per seed, its data, and the best parents of every variable.

    Variables are numbered at random. Noise has variance 1; variables are standardised, so that
    their variances say nothing about the order.

    Attributes:
        scores: [R, 2^n, n], the BIC in nats of variable i with its best parents among the set.
        parents: [R, 2^n, n], those parents, a set as a bit mask.
    """

    def __init__(self, n: int, seeds: Sequence[int], observations: int) -> None:
        self.n = n
        generators = [np.random.default_rng(SEED + seed) for seed in seeds]
        self.weights = [random_weights(n, generator) for generator in generators]
        pairs = zip(self.weights, generators, strict=True)
        data = [sample(weights, observations, generator) for weights, generator in pairs]
        local = np.stack([local_scores(x) for x in data])
        self.scores, self.parents = best_subsets(local)
        self._distance = cache(self._distance_of_edges)

    def edges(self, row: int, order: Sequence[int]) -> np.ndarray:
        """The best DAG under an order, [n, n]: whether i -> j."""
        edges, before = np.zeros((self.n, self.n), dtype=bool), 0
        for item in order:
            chosen = self.parents[row, before, item]
            edges[:, item] = chosen >> np.arange(self.n) & 1
            before |= 1 << item
        return edges

    def distance(self, row: int, order: Sequence[int]) -> int:
        """The structural Hamming distance between the DAG under an order and the true one."""
        return self._distance(row, self.edges(row, order).tobytes())

    def _distance_of_edges(self, row: int, edges: bytes) -> int:
        found = np.frombuffer(edges, dtype=bool).reshape(self.n, self.n)
        return hamming(found, self.weights[row] != 0)


def random_weights(n: int, generator: np.random.Generator) -> np.ndarray:
    """The weight of every edge i -> j, [n, n], acyclic in a random order."""
    size = generator.uniform(*WEIGHTS, (n, n)) * generator.choice([-1, 1], (n, n))
    upper = np.triu(size * (generator.random((n, n)) < DENSITY), 1)
    order = generator.permutation(n)
    return upper[np.ix_(order, order)]


def sample(weights: np.ndarray, observations: int, generator: np.random.Generator) -> np.ndarray:
    """Standardised data [observations, n]: x = x W + e."""
    noise = generator.standard_normal((observations, len(weights)))
    x = noise @ np.linalg.inv(np.eye(len(weights)) - weights)
    return (x - x.mean(0)) / x.std(0)


def local_scores(x: np.ndarray) -> np.ndarray:
    """The BIC of every variable given every set of parents, [2^n, n]; -inf where it is in the set.

    -N/2 (log s^2 + 1 + log 2 pi) - (parents + 2)/2 log N, with the residual variance s^2.
    """
    observations, n = x.shape
    covariance = x.T @ x / observations
    scores = np.full((2**n, n), -np.inf)
    for mask in range(2**n):
        chosen = np.array([mask >> i & 1 for i in range(n)], dtype=bool)
        to_all = covariance[chosen]
        solved = np.linalg.solve(covariance[np.ix_(chosen, chosen)], to_all)
        variance = (covariance.diagonal() - (to_all * solved).sum(0))[~chosen]
        fit = -observations / 2 * (np.log(variance) + 1 + np.log(2 * np.pi))
        scores[mask, ~chosen] = fit - (chosen.sum() + 2) / 2 * np.log(observations)
    return scores


def best_subsets(local: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best score among all subsets of every set, and that subset, [R, 2^n, n] each.

    Where the variable itself is in the set, it is left out of the subsets.
    """
    scores = local.copy()
    masks = np.arange(scores.shape[1])
    parents = np.broadcast_to(masks[:, None], scores.shape).copy()
    for bit in range(scores.shape[2]):
        larger = masks[masks >> bit & 1 > 0]
        smaller = larger - (1 << bit)
        better = scores[:, smaller] > scores[:, larger]
        scores[:, larger] = np.where(better, scores[:, smaller], scores[:, larger])
        parents[:, larger] = np.where(better, parents[:, smaller], parents[:, larger])
    return scores, parents


def hamming(a: np.ndarray, b: np.ndarray) -> int:
    """Pairs of variables whose edge differs between the equivalence classes of two DAGs.

    BIC cannot tell DAGs of one Markov equivalence class apart, so their CPDAGs are compared.
    """
    differs = equivalence_class(a) != equivalence_class(b)
    return int(np.triu(differs | differs.T).sum())


def equivalence_class(edges: np.ndarray) -> np.ndarray:
    """The CPDAG of a DAG [n, n]: i -> j and j -> i where members of the class differ.

    The members have the same skeleton and the same colliders. Every one of them agrees with some
    order, so that orienting the skeleton along all orders finds them all.
    """
    place = np.array(list(permutations(range(len(edges)))))
    members = (edges | edges.T) & (place[:, :, None] < place[:, None, :])
    same = (colliders(members) == colliders(edges[None])).all((1, 2, 3))
    return members[same].any(0)


def colliders(edges: np.ndarray) -> np.ndarray:
    """Whether i -> k <- j without an edge between i and j, [D, n, n, n] for DAGs [D, n, n]."""
    apart = ~(edges | edges.mT | np.eye(edges.shape[-1], dtype=bool))
    return edges[:, :, None] & edges[:, None] & apart[..., None]
