"""One estimator on a VAE: all learning rates and seeds side by side, from start to last step."""

from __future__ import annotations

import shutil
from typing import Any

import torch
from torch import Tensor

from experiments.run import ranks
from experiments.run.accelerate import graphed
from experiments.run.config import device, run_path, settings
from experiments.run.errors import UserError
from experiments.run.folder import RunFolder
from experiments.run.tracker import Tracker
from experiments.vae import evaluate
from experiments.vae.batches import Batches
from experiments.vae.config import Vae
from experiments.vae.estimators import ESTIMATORS, Noises
from experiments.vae.images import Images
from experiments.vae.models import VAE
from experiments.vae.pictures import save_pictures
from experiments.vae.step import Step
from relax.replicas import Streams

# Streams of one seed, apart in the 32 bits that torch keeps of it.
WEIGHTS, ORDER, NOISE, MEASURING = range(4)
SHARE_DRAWS = 10  # samples of every image of the fixed batch for r's share of c's variance
DEAD = 1e-7  # r counts as dead when its share of c's variance is below this


def train(config: Vae, name: str, images: Images, bar: bool = True) -> dict[str, Any]:
    """Train, resume or skip; returns the summary. bar=False where several share a terminal."""
    steps, rows = config.total_steps(len(images.train)), ranks.mine(rows_of(config))
    if not rows:
        return {}
    with run_folder(config, name, images) as folder:
        if folder.finished(steps):
            print(f"{folder.path} is finished, {steps} steps: skipped", flush=True)
            return folder.summary()
        run = Run(config, name, images, rows)
        if state := folder.load():
            run.load_state_dict(state)
        else:
            run.warm_up()
        with Tracker(
            folder,
            keys={"lr": run.rates, "seed": run.seeds},
            metrics=run.metrics,
            steps=steps,
            tracking=config.tracking,
            group=f"vae-{config.preset}-{config.case(images)}",
            job_type=name,
            name="-".join(["vae", config.case(images), folder.path.name]),
            rows="each",
            runs=config.runs,
            bar=bar,
        ) as tracker:
            for step in range(folder.step + 1, steps + 1):
                run.step(step)
                run.measure(step, steps, tracker)
                tracker.progress(step)
                if folder.due or step == steps:
                    folder.save(step, run.state_dict(), tracker)
            summary = run.summary()
            tracker.finish(summary, headline(summary))
        return folder.summary()


def run_folder(config: Vae, name: str, images: Images) -> RunFolder:
    """The estimator's run folder; what is measured beside training may change on resuming."""
    plain = settings(config, name, config.own(name))
    plain["data"] = {"name": images.name, "binarization": config.data.binarization}
    free = ("steps", "epochs", "iwae_samples", "pictures")
    path = ranks.shard(run_path(config, "vae", config.case(images), name))
    return RunFolder(path, plain, free, config.fresh, config.save_every)


def rows_of(config: Vae) -> list[tuple[float, int]]:
    """The replicas: every learning rate with every seed."""
    return [(lr, seed) for lr in config.lr for seed in range(config.seeds)]


