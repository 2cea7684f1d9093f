"""The training loop: the epochs and steps of one stage, resumable at any time."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pvlr_sdk._util.validation import few
from pvlr_sdk.errors import LossError

from .checkpoint import read_checkpoint, write_checkpoint
from .config import STAGES, Config, Stage, StageConfig
from .data.augmentation import Views
from .data.features import cache_features
from .data.images import ImageDataset, image_batches
from .folder import BEST, has_state
from .logs import RunLog
from .losses import StageLoss
from .machine import Machine
from .model.network import PVLR
from .optim import open_optimizer, open_schedule
from .state import Progress, load_state, save_state

_FEATURES_SHARE = 0.4
_HEAD_SHARE = 0.3
"""Shares of the time that is left of a budget."""

Batch = tuple[Tensor, Tensor, list[int]]
"""Inputs, targets (b, C), and the indices of the images."""


@dataclass
class Run:
    """What the stages of a run share. ``started`` excludes interruptions: now minus the training time so far.

    With a budget, ``deadline`` is when training must end, and ``evaluation`` how many seconds a measurement takes.
    """

    config: Config
    folder: Path
    machine: Machine
    log: RunLog
    views: Views
    dataset: ImageDataset
    model: PVLR
    average: AveragedModel
    evaluate: Callable[[], dict[str, float]]
    started: float
    weights: Tensor | None = None
    """How often each training image is drawn, relative to the others; None: all once per epoch."""
    deadline: float = math.inf
    evaluation: float = 0.0

    def steps(self, stage: Stage) -> int:
        """Optimizer steps per epoch."""
        return len(self.dataset) // self.config.train.stage(stage).batch

    def steps_before(self, progress: Progress) -> int:
        """Optimizer steps of the whole run up to ``progress``."""
        earlier = STAGES[: STAGES.index(progress.stage)]
        done = sum(self.config.train.stage(stage).epochs * self.steps(stage) for stage in earlier)
        return done + progress.epoch * self.steps(progress.stage) + progress.step


class StageLoop:
    """Trains one stage from ``progress`` on, with ``restore`` from the state in the run's folder."""

    def __init__(self, run: Run, progress: Progress, restore: bool) -> None:
        self.shared = run
        self.stage = progress.stage
        self.progress = progress
        self.settings = run.config.train.stage(progress.stage)
        self.steps = run.steps(progress.stage)
        self.parts: dict[str, nn.Module] = {"model": run.model, "average": run.average}
        self.optimizer = open_optimizer(self.stage, run.model, run.config)
        self.peaks = [group["lr"] for group in self.optimizer.param_groups]
        if restore:
            load_state(run.folder, self.parts, self.optimizer)
            run.machine.wait()  # the first process must not save before all have read
            self._check_images()
        progress.images = len(run.dataset)
        total = self.settings.epochs * self.steps
        done = progress.epoch * self.steps + progress.step
        self.schedule = open_schedule(self.optimizer, self.peaks, total, done)
        self.network = run.machine.parallel(
            StageLoss(self.stage, run.model, run.config, run.machine)
        )

    def _check_images(self) -> None:
        """Restart an unfinished epoch if the number of images, and so the order, has changed."""
        run = self.shared
        progress = self.progress
        if progress.step and progress.images != len(run.dataset):
            run.log.warn(
                f"{progress.images} training images before, {len(run.dataset)} now: restarting this epoch"
            )
            progress.step = 0
            progress.loss = 0.0

    def run(self) -> None:
        """Train the remaining epochs, then give the model the averaged weights, the better start for the next stage."""
        self._taken = 0  # steps since the process started
        if self.progress.epoch < self.settings.epochs:
            features = self._features() if self.stage == "head" else None
            done = self.progress.epoch * self.steps + self.progress.step
            self._saved = time.monotonic()
            total = self.settings.epochs * self.steps
            with self.shared.log.bar(
                total * self.settings.batch, done * self.settings.batch
            ) as self.bar:
                while self.progress.epoch < self.settings.epochs:
                    self._epoch(features)
        self.shared.model.load_state_dict(self.shared.average.module.state_dict())

    def _epoch(self, features: Tensor | None) -> None:
        run = self.shared
        progress = self.progress
        run.model.train()
        run.model.backbone.eval()  # batch norm keeps its ImageNet statistics: batches here are small
        self._first = progress.step
        self._began = time.perf_counter()
        with contextlib.closing(self._batches(features)) as batches:
            for step in range(self._first, self.steps):
                self._step(step, batches)
                if self._fit(step):
                    break
                if (
                    step + 1 < self.steps
                    and time.monotonic() - self._saved >= 60 * run.config.train.save_every
                ):
                    self._save()
        speed = self._speed(progress.step - self._first)
        last = progress.epoch + 1 == self.settings.epochs
        began = time.perf_counter()
        metrics = run.evaluate() if run.machine.leads and (last or self.stage == "finetune") else {}
        run.evaluation = time.perf_counter() - began if metrics else run.evaluation
        if metrics and run.config.train.best:
            self._keep_if_best(metrics["holdout_mAP"])
        row = {
            "stage": self.stage,
            "epoch": progress.epoch + 1,
            "loss": round(progress.loss / progress.step, 4),
            "seconds": round(time.perf_counter() - run.started),
            "lr": float(f"{self.optimizer.param_groups[0]['lr']:.4g}"),
            "images_per_second": round(speed, 1),
            **metrics,
        }
        progress.epoch = progress.epoch + 1
        progress.step = 0
        progress.loss = 0.0
        run.log.epoch(row, run.steps_before(progress), self.settings.epochs)
        self._save()

    def _keep_if_best(self, score: float) -> None:
        """Keep the averaged weights unless those of an earlier epoch were better."""
        path = self.shared.folder / BEST
        best = read_checkpoint(path)[1]["holdout_mAP"] if path.exists() else -math.inf
        if score > best:
            weights = self.shared.average.module.state_dict()
            place = {"stage": self.stage, "epoch": self.progress.epoch + 1, "holdout_mAP": score}
            write_checkpoint(path, weights, place)

    def _fit(self, step: int) -> bool:
        """With a budget: reduce the epochs to what its time allows; returns whether it is used up.

        The time of a step is measured on the second to the fourth; the first one allocates memory.
        """
        run = self.shared
        now = time.perf_counter()
        self._taken += 1
        if self._taken == 1:
            self._after_first = now
        if self._taken == 4 and run.deadline < math.inf:
            epoch = (now - self._after_first) / 3 * self.steps + (
                run.evaluation if self.stage == "finetune" else 0
            )
            share = 1 if self.stage == "finetune" else _HEAD_SHARE
            done = self.progress.epoch + (step + 1) / self.steps
            fitting = max(self.progress.epoch + 1, int(done + share * (run.deadline - now) / epoch))
            if fitting < self.settings.epochs:
                run.log.say(
                    f"{self.stage}: {fitting} of at most {self.settings.epochs} epochs fit into the budget"
                )
                self._end_after(fitting, step + 1)
        if now > run.deadline and self.progress.epoch + 1 < self.settings.epochs:
            self._end_after(self.progress.epoch + 1, step + 1)
        return now > run.deadline

    def _end_after(self, epochs: int, step: int) -> None:
        run = self.shared
        self.settings = self.settings.model_copy(update={"epochs": epochs})
        recipe = run.config.train.model_copy(update={self.stage: self.settings})
        run.config = run.config.model_copy(update={"train": recipe})  # as recorded with the model
        total = epochs * self.steps
        done = self.progress.epoch * self.steps + step
        self.schedule = open_schedule(self.optimizer, self.peaks, total, done)

    def _step(self, step: int, batches: Iterator[Batch]) -> None:
        run = self.shared
        progress = self.progress
        seed_step(run.config.train.seed, self.stage, progress.epoch, step, run.machine.rank)
        inputs, targets, indices = next(batches)
        loss = self.network(inputs.to(run.machine.device), targets.to(run.machine.device))
        value = run.machine.mean(loss)
        self._must_be_finite("loss", value, inputs, targets, indices)
        loss.backward()
        progress.loss += value
        norm = nn.utils.clip_grad_norm_(run.model.parameters(), run.config.train.grad_clip)
        # Checked before the update, so that weights and state stay finite.
        self._must_be_finite("gradient", float(norm), inputs, targets, indices)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.step()
        run.average.update_parameters(run.model)
        progress.step = step + 1
        self._report(value, rates)

    def _batches(self, features: Tensor | None) -> Iterator[Batch]:
        """This process's part of each batch of the epoch, from ``progress.step`` on."""
        run = self.shared
        progress = self.progress
        seed = self.shared.config.train.seed
        views = 1 if features is None else len(features)
        order, picks = epoch_order(
            len(run.dataset), views, self.settings, seed, progress.epoch, run.weights
        )
        size = self.settings.batch // run.machine.processes
        order, picks = (
            t[progress.step :, run.machine.rank * size :][:, :size] for t in (order, picks)
        )
        if features is not None:
            for rows, pick in zip(order.tolist(), picks.tolist(), strict=True):
                yield features[pick, rows], run.dataset.targets[rows], rows
        else:
            epoch = progress.epoch
            augmented = lambda image, index: run.views.augmented(image, epoch, index)  # noqa: E731
            batches = image_batches(run.dataset, order.flatten().tolist(), size, augmented)
            for rows, (images, targets) in zip(order.tolist(), batches, strict=True):
                yield images, targets, rows

    def _features(self) -> Tensor:
        run = self.shared
        recipe = self.shared.config.train
        with run.log.bar(len(run.dataset) * recipe.views) as bar:
            advance = lambda count: bar(count, "features")  # noqa: E731
            # The same views for all seeds: seeds differ in the weights and the order only.
            views = Views(run.config.data, seed=0)
            given = run.model.backbone, run.dataset, views, recipe.views, run.machine, advance
            now = time.perf_counter()
            deadline = now + _FEATURES_SHARE * (run.deadline - now)
            return cache_features(*given, deadline)

    def _save(self) -> None:
        self._saved = time.monotonic()
        if self.shared.machine.leads:
            self.progress.seconds = time.perf_counter() - self.shared.started
            save_state(
                self.shared.folder, self.parts, self.optimizer, self.progress, self.shared.config
            )

    def _report(self, loss: float, rates: list[float]) -> None:
        run = self.shared
        progress = self.progress
        speed = self._speed(progress.step - self._first)
        details = f"loss {loss:.3f}  {speed:.0f} images/s"
        self.bar(
            self.settings.batch,
            f"{self.stage} {progress.epoch + 1}/{self.settings.epochs}",
            details,
        )
        curves = {
            "loss/batch": loss,
            "rate/head": rates[0],
            "rate/backbone": rates[-1],
            "images_per_second": speed,
        }
        if self.stage == "head":
            del curves["rate/backbone"]
        run.log.step(curves, run.steps_before(progress))

    def _speed(self, steps: int) -> float:
        return steps * self.settings.batch / max(time.perf_counter() - self._began, 1e-9)

    def _must_be_finite(
        self, what: str, value: float, inputs: Tensor, targets: Tensor, indices: list[int]
    ) -> None:
        """Unless ``value`` is finite, keep the batch as safetensors, its details as JSON, and raise LossError."""
        if math.isfinite(value):
            return
        run = self.shared
        stage = self.stage
        epoch = self.progress.epoch + 1
        step = self.progress.step + 1
        files = [str(run.dataset.names[index]) for index in indices]
        rates = [group["lr"] for group in self.optimizer.param_groups]
        details = {
            "files": files,
            "stage": stage,
            "epoch": epoch,
            "step": step,
            "rates": rates,
            what: str(value),
        }
        # With several processes, each keeps its part of the batch.
        name = "nonfinite" if run.machine.processes == 1 else f"nonfinite-{run.machine.rank}"
        path = run.folder / f"{name}.safetensors"
        write_checkpoint(path, {"inputs": inputs, "targets": targets}, details, readable=True)
        kind = "NaN" if math.isnan(value) else "infinity"
        cause = "" if inputs.isfinite().all() else " from inputs that are not finite either"
        resume = "add --resume to continue from the last saved state"
        again = resume if has_state(run.folder) else "start again: no state has been saved yet"
        raise LossError(
            what,
            "a finite number",
            f"{kind}{cause} at step {step} of {stage} epoch {epoch}, images {few(files, 4)}",
            f"The batch is in {path}. Lower train.{stage}.lr or train.grad_clip and {again}.",
        )


