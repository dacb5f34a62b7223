"""The report's pages: text from templates/<page>.md.j2, numbers from the modules here."""

from __future__ import annotations

from pathlib import Path

import jinja2

from scripts import style
from scripts.report import (
    claims,
    estimators,
    functions,
    permutations,
    rl,
    rl_grids,
    rl_tables,
    rl_target,
    speed,
    toy,
    vae,
    vae_comparisons,
    vae_residual,
    vae_tables,
    vae_training,
)
from scripts.results import Results, markdown

PAGES = ("README", "toy", "vae", "policies", "permutations", "estimators", "speed", "differences")
TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)
TEMPLATES.filters["table"] = markdown
TEMPLATES.filters["counted"] = claims.counted
MODULES = (style, claims, estimators, functions, permutations, rl, rl_grids, rl_tables, rl_target)
MODULES += (speed, toy, vae, vae_comparisons, vae_residual, vae_tables, vae_training)
TEMPLATES.globals |= {module.__name__.split(".")[-1]: module for module in MODULES}


def render(page: str, results: Results) -> str:
    """A page as Markdown."""
    text = TEMPLATES.get_template(f"{page}.md.j2").render(results=results)
    lines = [line.rstrip() for line in text.strip().split("\n")]
    kept = [line for i, line in enumerate(lines) if line or lines[i - 1]]  # one blank at a time
    return "\n".join(kept) + "\n"
