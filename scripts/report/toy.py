"""The toy's sections: Figure 1 left and right, Figure 2, and the other values of t."""

from __future__ import annotations

import numpy as np

from scripts.report.claims import Cell, Claim, mean, paired, share
from scripts.report.read import (
    NOT_RUN,
    Results,
    Table,
    average,
    curve,
    markdown,
    number,
    plus_minus,
    took,
)
from scripts.style import label

PAPER_STEPS = 10_000
ESTIMATORS = ("reinforce", "rebar", "relax", "exact")
T = 0.499


class Arm:
    """One estimator at one t: last losses and thetas [seeds], log-variances [points, seeds]."""

    def __init__(self, table: Table, t: float):
        self.t, self.seeds = t, len(np.unique(table["seed"]))
        self.steps = int(table["step"].max())
        step = table["step"].reshape(-1, self.seeds)
        self.loss_at = dict(zip(step[:, 0], table["loss"].reshape(-1, self.seeds), strict=True))
        self.theta_at = dict(zip(step[:, 0], table["theta"].reshape(-1, self.seeds), strict=True))
        self.loss, self.theta = self.loss_at[self.steps], self.theta_at[self.steps]
        log_variance = table.get("log_variance", np.full(step.size, np.nan))
        log_variance = log_variance.reshape(-1, self.seeds)
        self.measured = ~np.isnan(log_variance).any(axis=1)
        self.log_variance, self.at = log_variance[self.measured], step[self.measured, 0]

    @property
    def covered(self) -> np.ndarray:
        """How much of the way from theta = .5 to the optimum each seed has gone."""
        return covered(self.loss, self.t)

    @property
    def right(self) -> np.ndarray:
        """Whether each seed has found the better side of the coin."""
        return self.theta < 0.5 if self.t < 0.5 else self.theta > 0.5

    @property
    def signal(self) -> np.ndarray:
        """|true gradient| over the standard deviation of one sample's, mean over measurements."""
        logged = [i for i, step in enumerate(self.at) if not np.isnan(self.theta_at[step]).any()]
        theta = np.stack([self.theta_at[self.at[i]] for i in logged])
        gradient = abs(1 - 2 * self.t) * theta * (1 - theta)
        return (gradient / np.exp(self.log_variance[logged] / 2)).mean(axis=0)


def covered(loss, t: float):
    start, best = (t**2 + (1 - t) ** 2) / 2, min(t**2, (1 - t) ** 2)
    return (start - loss) / (start - best)


def arms(results: Results, t: float, preset: str = "paper") -> dict[str, Arm | None]:
    tables = {name: results.table(f"toy/{preset}/t{t!r}/{name}.csv") for name in ESTIMATORS}
    return {name: None if table is None else Arm(table, t) for name, table in tables.items()}


# ---- claims ----


def claims(results: Results) -> list[Claim]:
    found = arms(results, T)
    loss = results.paper[f"loss t{T}"]["series"]
    variance = results.paper[f"log_variance t{T}"]["series"]
    return [
        way("REINFORCE fails on the toy at t = .499", found, loss, ("reinforce",), below=0.5),
        noise(found),
        way(
            "REBAR's fixed surrogate cannot give consistent gradients there",
            found,
            loss,
            ("rebar",),
            below=0.5,
        ),
        sides(found),
        way("RELAX's learned surrogate solves it", found, loss, ("relax",), above=0.5),
        lowest(found, variance),
    ]


def way(says: str, found, paper: dict, names: tuple[str, ...], **bound: float) -> Claim:
    cells = []
    for name in names:
        theirs = covered(curve(paper[name], PAPER_STEPS), T)
        ours, full = None, False
        if arm := found[name]:
            ours, full = mean(arm.covered), arm.steps >= PAPER_STEPS
        cells.append(Cell(label(name), number(theirs, 2), ours, full=full, **bound))
    text = "The share of the way from the start to the optimum that is covered after 10 000 steps."
    return Claim(says, text, cells)


def noise(found) -> Claim:
    cells = []
    for name in ("reinforce", "rebar"):
        arm = found[name]
        ours = mean(arm.signal) if arm and len(arm.at) else None
        full = arm is not None and arm.steps >= PAPER_STEPS
        cells.append(Cell(label(name), "said", ours, below=1.0, digits=4, full=full))
    text = "The size of the true gradient over the standard deviation of a single sample's."
    return Claim("The noise outweighs the signal for REINFORCE and REBAR", text, cells)


