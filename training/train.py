"""Training: first the head on cached features of the frozen backbone, then head and backbone together.

``python -m training.train CONFIG [key=value ...]`` is the same as ``pvlr train CONFIG [key=value ...]``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from pvlr_sdk.errors import ConfigError, PvlrError
from pvlr_sdk.thresholds import choose_thresholds

from . import evaluate
from .checkpoint import load_state, read_progress, save_model, save_state, start_from
from .config import Config, StageConfig, load_config
from .data import Photos, Views, image_batches, load_photos, split_holdout
from .deploy import DeployedPVLR
from .features import cache_features, shared_features
from .losses import asymmetric_loss, binary_cross_entropy
from .model import PVLR
from .optim import decayed, moving_average, open_schedule

STAGES = ("head", "finetune")


def train(
    config_path: Path,
    overrides: list[str] | tuple[str, ...] = (),
    *,
    out: Path | None = None,
    resume: bool = False,
    dry_run: bool = False,
    console: Console | None = None,
) -> Path:
    """Run an experiment; returns the run's folder (``runs/<name>`` by default) with ``model.safetensors`` in it.

    Args:
        config_path: the experiment's YAML file; ``overrides`` are ``key.sub=value``.
        resume: go on after the last finished epoch of an earlier call.
        dry_run: only check the configuration and the labels, and say what would be trained.

    Raises:
        ConfigError, LabelsFileError, CheckpointError, OutputError: what is wrong, before anything is lost.
    """
    config = load_config(config_path, overrides)
    folder = out or Path("runs") / config.name
    run = _Run(config, folder, console or Console(stderr=True))
    if dry_run:
        run.describe()
        return folder
    if not resume and (folder / "state.json").exists():
        raise PvlrError(
            str(folder), expected="a new folder", got="an unfinished run", hint="Add --resume, or delete the folder."
        )
    run.execute(resume)
    return folder


class _Run:
    def __init__(self, config: Config, folder: Path, console: Console) -> None:
        self.config = config
        self.folder = folder
        self.console = console
        self.views = Views(config.data, config.train.seed)

    def describe(self) -> None:
        photos = self._load()
        training, holdout = split_holdout(photos, self.config.data.holdout)
        positives = (photos.targets == 1).sum(0).tolist()
        self.console.print(f"{len(training)} photos to train on, {len(holdout)} held out for thresholds")
        self.console.print(", ".join(f"{n} {c}" for n, c in zip(self.config.data.labels, positives, strict=True)))

    def execute(self, resume: bool) -> None:
        started = time.perf_counter()
        torch.manual_seed(self.config.train.seed)
        progress = (read_progress(self.folder) if resume else None) or {"stage": "head", "epoch": 0, "seconds": 0.0}
        training, self.holdout = split_holdout(self._load(), self.config.data.holdout)
        spec = self.config.data.input
        self.model = PVLR(self.config.data.labels, spec.height, spec.width, self.config.model)
        if self.config.train.init:
            start_from(self.config.train.init, self.model)
        self.model.to(memory_format=torch.channels_last)
        self.average = AveragedModel(self.model, multi_avg_fn=moving_average(self.config.train.ema))
        self.before = progress["seconds"] - started
        for stage in STAGES[STAGES.index(progress["stage"]) :]:
            first = progress["epoch"] if stage == progress["stage"] else 0
            self._stage(stage, first, training, restore=resume and stage == progress["stage"] and first > 0)
        self._finish()

    def _stage(self, stage: str, first: int, photos: Photos, restore: bool) -> None:
        settings: StageConfig = getattr(self.config.train, stage)
        if settings.epochs <= first and not restore:
            return
        each = len(photos) // (settings.batch * settings.accumulate)  # optimizer steps an epoch
        if not each:
            raise ConfigError(
                f"train.{stage}.batch",
                expected=f"at most {len(photos)} photos",
                got=f"{settings.batch} x {settings.accumulate}",
                hint="Lower batch or accumulate; the photos that are held out don't count.",
            )
        optimizer = self._optimizer(stage, settings)
        peaks = [group["lr"] for group in optimizer.param_groups]
        if restore:
            load_state(self.folder, {"model": self.model, "average": self.average}, optimizer)
        features = self._features(photos) if stage == "head" and first < settings.epochs else None
        kind, warmup = self.config.train.schedule, self.config.train.warmup
        schedule = open_schedule(kind, optimizer, peaks, warmup, settings.epochs * each, first * each)
        for epoch in range(first, settings.epochs):
            loss = self._epoch(stage, epoch, settings, photos, features, optimizer, schedule)
            seconds = self.before + time.perf_counter()
            figures = self._evaluate() if stage == "finetune" or epoch + 1 == settings.epochs else {}
            self._log(
                {"stage": stage, "epoch": epoch + 1, "loss": round(loss, 4), "seconds": round(seconds), **figures}
            )
            save_state(
                self.folder,
                {"model": self.model, "average": self.average},
                optimizer,
                {"stage": stage, "epoch": epoch + 1, "seconds": seconds},
            )
        # The averaged weights are the better starting point for the next stage.
        self.model.load_state_dict(self.average.module.state_dict())

    def _epoch(
        self,
        stage: str,
        epoch: int,
        settings: StageConfig,
        photos: Photos,
        features: Tensor | None,
        optimizer: torch.optim.Optimizer,
        schedule: torch.optim.lr_scheduler.LRScheduler,
    ) -> float:
        # Everything random in an epoch follows from its number: a resumed run draws the same.
        generator = torch.Generator().manual_seed(1000 * self.config.train.seed + epoch)
        torch.manual_seed(1000 * self.config.train.seed + epoch)
        count = len(photos) - len(photos) % (settings.batch * settings.accumulate)
        order = torch.randperm(len(photos), generator=generator)[:count]
        self.model.train()
        self.model.backbone.eval()  # batch norm keeps its ImageNet statistics: batches here are small
        if features is not None:
            batches = self._feature_batches(photos, features, order, settings.batch, generator)
        else:
            view = lambda image, index: self.views.augmented(image, epoch, index)  # noqa: E731
            batches = image_batches(photos, order.tolist(), settings.batch, view)
        total = 0.0
        with self._bar() as bar:
            task = bar.add_task(f"{stage} {epoch + 1}/{settings.epochs}", loss="", total=count)
            for number, (inputs, targets) in enumerate(batches, 1):
                loss = self._loss(stage, inputs, targets)
                if not torch.isfinite(loss):
                    raise PvlrError(
                        "loss", expected="a finite number", got=str(loss.item()), hint="Lower train.*.lr and --resume."
                    )
                (loss / settings.accumulate).backward()
                if number % settings.accumulate == 0:
                    nn.utils.clip_grad_norm_(self.model.parameters(), self.config.train.grad_clip)
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
                    schedule.step()
                    self.average.update_parameters(self.model)
                total += loss.item() * len(inputs)
                bar.update(task, advance=len(inputs), loss=f"{loss.item():.3f}")
        return total / max(count, 1)

    def _loss(self, stage: str, inputs: Tensor, targets: Tensor) -> Tensor:
        settings = self.config.train
        with torch.autocast("cpu", torch.bfloat16):
            if stage == "head":
                tokens = inputs
            else:
                images = inputs.to(memory_format=torch.channels_last)
                tokens = self.model.backbone.forward_from(images, settings.unfreeze_from)
            logits = self.model.head(tokens, self.model.text()).logits.float()
        if settings.loss == "bce":
            loss = binary_cross_entropy(logits, targets, settings.smoothing)
        else:
            focus = settings.gamma_neg, settings.gamma_pos, settings.clip
            loss = asymmetric_loss(logits, targets, *focus, settings.smoothing)
        if self.config.model.ifm == "regularise":
            loss = loss + settings.regularise * self.model.text.distance()
        return loss

    def _feature_batches(
        self, photos: Photos, features: Tensor, order: Tensor, batch: int, generator: torch.Generator
    ) -> Iterator[tuple[Tensor, Tensor]]:
        choice = torch.randint(len(features), (len(order),), generator=generator)
        for start in range(0, len(order), batch):
            rows, picks = order[start : start + batch].tolist(), choice[start : start + batch].tolist()
            yield features[picks, rows], photos.targets[rows]

    def _optimizer(self, stage: str, settings: StageConfig) -> torch.optim.AdamW:
        self.model.backbone.requires_grad_(False)
        head = [*self.model.head.parameters(), *(p for p in self.model.text.parameters() if p.requires_grad)]
        groups: list[dict[str, Any]] = decayed(head, settings.lr, settings.weight_decay)
        if stage == "finetune":
            chosen = self.config.train.depthwise
            depthwise = not self.config.model.pretrained if chosen is None else chosen
            backbone = self.model.backbone.unfreeze(self.config.train.unfreeze_from, depthwise)
            groups += decayed(backbone, settings.backbone_lr, settings.weight_decay)
        return torch.optim.AdamW(groups)

    def _features(self, photos: Photos) -> Tensor:
        count, folder = self.config.train.views, self.config.train.features
        with self._bar() as bar:
            task = bar.add_task("features", loss="", total=len(photos) * count)
            advance = lambda n: bar.advance(task, n)  # noqa: E731
            if folder:
                return shared_features(folder, self.model.backbone, photos, self.views, count, advance)
            return cache_features(self.model.backbone, photos, self.views, count, advance)

    def _evaluate(self) -> dict[str, float]:
        deployed = DeployedPVLR(self.average.module)
        with torch.autocast("cpu", torch.bfloat16):
            logits = evaluate.predict_logits(deployed, self.holdout, self.views)
        return {"holdout_mAP": evaluate.measure(logits, self.holdout.targets.numpy())["mAP"]}

    def _finish(self) -> None:
        model = self.average.module
        logits = evaluate.predict_logits(DeployedPVLR(model), self.holdout, self.views)
        targets = self.holdout.targets.numpy()
        thresholds = choose_thresholds(logits, targets)
        figures = evaluate.measure(logits, targets, thresholds)
        seconds = round(self.before + time.perf_counter())
        extra = {
            "thresholds": [round(float(t), 4) for t in np.asarray(thresholds)],
            "holdout": figures,
            "seconds": seconds,
            "threads": torch.get_num_threads(),
        }
        save_model(self.folder, model, self.config, extra)
        for name in ("state.safetensors", "state.json"):
            (self.folder / name).unlink(missing_ok=True)
        self.console.print(f"{self.folder}: holdout {figures}, {seconds / 60:.0f} minutes")

    def _load(self) -> Photos:
        photos = load_photos(self.config.data)
        for name in photos.failed:
            self.console.print(f"[yellow]left out, not decodable: {name}")
        return photos

    def _log(self, row: dict[str, Any]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")
        self.console.print("  ".join(f"{key} {value}" for key, value in row.items()))

    def _bar(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )


if __name__ == "__main__":
    import sys

    train(Path(sys.argv[1]), sys.argv[2:], console=Console())
