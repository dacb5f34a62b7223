"""The figure of the benchmark."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from scripts import style
from scripts.bench.measure import MODELS, Row

HOW = {"eager": "#56B4E9", "compiled": "#0072B2", "graph": "#009E73"}


@style.applied()
def draw(rows: list[Row], path: Path) -> None:
    figure, axes = plt.subplots(2, 2, figsize=(style.WIDTH, 7.2))
    toy(axes[0, 0], rows)
    plain(axes[0, 1], rows)
    estimators(axes[1, 0], rows)
    scaling(axes[1, 1], rows)
    style.save(figure, path)


def toy(ax, rows: list[Row]) -> None:
    rows = [r for r in rows if r.family == "toy" and r.variant != "reference"]
    for how in dict.fromkeys(r.variant for r in rows):
        mine = [r for r in rows if r.variant == how]
        x, y = [r.replicas for r in mine], [r.vs_reference for r in mine]
        ax.loglog(x, y, "o-", color=HOW[how], label=how)
        for a, b in zip(x, y, strict=True):
            below = how == "eager"
            text = f"{b:.1f}" if b < 10 else f"{b:.0f}"
            offset, anchor = ((0, -14), "top") if below else ((0, 7), "bottom")
            ax.annotate(
                f"{text} x", (a, b), offset, textcoords="offset points", ha="center", va=anchor
            )
    ax.axhline(1, color="#999999", linestyle=":")
    ax.set(title="Toy RELAX against a plain PyTorch loop", xlabel="seeds in one process")
    ax.set(ylabel="times as fast, per seed and step", xlim=(0.4, 25_000), ylim=(0.3, 40_000))
    ax.legend(loc="upper left")


def plain(ax, rows: list[Row]) -> None:
    rows = [r for r in rows if r.family == "vae"]
    cases = [(m, b) for b in (24, 100) for m in MODELS]
    labels, x = [], 0.0
    for model, batch in cases:
        start = x
        for name in ("rebar", "relax"):
            mine = [r for r in rows if (r.case, r.batch, r.estimator) == (model, batch, name)]
            for r in mine:
                if r.variant in HOW and not np.isnan(r.vs_reference):
                    hatch = "///" if name == "relax" else None
                    ax.bar(x, r.vs_reference, 0.9, color=HOW[r.variant], hatch=hatch, ec="white")
                    x += 1
        labels.append(((start + x - 1) / 2, f"{model}\n{batch}"))
        x += 1.5
    ax.axhline(1, color="#333333", linestyle=":")
    ax.set_xticks([a for a, _ in labels], [t for _, t in labels], fontsize=7)
    ax.set(title="VAE against a plain PyTorch step", ylabel="times as fast")
    ax.set_xlabel("model and batch")
    for how in dict.fromkeys(r.variant for r in rows if r.variant in HOW):
        ax.bar(0, 0, color=HOW[how], label=how)
    ax.bar(0, 0, color="#BBBBBB", hatch="///", ec="white", label="RELAX (plain bars: REBAR)")
    ax.set_ylim(0, 1.45 * ax.get_ylim()[1])
    ax.legend(ncols=2, fontsize=8, loc="upper left")


def estimators(ax, rows: list[Row]) -> None:
    rows = [r for r in rows if (r.family, r.variant, r.case) == ("vae", "eager", "linear1")]
    names = list(dict.fromkeys(r.estimator for r in rows))
    for batch, shift, alpha in ((24, -0.2, 0.55), (100, 0.2, 1.0)):
        for i, name in enumerate(names):
            mine = [r.vs_concrete for r in rows if (r.estimator, r.batch) == (name, batch)]
            tint = style.colour("relax" if name == "relax4" else name)
            for value in mine:
                ax.barh(i + shift, value, 0.38, color=tint, alpha=alpha)
                ax.annotate(
                    f" {value:.1f}" + (f"  (batch {batch})" if i == 0 else ""),
                    (value, i + shift),
                    va="center",
                    fontsize=8,
                )
    labels = ["RELAX, r of 4 layers" if n == "relax4" else style.label(n) for n in names]
    ax.set_yticks(range(len(names)), labels, fontsize=9)
    ax.invert_yaxis()
    ax.set(title="What an estimator costs, linear1", xlabel="time of one step, in Concrete steps")


def scaling(ax, rows: list[Row]) -> None:
    for name in ("rebar", "relax"):
        mine = [r for r in rows if r.family == "vae-replicas" and r.estimator == name]
        x, y = [r.replicas for r in mine], [r.per_replica / 1e3 for r in mine]
        ax.plot(x, y, "o-", color=style.colour(name), label=f"{style.label(name)}, replicas")
        for column, marker in (("latents", "s"), ("batch", "^")):
            other, base = ("batch", 24) if column == "latents" else ("latents", 200)
            some = [r for r in rows if r.family == "vae-scaling" and r.estimator == name]
            some = [r for r in some if getattr(r, other) == base]
            x, y = [getattr(r, column) for r in some], [r.ms for r in some]
            line = {"color": style.colour(name), "linestyle": "--" if marker == "s" else ":"}
            ax.plot(x, y, marker, **line, label=f"{style.label(name)}, {column}")
    ax.set(xscale="log", yscale="log", xlabel="replicas, latents or batch (else 1, 200 and 24)")
    ax.set(title="Scaling of linear1", ylabel="ms per step and replica")
    ax.legend(fontsize=8)