def sides(found) -> Claim:
    """Consistent gradients lead every seed to the better side."""
    cells = []
    for name, bound in (("rebar", {"below": 0.95}), ("relax", {"above": 0.95})):
        arm = found[name]
        ours = share(arm.right) if arm else None
        full = arm is not None and arm.steps >= PAPER_STEPS
        cells.append(Cell(label(name), "one run", ours, full=full, **bound))
    text = "The share of seeds with theta on the better side of .5 after 10 000 steps."
    return Claim("REBAR's seeds end on both sides, RELAX's on the better one", text, cells)


def lowest(found, paper: dict) -> Claim:
    cells, relax = [], found["relax"]
    for name in ("reinforce", "rebar"):
        arm, ours = found[name], None
        if arm and relax and len(arm.at) and len(relax.at):
            ours = paired(arm.log_variance.mean(0), relax.log_variance.mean(0))
        theirs = average(paper[name], 490) - average(paper["relax"], 490)
        full = all(a is not None and a.steps >= PAPER_STEPS for a in (arm, relax))
        where = f"{label(name)} minus RELAX"
        cells.append(Cell(where, number(theirs, 1), ours, above=0.0, digits=1, full=full))
    text = "The difference of ln Var[gradient], mean over 200 measurements while training."
    return Claim("RELAX's gradient has the lowest variance on the toy", text, cells)


# ---- sections ----


def section(results: Results, claims: list[Claim]) -> str:
    command = "make reproduce-toy"
    parts = [
        "## The toy: E[(b - t)²] for one coin flip (Figures 1 and 2)\n",
        f"Command: `{command}`. One sample a step; Adam with rate .01 for the logit and for phi; "
        "coupled noise; lambda starts at .5, eta at 1; RELAX's surrogate has one layer of 10 tanh "
        "units on sigmoid(z/lambda). Standard errors and quantiles are over seeds.\n",
        results.picture(f"toy-paper-t{T}-curves", f"Figure 1: {gone(results, T)}.", command),
        losses(results, T),
        "The better side is theta < .5, seeds counted at the end. The paper's numbers are one run "
        "each. Its curve named *exact gradient* used a wrong derivative, (1 - 2t) theta in place "
        "of (1 - 2t) theta (1 - theta); ours is the right one. Whether REBAR or REINFORCE looks "
        f"lower in the paper's figure is the luck of one seed: {alike(results)}.\n",
        *(claim.table() for claim in claims),
        "### The learned relaxation (Figure 2)\n",
        results.picture(
            f"toy-paper-t{T}-relaxation",
            "Figure 2: what the estimators see of f over u, early and trained on.",
            command,
        ),
        relaxation(results),
        "The paper names its picture the optimal relaxation. Its temperature, .53, is that "
        "of about the thirtieth step of training phi, where the seeds disagree about the shape. "
        "Trained on, the surrogate is nearly flat at f(1)(1 - theta) + f(0) theta, the constant "
        "that leaves no variance.\n",
        "### Other values of t\n",
        *(other(results, t) for t in (0.49, 0.45)),
    ]
    return "\n".join(parts)


def losses(results: Results, t: float) -> str:
    """The paper's losses at the last step that its curves have, ours at the same step."""
    found, rows = arms(results, t), []
    loss = results.paper.get(f"loss t{t}", {"series": {}})["series"]
    variance = results.paper.get(f"log_variance t{t}", {"series": {}})["series"]
    variance = variance if t == T else {}  # the other one's figure does not say its steps' end
    at = 3000 if loss and loss["relax"]["x"][-1] < 5000 else PAPER_STEPS
    head = (
        "estimator",
        f"loss after {number(at, 0)} steps, paper",
        "ours: median [10 %, 90 %]",
        "mean ± se",
        "better side",
        "ln Var, paper",
        "ours ± se",
        "wall time, device",
    )
    for name, arm in found.items():
        paper = number(curve(loss[name], at), 5) if name in loss else "none"
        levels = number(average(variance[name], 490), 1) if name in variance else "none"
        row = results.row(f"toy/paper/t{t!r}/summary.csv", estimator=name) if arm else None
        rows.append((label(name), paper, *ours(arm, at), levels, measured(arm), took(row)))
    return markdown(head, rows)


def gone(results: Results, t: float) -> str:
    """What the picture shows: who gets to the optimum."""
    found = arms(results, t)
    cells = [
        f"{label(name)} {number(arm and arm.covered.mean(), 2)}"
        for name, arm in found.items()
        if name != "exact"
    ]
    return f"the share of the way to the optimum that is covered at the end, {', '.join(cells)}"