def seed_step(seed: int, stage: Stage, epoch: int, step: int, rank: int) -> None:
    """Seed the random draws of a step (dropout) by its indices, so that a resumed run draws the same."""
    words = np.random.SeedSequence((seed, STAGES.index(stage), epoch, step, rank)).generate_state(
        1, np.uint64
    )
    torch.manual_seed(int(words[0]))


def epoch_order(
    images: int,
    views: int,
    settings: StageConfig,
    seed: int,
    epoch: int,
    weights: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """The batches of an epoch as image indices (batches, batch), and the cached view of each image.

    Images beyond the last full step are left out of this epoch. With ``weights``, an image is drawn as often as its
    weight says, rounded up or down at random (systematic sampling), so that an epoch keeps its length.
    """
    generator = torch.Generator().manual_seed(1000 * seed + epoch)
    count = images - images % settings.batch
    order = torch.randperm(images, generator=generator)
    if weights is not None:
        ends = weights[order].double().cumsum(0)
        marks = (
            (torch.arange(images) + torch.rand(1, generator=generator).double()) / images * ends[-1]
        )
        drawn = order[torch.searchsorted(ends, marks, right=True).clamp(max=images - 1)]
        order = drawn[torch.randperm(images, generator=generator)]
    order = order[:count]
    picks = torch.randint(views, (count,), generator=generator)
    return order.view(-1, settings.batch), picks.view(-1, settings.batch)


def draw_weights(targets: Tensor, share: float) -> Tensor | None:
    """How often to draw each image of ``targets`` (n, C), for labels that are rarer than ``share``; None for share 0.

    The factor of a label is the root of ``share`` over its frequency among the images in which it is stated, that of an
    image the largest of its labels (repeat factor sampling, Gupta et al. 2019).
    """
    if not share:
        return None
    present = targets == 1
    frequency = present.sum(0) / (targets != 0).sum(0).clamp(min=1)
    factors = (share / frequency.clamp(min=1e-9)).sqrt().clamp(min=1)
    return torch.where(present, factors, 1.0).amax(1)
