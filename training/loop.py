"""The training loop: the epochs and steps of one stage, with a state to go on from whenever the process dies."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from .config import Config, StageConfig
from .data import Photos, Views, image_batches
from .features import cache_features, shared_features
from .logs import RunLog
from .machine import Machine
from .model import PVLR
from .nonfinite import stop_at
from .optim import open_schedule
from .stages import STAGES, Stage, StageLoss, epoch_order, open_optimizer, seed_step
from .state import Progress, load_state, save_state

Batch = tuple[Tensor, Tensor, list[int]]
"""Inputs, targets (b, C), and the indices of the photos."""


@dataclass
class Run:
    """What the stages of a run share. ``started`` is when it would have begun, had it never stopped."""

    config: Config
    folder: Path
    machine: Machine
    log: RunLog
    views: Views
    photos: Photos
    model: PVLR
    average: AveragedModel
    evaluate: Callable[[], dict[str, float]]
    started: float

    def settings(self, stage: Stage) -> StageConfig:
        """The part of the configuration about this stage."""
        settings: StageConfig = getattr(self.config.train, stage)
        return settings

    def steps(self, stage: Stage) -> int:
        """Optimizer steps in an epoch."""
        settings = self.settings(stage)
        return len(self.photos) // (settings.batch * settings.accumulate)

    def steps_before(self, progress: Progress) -> int:
        """Optimizer steps of the whole run until ``progress``."""
        earlier = STAGES[: STAGES.index(progress.stage)]
        done = sum(self.settings(stage).epochs * self.steps(stage) for stage in earlier)
        return done + progress.epoch * self.steps(progress.stage) + progress.step


class StageLoop:
    """Trains one stage from ``progress`` on; with ``restore``, from the state in the run's folder."""

    def __init__(self, run: Run, progress: Progress, restore: bool) -> None:
        self.shared = run
        self.stage = progress.stage
        self.progress = progress
        self.settings = run.settings(progress.stage)
        self.steps = run.steps(progress.stage)
        self.parts: dict[str, nn.Module] = {"model": run.model, "average": run.average}
        self.optimizer = open_optimizer(self.stage, run.model, run.config)
        peaks = [group["lr"] for group in self.optimizer.param_groups]
        if restore:
            load_state(run.folder, self.parts, self.optimizer)
            run.machine.wait()  # the first process must not save again before all have read
            self._same_photos()
        progress.photos = len(run.photos)
        recipe, total = run.config.train, self.settings.epochs * self.steps
        done = progress.epoch * self.steps + progress.step
        self.schedule = open_schedule(recipe.schedule, self.optimizer, peaks, recipe.warmup, total, done)
        self.network = run.machine.parallel(StageLoss(self.stage, run.model, run.config, run.machine))
        self.photos_a_step = self.settings.batch * self.settings.accumulate

    def _same_photos(self) -> None:
        """Begin an unfinished epoch anew if there are more or fewer photos than before: its order is another one."""
        run, progress = self.shared, self.progress
        if progress.step and progress.photos not in (0, len(run.photos)):
            run.log.warn(f"{progress.photos} photos before, {len(run.photos)} now: this epoch begins again")
            progress.step, progress.loss = 0, 0.0

    def run(self) -> None:
        """All epochs that are left; then the model has the averaged weights, the better start for what follows."""
        if self.progress.epoch < self.settings.epochs:
            features = self._features() if self.stage == "head" else None
            done = self.progress.epoch * self.steps + self.progress.step
            self._saved = time.monotonic()
            total = self.settings.epochs * self.steps
            with self.shared.log.bar(total * self.photos_a_step, done * self.photos_a_step) as self.bar:
                while self.progress.epoch < self.settings.epochs:
                    self._epoch(features)
        self.shared.model.load_state_dict(self.shared.average.module.state_dict())

    def _epoch(self, features: Tensor | None) -> None:
        run, progress = self.shared, self.progress
        run.model.train()
        run.model.backbone.eval()  # batch norm keeps its ImageNet statistics: batches here are small
        self._first, self._began = progress.step, time.perf_counter()
        with contextlib.closing(self._batches(features)) as batches:
            for step in range(self._first, self.steps):
                self._step(step, batches)
                if step + 1 < self.steps and time.monotonic() - self._saved >= 60 * run.config.train.save_every:
                    self._save()
        speed = self._speed(self.steps - self._first)
        last = progress.epoch + 1 == self.settings.epochs
        figures = run.evaluate() if run.machine.leads and (last or self.stage == "finetune") else {}
        row = {
            "stage": self.stage,
            "epoch": progress.epoch + 1,
            "loss": round(progress.loss / (self.steps * self.settings.accumulate), 4),
            "seconds": round(time.perf_counter() - run.started),
            "lr": float(f"{self.optimizer.param_groups[0]['lr']:.4g}"),
            "images_per_second": round(speed, 1),
            **figures,
        }
        progress.epoch, progress.step, progress.loss = progress.epoch + 1, 0, 0.0
        run.log.epoch(row, run.steps_before(progress))
        self._save()

    def _step(self, step: int, batches: Iterator[Batch]) -> None:
        """One optimizer step, from the gradients of ``accumulate`` batches."""
        run, progress = self.shared, self.progress
        seed_step(run.config.train.seed, self.stage, progress.epoch, step, run.machine.rank)
        for number in range(self.settings.accumulate):
            inputs, targets, indices = next(batches)
            with run.machine.accumulating(self.network, last=number + 1 == self.settings.accumulate):
                loss = self.network(inputs.to(run.machine.device), targets.to(run.machine.device))
                value = run.machine.mean(loss)
                self._must_be_finite("loss", value, inputs, targets, indices)
                (loss / self.settings.accumulate).backward()
            progress.loss += value
        norm = nn.utils.clip_grad_norm_(run.model.parameters(), run.config.train.grad_clip)
        # Before they are used: the weights, and so the state, stay finite.
        self._must_be_finite("gradient", float(norm), inputs, targets, indices)
        rates = [group["lr"] for group in self.optimizer.param_groups]
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.schedule.step()
        run.average.update_parameters(run.model)
        progress.step = step + 1
        self._tell(value, rates)

    def _batches(self, features: Tensor | None) -> Iterator[Batch]:
        """This process's part of each batch of the epoch, from ``progress.step`` on."""
        run, progress, seed = self.shared, self.progress, self.shared.config.train.seed
        views = 1 if features is None else len(features)
        order, picks = epoch_order(len(run.photos), views, self.settings, seed, progress.epoch)
        size = self.settings.batch // run.machine.processes
        first = progress.step * self.settings.accumulate
        order, picks = (t[first:, run.machine.rank * size :][:, :size] for t in (order, picks))
        if features is not None:
            for rows, pick in zip(order.tolist(), picks.tolist(), strict=True):
                yield features[pick, rows], run.photos.targets[rows], rows
        else:
            epoch = progress.epoch
            augmented = lambda image, index: run.views.augmented(image, epoch, index)  # noqa: E731
            batches = image_batches(run.photos, order.flatten().tolist(), size, augmented)
            for rows, (images, targets) in zip(order.tolist(), batches, strict=True):
                yield images, targets, rows

    def _features(self) -> Tensor:
        run, recipe = self.shared, self.shared.config.train
        with run.log.bar(len(run.photos) * recipe.views) as bar:
            advance = lambda count: bar.update(count, "features")  # noqa: E731
            # The same views for every seed: what differs between two seeds is the weights and the order.
            views = Views(run.config.data, seed=0)
            given = run.model.backbone, run.photos, views, recipe.views, run.machine, advance
            return shared_features(recipe.features, *given) if recipe.features else cache_features(*given)

    def _save(self) -> None:
        self._saved = time.monotonic()
        if self.shared.machine.leads:
            self.progress.seconds = time.perf_counter() - self.shared.started
            save_state(self.shared.folder, self.parts, self.optimizer, self.progress, self.shared.config)

    def _tell(self, loss: float, rates: list[float]) -> None:
        run, progress = self.shared, self.progress
        speed = self._speed(progress.step - self._first)
        figures = f"loss {loss:.3f}  rate {rates[0]:.1e}  {speed:.0f} photos/s"
        self.bar.update(self.photos_a_step, f"{self.stage} {progress.epoch + 1}/{self.settings.epochs}", figures)
        curves = {"loss/batch": loss, "rate/head": rates[0], "rate/backbone": rates[-1], "images_per_second": speed}
        if self.stage == "head":
            del curves["rate/backbone"]
        run.log.step(curves, run.steps_before(progress))

    def _speed(self, steps: int) -> float:
        return steps * self.photos_a_step / max(time.perf_counter() - self._began, 1e-9)

    def _must_be_finite(self, what: str, value: float, inputs: Tensor, targets: Tensor, indices: list[int]) -> None:
        if math.isfinite(value):
            return
        run = self.shared
        details = {
            "files": [str(run.photos.names[index]) for index in indices],
            "stage": self.stage,
            "epoch": self.progress.epoch + 1,
            "step": self.progress.step + 1,
            "rates": [group["lr"] for group in self.optimizer.param_groups],
            what: str(value),
        }
        # Of several processes each keeps its part of the batch.
        name = "nonfinite" if run.machine.processes == 1 else f"nonfinite-{run.machine.rank}"
        path = run.folder / f"{name}.safetensors"
        stop_at(what, value, path, {"inputs": inputs, "targets": targets}, details)