class Run:
    """The state of a run: model, phi, optimisers, random streams and the order of the data.

    A replica for every learning rate and seed, rates outermost.
    """

    def __init__(
        self, config: Vae, name: str, images: Images, rows: list[tuple[float, int]] | None = None
    ) -> None:
        self.config = config
        place = device(config.device)
        self.images = images.to(place)
        rates, seeds = zip(*(rows or rows_of(config)), strict=True)
        self.rates, self.seeds = list(rates), list(seeds)
        generators = [torch.Generator().manual_seed(s) for s in self._stream_seeds(WEIGHTS)]
        mean = self.images.mean.cpu()
        vae = VAE(config.model, mean, config.latents, config.hidden, generators)
        self.method = ESTIMATORS[name].method(vae.to(place), config.own(name), generators).to(place)
        self.trainer = Step(self.method, torch.tensor(self.rates), config.beta2, config.compile)
        self.order = self._streams(ORDER, place)
        self.noise = self._streams(NOISE, place)
        self.batches = Batches(self.images, config.batch, self.order)
        self.running = torch.zeros(len(self.rates), device=place)  # sum of f since the epoch began
        self.advance = graphed(self._advance, config.graph, place)
        self.diverged: dict[str, str] = {}  # row -> what was found
        self.dead: dict[str, int] = {}  # row -> the step by which its surrogate r had died
        self.residuals = list(getattr(self.method, "residuals", []))
        pairs = [f"{what}_{k + 1}" for k in range(vae.depth) for what in ("eta", "lambda")]
        self.scales = pairs if hasattr(self.method, "scales") else []
        variance = ["variance_logits", "variance_weights"] if config.variance_every else []
        layers = range(1, len(self.residuals) + 1)
        residual = [f"{what}_{k}" for k in layers for what in ("r_rms", "r_share")]
        self.metrics = ["train", "valid", "epoch", *variance, *self.scales, *residual]

    def _stream_seeds(self, purpose: int) -> list[int]:
        return [4 * seed + purpose for seed in self.seeds]

    def _streams(self, purpose: int, place: torch.device) -> Streams:
        return Streams(self._stream_seeds(purpose), place, block=2**18)

    @property
    def vae(self) -> VAE:
        return self.method.vae

    # ---- training ----

    def step(self, step: int) -> None:
        """Everything random is drawn here, the rest can be a CUDA graph."""
        noise = self.method.noise(self.config.batch, self.noise)
        self.advance(self.batches.choose(step - 1), noise)

    def _advance(self, chosen: tuple[Tensor, Tensor | None], noise: Noises) -> None:
        self.running += self.trainer(self.batches.take(*chosen), noise)

    def warm_up(self) -> None:
        """Steps of phi alone on random batches, before the model moves."""
        advance = graphed(self._advance_phi, self.config.graph, self.running.device)
        for _ in range(getattr(self.method.settings, "warm_up", 0)):
            chosen = self.batches.choose_random()
            advance(chosen, self.method.noise(self.config.batch, self.noise))

    def _advance_phi(self, chosen: tuple[Tensor, Tensor | None], noise: Noises) -> None:
        self.trainer(self.batches.take(*chosen), noise, train_model=False)

    # ---- measuring ----

    def measure(self, step: int, steps: int, tracker: Tracker) -> None:
        """At the end of epochs: the training number, and what else is due."""
        config, per_epoch = self.config, self.batches.per_epoch
        if step % per_epoch and step != steps:
            return
        epoch, last = step / per_epoch, step == steps
        values = {
            "train": self.running / (step % per_epoch or per_epoch),
            "epoch": round(epoch, 3),
        }
        if step % per_epoch == 0:  # a run that ends inside an epoch may be continued
            self.running.zero_()
        self.watch(step, values["train"], tracker)
        if epoch % config.evaluate_every == 0 or last:
            values["valid"] = evaluate.negative_elbo(self.vae, self.images.valid, self.fresh())
            values |= self.residual_shares(step, tracker)
        if config.variance_every and (epoch % config.variance_every == 0 or last):
            found = evaluate.gradient_variance(
                self.method, self.fixed_batch(), self.fresh(), config.variance_samples
            )
            values |= {f"variance_{what}": value for what, value in found.items()}
            _, grads = evaluate.gradients(self.method, self.fixed_batch(), self.fresh())
            tracker.histogram("gradient", torch.cat([g.flatten(1) for g in grads], 1), step)
        for k, scales in enumerate(getattr(self.method, "scales", []), 1):
            values |= {f"eta_{k}": scales.eta, f"lambda_{k}": scales.lambda_}
        values |= {f"r_rms_{k}": r.weight_rms() for k, r in enumerate(self.residuals, 1)}
        tracker.log(step, values)
        if last and config.pictures:
            save_pictures(self.vae, self.images, self.fresh(), tracker)

    def residual_shares(self, step: int, tracker: Tracker) -> dict[str, Tensor]:
        """The share of c's variance that comes from the network r, per layer."""
        if not self.residuals:
            return {}
        x, streams = self.fixed_batch(), self.fresh()
        shares = evaluate.residual_share(self.method, x, streams, SHARE_DRAWS)
        for residual, share in zip(self.residuals, shares, strict=True):
            if residual.sees_z:
                self.report_dead(share < DEAD, step, tracker)
        return {f"r_share_{k}": share for k, share in enumerate(shares, 1)}

    def report_dead(self, dead: Tensor, step: int, tracker: Tracker) -> None:
        """Say once per replica that its network r contributes nothing: RELAX is REBAR there."""
        for row in dead.nonzero().flatten().tolist():
            label = f"lr={self.rates[row]:g} seed={self.seeds[row]}"
            if label not in self.dead:
                self.dead[label] = step
                print(
                    f"{tracker.name} {label}: the network r is dead by step {step}: it does not "
                    "vary with z any more, so that c is REBAR's; a smaller weight_decay or "
                    "lr_factor of the estimator keeps r alive",
                    flush=True,
                )

    def fresh(self) -> Streams:
        """The same noise for every measurement, apart from training's."""
        return self._streams(MEASURING, self.running.device)

    def fixed_batch(self) -> Tensor:
        """The first training images, the same for every estimator and seed."""
        x = self.images.train[: self.config.batch]
        x = (x > 0.5).to(x.dtype) if self.images.dynamic else x
        return x.repeat(len(self.rates), 1, 1)

    def watch(self, step: int, train: Tensor, tracker: Tracker) -> None:
        """Tell which replica diverged, where, and keep its last good weights; the others go on."""
        for row in (~train.isfinite()).nonzero().flatten().tolist():
            label = f"lr={self.rates[row]:g} seed={self.seeds[row]}"
            if label in self.diverged:
                continue
            named = [*self.vae.named_parameters(), *self.method.named_parameters()]
            bad = [name for name, p in named if not p[row].isfinite().all()] or ["f(b)"]
            self.diverged[label] = f"step {step}, {bad[0]}"
            kept = keep_checkpoint(tracker.folder, row)
            print(f"{tracker.name} {label}: {bad[0]} not finite by step {step}; {kept}", flush=True)
        if len(self.diverged) == len(self.rates):
            found = "; ".join(f"{label}: {what}" for label, what in self.diverged.items())
            raise UserError(f"{tracker.name}: every replica diverged ({found}); a smaller lr helps")

    def summary(self) -> dict[str, Any]:
        """The last measurements, one per replica: ELBO and IWAE bound on validation and test."""
        vae, images, config = self.vae, self.images, self.config
        summary: dict[str, Any] = {"lr": self.rates, "seed": self.seeds}
        summary["valid"] = evaluate.negative_elbo(vae, images.valid, self.fresh()).tolist()
        summary["test"] = evaluate.negative_elbo(vae, images.test, self.fresh()).tolist()
        if config.iwae_samples:
            for split in ("valid", "test"):
                bound = evaluate.negative_iwae(
                    vae, getattr(images, split), self.fresh(), config.iwae_samples
                )
                summary[f"{split}_iwae"] = bound.tolist()
        return summary | {"diverged": self.diverged, "dead": self.dead}

    # ---- checkpoints ----

    def state_dict(self) -> dict[str, Any]:
        return {
            "vae": self.vae.state_dict(),
            "method": self.method.state_dict(),
            "trainer": self.trainer.state_dict(),
            "batches": self.batches.state_dict(),
            "noise": self.noise.state_dict(),
            "running": self.running,
            "diverged": self.diverged,
            "dead": self.dead,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.vae.load_state_dict(state["vae"])
        self.method.load_state_dict(state["method"])
        self.trainer.load_state_dict(state["trainer"])
        self.batches.load_state_dict(state["batches"])
        self.noise.load_state_dict(state["noise"])
        self.running.copy_(state["running"])
        self.diverged = state["diverged"]
        self.dead = state["dead"]


def keep_checkpoint(folder: RunFolder, row: int) -> str:
    """Copy the newest checkpoint, from before row `row` diverged, out of the others' way."""
    newest, kept = folder.path / "checkpoint.pt", folder.path / f"before-divergence-{row}.pt"
    if not newest.exists():
        return "no checkpoint had been made yet"
    shutil.copyfile(newest, kept)
    return f"its last checkpoint is kept as {kept}"


def headline(summary: dict[str, Any]) -> str:
    """The best rate's validation -ELBO with its standard error over seeds."""
    groups: dict[float, list[float]] = {}
    for lr, valid in zip(summary["lr"], summary["valid"], strict=True):
        groups.setdefault(lr, []).append(valid)
    lr, values = min(groups.items(), key=lambda item: sum(item[1]) / len(item[1]))
    values = torch.tensor(values, dtype=torch.float64)
    error = f" +- {values.std() / len(values) ** 0.5:.2f}" if len(values) > 1 else ""
    best = f" at lr {lr:g}, the best of {len(groups)}" if len(groups) > 1 else ""
    return f"validation -ELBO {values.mean():.2f}{error}{best}"
