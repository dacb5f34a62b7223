"""Measurements during a run of the VAE: bounds, variances, divergence, dead networks."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from experiments.run.errors import UserError
from experiments.run.folder import RunFolder
from experiments.run.statistics import best_setting, standard_error
from experiments.run.tracker import Tracker
from experiments.vae import evaluate
from experiments.vae.pictures import save_pictures

if TYPE_CHECKING:
    from experiments.vae.train import Run

SHARE_DRAWS = 10  # samples of every image of the fixed batch for r's share of c's variance
DEAD = 1e-7  # r counts as dead when its share of c's variance is below this


def measure(run: Run, step: int, steps: int, tracker: Tracker) -> None:
    """At the end of epochs: the mean training -ELBO, and every measurement that is due."""
    config, per_epoch = run.config, run.batches.per_epoch
    if step % per_epoch and step != steps:
        return
    epoch, last = step / per_epoch, step == steps
    values = {"train": run.running / (step % per_epoch or per_epoch), "epoch": round(epoch, 3)}
    if step % per_epoch == 0:  # a run that ends inside an epoch may be continued
        run.running.zero_()
    check_finite(run, step, values["train"], tracker)
    if epoch % config.evaluate_every == 0 or last:
        values["valid"] = evaluate.negative_elbo(run.vae, run.images.valid, run.fresh())
        values |= residual_shares(run, step, tracker)
    if config.variance_every and (epoch % config.variance_every == 0 or last):
        values |= gradient_variance(run, step, tracker)
    for k, scales in enumerate(getattr(run.method, "scales", []), 1):
        values |= {f"eta_{k}": scales.eta, f"lambda_{k}": scales.lambda_}
    values |= {f"r_rms_{k}": r.weight_rms() for k, r in enumerate(run.residuals, 1)}
    tracker.log(step, values)
    if last and config.pictures:
        save_pictures(run.vae, run.images, run.fresh(), tracker)


def gradient_variance(run: Run, step: int, tracker: Tracker) -> dict[str, Tensor]:
    """The variances of the gradient on the fixed batch, and a histogram of one gradient."""
    x, draws = run.fixed_batch(), run.config.variance_samples
    variances = evaluate.gradient_variance(run.method, x, run.fresh(), draws)
    _, grads = evaluate.gradients(run.method, x, run.fresh())
    tracker.histogram("gradient", torch.cat([g.flatten(1) for g in grads], 1), step)
    return {f"variance_{what}": value for what, value in variances.items()}


def residual_shares(run: Run, step: int, tracker: Tracker) -> dict[str, Tensor]:
    """The share of c's variance that comes from the network r, per layer."""
    if not run.residuals:
        return {}
    shares = evaluate.residual_share(run.method, run.fixed_batch(), run.fresh(), SHARE_DRAWS)
    for residual, share in zip(run.residuals, shares, strict=True):
        if residual.sees_z:
            report_dead(run, share < DEAD, step, tracker)
    return {f"r_share_{k}": share for k, share in enumerate(shares, 1)}


def report_dead(run: Run, dead: Tensor, step: int, tracker: Tracker) -> None:
    """Report once per replica that its network r contributes nothing: RELAX is REBAR there."""
    for label, is_dead in zip(run.labels(), dead.tolist(), strict=True):
        if is_dead and label not in run.dead:
            run.dead[label] = step
            print(
                f"{tracker.name} {label}: the network r is dead by step {step}: it does not vary "
                "with z any more, so that c is REBAR's; a smaller weight_decay or lr_factor of the "
                "estimator keeps r alive",
                flush=True,
            )


def check_finite(run: Run, step: int, train: Tensor, tracker: Tracker) -> None:
    """Report the replicas that diverged and keep their last checkpoint; the others continue.

    Raises:
        UserError: every replica diverged.
    """
    for row in (~train.isfinite()).nonzero().flatten().tolist():
        label = run.labels()[row]
        if label in run.diverged:
            continue
        named = [*run.vae.named_parameters(), *run.method.named_parameters()]
        bad = [name for name, p in named if not p[row].isfinite().all()] or ["f(b)"]
        run.diverged[label] = f"step {step}, {bad[0]}"
        kept = keep_checkpoint(tracker.folder, row)
        print(f"{tracker.name} {label}: {bad[0]} not finite by step {step}; {kept}", flush=True)
    if len(run.diverged) == len(run.rates):
        found = "; ".join(f"{label}: {what}" for label, what in run.diverged.items())
        raise UserError(f"{tracker.name}: every replica diverged ({found}); use a smaller lr")


def keep_checkpoint(folder: RunFolder, row: int) -> str:
    """Copy the newest checkpoint, from before replica `row` diverged."""
    newest, kept = folder.path / "checkpoint.pt", folder.path / f"before-divergence-{row}.pt"
    if not newest.exists():
        return "there was no checkpoint yet"
    shutil.copyfile(newest, kept)
    return f"its last checkpoint is kept as {kept}"


def summary(run: Run) -> dict[str, Any]:
    """The final measurements, one per replica: ELBO and IWAE bound on validation and test."""
    vae, samples = run.vae, run.config.iwae_samples
    splits = {"valid": run.images.valid, "test": run.images.test}
    found: dict[str, Any] = {"lr": run.rates, "seed": run.seeds}
    for split, images in splits.items():
        found[split] = evaluate.negative_elbo(vae, images, run.fresh()).tolist()
    for split, images in splits.items() if samples else ():
        bound = evaluate.negative_iwae(vae, images, run.fresh(), samples)
        found[f"{split}_iwae"] = bound.tolist()
    return found | {"diverged": run.diverged, "dead": run.dead}


def headline(summary: dict[str, Any]) -> str:
    """The best rate's validation -ELBO with its standard error over seeds."""
    rates, valid = np.array(summary["lr"]), np.array(summary["valid"])
    groups = {lr: valid[rates == lr] for lr in dict.fromkeys(summary["lr"])}
    lr = best_setting({lr: float(values.mean()) for lr, values in groups.items()})
    values = groups[lr]
    error = f" +- {standard_error(values):.2f}" if len(values) > 1 else ""
    best = f" at lr {lr:g}, the best of {len(groups)}" if len(groups) > 1 else ""
    return f"validation -ELBO {values.mean():.2f}{error}{best}"
