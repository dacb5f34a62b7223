"""python -m tests.certify [--draws 300000] [--seed 20260] [--out results/certificates.csv]

A certificate for every estimator on every distribution that it accepts: does it keep its
own claim? One row each, the same bytes from the same seed:

    claim        unbiased or biased, as rx.ESTIMATORS has it
    quadrature   |E[grad] - exact|, the largest over logits and functions, without randomness:
                 Gauss-Legendre over the noise of one bit, or all tuples of independent outcomes
    max_z        the largest |mean - exact| in standard errors, over coordinates and functions
    float32_8    the relative bias in float32 of one bit at a logit of 8 and of -8, the larger one
                 over the functions, by quadrature over the numbers that the noise can take
    float32_12   the same at 12
    identities   tests of exact identities that name this estimator, passed of all

Exit status 1 where a claim fails: an unbiased estimator with |z| >= 5 or quadrature >= 1e-6, a
biased one that no function finds out (|z| <= 10), an identity that does not hold.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

import relax as rx
from relax.distributions.draw import INDEPENDENT
from relax.sampling import ANTITHETIC
from tests.float32 import largest_relative_bias
from tests.helpers import FUNCTIONS, Case, cases, distribution, draw_of, over_event
from tests.quadrature import bernoulli_mean, mean_over_tuples, normal_gradient

DISTRIBUTIONS = ("bernoulli", "categorical", "categoricals", "plackett_luce", "normal")
LOGITS = (-4.0, -1.3, 0.0, 0.6, 4.0)
COLUMNS = (
    "estimator",
    "settings",
    "distribution",
    "claim",
    "quadrature",
    "max_z",
    "float32_8",
    "float32_12",
    "draws",
    "comparisons",
    "identities",
    "holds",
)
IDENTITIES = {  # tests that state an exact identity, and whom it is about
    "test_relax_with_a_constant_c_is_reinforce_with_that_baseline": ("relax", "reinforce"),
    "test_lax_with_a_constant_c_is_reinforce_with_that_baseline": ("lax", "reinforce"),
    "test_lax_with_c_equal_to_f_is_pathwise": ("lax", "pathwise"),
    "test_relax_with_the_relaxed_objective_is_rebar": ("relax", "rebar"),
    "test_independent_samples_are_unbiased_by_enumeration": ("rloo", "double_cv"),
    "test_the_stein_terms_of_rodeo_have_mean_zero_by_enumeration": ("rodeo",),
    "test_rodeo_with_zero_scales_is_leave_one_out": ("rodeo", "rloo"),
    "test_double_cv_with_alpha_zero_is_leave_one_out": ("double_cv", "rloo"),
    "test_double_cv_with_alpha_minus_one_is_exact_for_a_linear_f": ("double_cv",),
    "test_leave_one_out_of_two_is_half_the_product_of_the_differences": ("rloo",),
    "test_vargrad_is_the_score_part_of_leave_one_out": ("rloo",),
    "test_disarm_is_the_mean_of_arm_given_the_pair": ("disarm", "arm"),
    "test_arms_with_two_samples_is_disarm": ("arms", "disarm"),
    "test_arms_is_unbiased_by_the_probabilities_of_its_copula": ("arms",),
    "test_reinmax_is_exact_for_a_quadratic_f_and_not_for_another": ("reinmax",),
    "test_straight_through_is_exact_for_a_linear_f_and_not_for_a_quadratic": ("straight_through",),
    "test_straight_through_gumbel_is_the_detached_difference_trick": ("st_gumbel",),
    "test_rao_blackwellised_gumbel_has_the_mean_of_gumbel_given_b": ("rao_gumbel", "st_gumbel"),
    "test_local_expectation_is_unbiased_by_enumeration": ("local_expectation",),
    "test_local_expectation_of_one_coordinate_is_exact": ("local_expectation",),
    "test_unordered_set_of_all_classes_is_exact": ("unordered_set",),
    "test_measure_valued_derivatives_are_unbiased": ("measure_valued",),
    "test_unbiased_reinmax_is_coupled_relax_with_its_noise_given_b_taken_out": (
        "unbiased_reinmax",
        "relax",
    ),
    "test_debiased_reinmax_is_reinmax_for_a_linear_f": ("debiased_reinmax", "reinmax"),
    "test_reinmax_is_leave_one_out_within_a_coordinate_for_the_tangent": (
        *("debiased_reinmax", "reinmax"),
    ),
    "test_carms_with_two_classes_is_arms": ("carms", "arms"),
    "test_grpo_is_leave_one_out_divided_by_the_spread": ("grpo", "rloo"),
}


def quadrature_error(case: Case) -> float | None:
    """The largest error of the mean without randomness; None where the noise has too many axes."""
    estimator, dist = case.bind(distribution(case.dist)), distribution(case.dist)
    draw = draw_of(estimator, dist)
    one_noise = draw.kind == INDEPENDENT and draw.samples == 1
    one_noise |= draw.kind == ANTITHETIC and draw.samples == 2
    if case.dist == "bernoulli" and one_noise:
        errors = []
        for logit in LOGITS:
            one = rx.Bernoulli(torch.tensor([logit]))
            for f in FUNCTIONS.values():
                mean = bernoulli_mean(case.bind(one), f, logit)
                errors.append(mean - rx.exact_gradient(f, one))
    elif draw.kind == INDEPENDENT and draw.samples > 1:
        if case.dist == "normal":
            return None
        errors = [
            mean_over_tuples(estimator, over_event(f, dist), dist, draw.samples)
            - rx.exact_gradient(over_event(f, dist), dist)
            for f in FUNCTIONS.values()
        ]
    else:
        return None
    return max(float(e.abs().max()) for e in errors)


def max_z(case: Case, draws: int, seed: int) -> float:
    """The largest |z| over coordinates and functions."""
    dist, generator = distribution(case.dist), torch.Generator().manual_seed(seed)
    exact = normal_gradient if case.dist == "normal" else rx.exact_gradient
    return max(
        rx.bias_test(
            case.bind(dist), f, dist, samples=draws, generator=generator, exact=exact(f, dist)
        ).max_z
        for f in (over_event(f, dist) for f in FUNCTIONS.values())
    )


class Outcomes:
    """A pytest plugin that counts how the tests of identities went."""

    def __init__(self) -> None:
        self.passed: dict[str, list[bool]] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = report.nodeid.split("::")[-1].split("[")[0]
        if name in IDENTITIES and (report.when == "call" or report.failed):
            self.passed.setdefault(name, []).append(report.passed)


def identities() -> dict[str, tuple[int, int]]:
    """Estimator -> identities that hold, and all that were tested."""
    outcomes, here = Outcomes(), Path(__file__).parent
    files = map(str, [here / "test_identities.py", *sorted(here.glob("test_zoo*.py"))])
    select = " or ".join(IDENTITIES)
    pytest.main(["-q", "--no-header", "-p", "no:cacheprovider", "-k", select, *files], [outcomes])
    counts: dict[str, tuple[int, int]] = {}
    for name, about in IDENTITIES.items():
        held = all(outcomes.passed.get(name, [False]))
        for estimator in about:
            good, total = counts.get(estimator, (0, 0))
            counts[estimator] = (good + held, total + 1)
    return counts


def certificate(case: Case, draws: int, seed: int, held: tuple[int, int]) -> dict[str, str]:
    """One row: what is claimed, what was found, and whether they agree."""
    dist = distribution(case.dist)
    error, z = quadrature_error(case), max_z(case, draws, seed)
    if case.unbiased:
        holds = z < 5 and (error is None or error < 1e-6)
    else:
        holds = z > 10
    values = (
        case.name,
        settings(case),
        case.dist,
        "unbiased" if case.unbiased else "biased",
        "" if error is None else f"{error:.0e}" if error > 1e-9 else "< 1e-9",
        f"{z:.2f}",
        *(float32(case, logit) for logit in (8.0, 12.0)),
        draws,
        len(FUNCTIONS) * dist.theta.numel(),
        f"{held[0]} of {held[1]}" if held[1] else "",
        "yes" if holds and held[0] == held[1] else "NO",
    )
    return dict(zip(COLUMNS, map(str, values), strict=True))


def float32(case: Case, logit: float) -> str:
    """The largest relative bias in float32, where it can be had."""
    bias = None
    if case.dist == "bernoulli" and case.unbiased:
        bias = largest_relative_bias(case, logit)
    return "" if bias is None else f"{bias:.1g}"


def settings(case: Case) -> str:
    """The estimator's own arguments as text."""
    own = case.bind(distribution(case.dist)).keywords
    values = {
        key: f"{float(value):g}" if isinstance(value, torch.Tensor) else value
        for key, value in own.items()
        if not callable(value)
    }
    return " ".join(f"{key}={value}" for key, value in values.items())


def certify(draws: int, seed: int) -> list[dict[str, str]]:
    """Every certificate, by name."""
    torch.set_default_dtype(torch.float64)
    held = identities()
    found = cases(*DISTRIBUTIONS)
    found.sort(key=lambda case: case.name)
    return [certificate(case, draws, seed, held.get(case.name, (0, 0))) for case in found]


def table(rows: list[dict[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.certify")
    parser.add_argument("--draws", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=20260)
    parser.add_argument("--out", type=Path, default=Path("results/certificates.csv"))
    args = parser.parse_args(arguments)
    rows = certify(args.draws, args.seed)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(table(rows))
    broken = [row for row in rows if row["holds"] != "yes"]
    for row in broken:
        print("claim broken: " + ", ".join(f"{k} {v}" for k, v in row.items() if v))
    comparisons = sum(int(row["comparisons"]) for row in rows)
    print(f"{len(rows) - len(broken)} of {len(rows)} certificates, {comparisons} comparisons of")
    print(f"{args.draws:,} draws each: {args.out}")
    return int(bool(broken))


if __name__ == "__main__":
    sys.exit(main())