def ours(arm: Arm | None, at: int = PAPER_STEPS) -> tuple[str, str, str]:
    """Median with quantiles, mean with its error, seeds on the better side at the end."""
    if arm is None or at not in arm.loss_at:
        return NOT_RUN, NOT_RUN, NOT_RUN
    loss = arm.loss_at[at]
    low, median, high = (number(q, 5) for q in np.quantile(loss, [0.1, 0.5, 0.9]))
    spread = f"{median} [{low}, {high}]" if arm.seeds > 1 else median
    error = loss.std(ddof=1) / arm.seeds**0.5 if arm.seeds > 1 else None
    return spread, plus_minus(loss.mean(), error, 6), f"{arm.right.sum()} of {arm.seeds}"


def alike(results: Results) -> str:
    """REBAR against REINFORCE, which the paper's figure seems to order."""
    pair = [arms(results, T)[name] for name in ("rebar", "reinforce")]
    gap = paired(*(arm.loss for arm in pair)).text(5) if all(pair) else NOT_RUN
    return f"over our seeds REBAR's mean loss minus REINFORCE's is {gap}"


def measured(arm: Arm | None) -> str:
    if arm is None:
        return NOT_RUN
    if not len(arm.at):
        return "none: it has no noise"
    means = arm.log_variance.mean(axis=0)
    return plus_minus(means.mean(), means.std(ddof=1) / len(means) ** 0.5, 2)


def relaxation(results: Results) -> str:
    """How far the two surrogates rise and fall over u, early and late."""
    table = results.table(f"toy/paper/t{T}/relaxation.csv")
    head = (
        "surrogate",
        "steps",
        "lowest at u =",
        "rise from u = 0 to 1: median [10 %, 90 %] of seeds",
    )
    rows = []
    for name in ("rebar", "relax"):
        for which in (0, -1):
            what = "f(sigma(z/lambda)), REBAR" if name == "rebar" else "c(z), RELAX"
            if table is None:
                rows.append((what, "early" if which == 0 else "late", NOT_RUN, NOT_RUN))
                continue
            step = np.unique(table["step"])[which]
            here = (table["step"] == step) & (table["estimator"] == name)
            seeds = [c for c in np.unique(table["curve"][here]) if c.startswith("seed")]
            curves = np.stack([table["value"][here & (table["curve"] == c)] for c in seeds])
            middle = table["value"][here & (table["curve"] == "median")]
            lowest = table["u"][here & (table["curve"] == "median")][middle.argmin()]
            low, median, high = np.quantile(curves[:, -1] - curves[:, 0], [0.1, 0.5, 0.9])
            rise = f"{number(median, 4)} [{number(low, 4)}, {number(high, 4)}] of {len(seeds)}"
            rows.append((what, f"{step:.0f}", number(lowest, 2), rise))
    return markdown(head, rows)


def other(results: Results, t: float) -> str:
    command = f"make reproduce-toy T={t:g}".replace("0.", ".")
    text = losses(results, t)
    found = arms(results, t)
    pair = found["relax"], found["reinforce"]
    ratio = None
    if all(arm is not None and 5000 in arm.loss_at for arm in pair):
        best = min(t**2, (1 - t) ** 2)
        ratio = np.divide(*(np.median(arm.loss_at[5000] - best) for arm in pair))
    said = f"**t = {t:g}** (`{command}`). RELAX's distance from the optimum at 5000 steps over "
    said += f"REINFORCE's, medians: {number(ratio, 2)}.\n"
    caption = f"The same at t = {t:g}: {gone(results, t)}."
    picture = results.picture(f"toy-paper-t{t}-curves", caption, command)
    return "\n".join((said, text, picture))


def headline(results: Results) -> list[tuple[str, str, str]]:
    """Rows of the README's small table: what, the paper's, ours."""
    found, loss = arms(results, T), results.paper[f"loss t{T}"]["series"]
    variance = results.paper[f"log_variance t{T}"]["series"]
    rows = []
    for name in ("reinforce", "rebar", "relax"):
        what = f"toy, t = .499: loss after 10 000 steps, {label(name)}"
        rows.append((what, number(curve(loss[name], PAPER_STEPS), 5), ours(found[name])[0]))
    for name in ("reinforce", "relax"):
        what = f"toy, t = .499: ln Var[gradient], {label(name)}"
        rows.append((what, number(average(variance[name], 490), 1), measured(found[name])))
    return rows
