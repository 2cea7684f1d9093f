"""Training: first the head on cached features of the frozen backbone, then head and backbone together.

``python -m training.train CONFIG [key=value ...]`` is the same as ``pvlr train CONFIG [key=value ...]``, and what
torchrun starts: ``torchrun --nproc-per-node 2 -m training.train CONFIG``.
"""

from __future__ import annotations

import math
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch.optim.swa_utils import AveragedModel

from pvlr_sdk.errors import CheckpointError, PvlrError
from pvlr_sdk.thresholds import choose_thresholds

from . import evaluate
from .checkpoint import save_model, start_from
from .checks import describe, examine, few
from .config import Config, load_config
from .data import Photos, Views, load_photos, split_holdout
from .deploy import DeployedPVLR
from .logs import RunLog
from .loop import Run, StageLoop
from .machine import Machine
from .memory import keep_freed_memory
from .model import PVLR
from .optim import moving_average
from .stages import STAGES
from .state import Progress, clear_leftovers, clear_state, has_state, read_progress


def train(
    config_path: Path,
    overrides: list[str] | tuple[str, ...] = (),
    *,
    out: Path | None = None,
    resume: bool = False,
    dry_run: bool = False,
    console: Console | None = None,
    photos: Photos | None = None,
) -> Path:
    """Run an experiment; returns the run's folder (``runs/<name>`` by default) with ``model.safetensors`` in it.

    Args:
        config_path: the experiment's YAML file; ``overrides`` are ``key.sub=value``.
        resume: go on where an earlier call stopped or was killed; a finished run is left as it is.
        dry_run: only check the configuration, the model and the data, and say what would be trained.
        photos: what ``load_photos`` gave for the same data, where several runs in one process share them.

    Raises:
        ConfigError, LabelsFileError, CheckpointError, OutputError, LossError: what is wrong, before anything is lost.
    """
    config = load_config(config_path, overrides)
    folder = out or Path("runs") / config.name
    machine = Machine(config.train.precision)
    keep_freed_memory()
    log = RunLog(folder, console or Console(stderr=True), quiet=not machine.leads)
    unfinished = has_state(folder)
    finished = not unfinished and (folder / "model.safetensors").exists()
    if (unfinished or finished) and not resume and not dry_run:
        got = "a finished run" if finished else "an unfinished run"
        hint = "Name another with --out, or delete it." if finished else "Add --resume, or delete the folder."
        raise CheckpointError(str(folder), expected="a new folder", got=got, hint=hint)
    if resume and finished:
        log.say(f"{folder}: this run is finished")
        return folder
    if photos is None:
        with log.bar(0) as bar:
            show = lambda count, total: bar.update(count, "photos", total=total)  # noqa: E731
            photos = load_photos(config.data, show, machine.processes)
    _examine(config, photos, machine, log, whole=dry_run)
    if not dry_run:
        _execute(config, folder, machine, log, photos, restore=unfinished)
    machine.leave()
    return folder


def _examine(config: Config, photos: Photos, machine: Machine, log: RunLog, whole: bool) -> None:
    """Say what there is to train on and all that is wrong with it, then raise the first error; ``whole``: with the
    model, which is built for that."""
    training, holdout = split_holdout(photos, config.data.holdout)
    decoded = sum(isinstance(image, np.ndarray) for image in photos.images)
    log.say(f"{len(training)} photos to train on, {len(holdout)} held out for thresholds; {decoded} kept in memory")
    positives = (photos.targets == 1).sum(0).tolist()
    counts = ", ".join(f"{label} {count}" for label, count in zip(config.data.labels, positives, strict=True))
    log.say(f"photos of each label: {counts}")
    found = examine(config, training, holdout, machine.processes)
    if whole:
        try:
            for line in describe(config, len(training), machine):
                log.say(line)
        except PvlrError as error:
            found.errors.append(error)
    for warning in found.warnings:
        log.warn(warning)
    for error in found.errors[1:]:
        log.warn(str(error))
    if found.errors:
        raise found.errors[0]


def _execute(config: Config, folder: Path, machine: Machine, log: RunLog, photos: Photos, restore: bool) -> None:
    """Train what is left of the stages, then write the model with its thresholds and remove the state."""
    training, holdout = split_holdout(photos, config.data.holdout)
    progress = read_progress(folder, config) if restore else Progress()
    torch.manual_seed(config.train.seed)
    spec = config.data.input
    model = PVLR(config.data.labels, spec.height, spec.width, config.model)
    if config.train.init and not restore:
        start_from(config.train.init, model)
    model.to(machine.device, memory_format=torch.channels_last)
    average = AveragedModel(model, multi_avg_fn=moving_average(config.train.ema))
    views = Views(config.data, config.train.seed)

    def holdout_figures() -> dict[str, float]:
        with machine.autocast():
            logits = evaluate.predict_logits(DeployedPVLR(average.module), holdout, views, device=machine.device)
        return {"holdout_mAP": evaluate.measure(logits, holdout.targets.numpy())["mAP"]}

    started = time.perf_counter() - progress.seconds
    run = Run(config, folder, machine, log, views, training, model, average, holdout_figures, started)
    if machine.leads:
        clear_leftovers(folder)
        log.open(_finished(config, progress), run.steps_before(progress))
    for stage in STAGES[STAGES.index(progress.stage) :]:
        if restore or run.settings(stage).epochs:
            StageLoop(run, progress if restore else Progress(stage), restore).run()
        restore = False
    training.skip(machine.union(training.failed))
    if machine.leads:
        _finish(run, holdout)
    log.close()


def _finish(run: Run, holdout: Photos) -> None:
    model = run.average.module
    logits = evaluate.predict_logits(DeployedPVLR(model), holdout, run.views, device=run.machine.device)
    targets = holdout.targets.numpy()
    thresholds = choose_thresholds(logits, targets)
    measured = evaluate.measure(logits, targets, thresholds)
    figures = {name: None if math.isnan(value) else value for name, value in measured.items()}  # JSON has no NaN
    seconds = round(time.perf_counter() - run.started)
    extra: dict[str, Any] = {
        "thresholds": [round(float(t), 4) for t in np.asarray(thresholds)],
        "holdout": figures,
        "seconds": seconds,
        "threads": torch.get_num_threads(),
        "skipped": sorted(run.photos.failed),
    }
    save_model(run.folder, model, run.config, extra)
    clear_state(run.folder)
    if run.photos.failed:
        count = len(run.photos.failed)
        skipped = "1 photo was" if count == 1 else f"{count} photos were"
        run.log.warn(f"{skipped} skipped: {few(sorted(run.photos.failed))}")
    shown = ", ".join(f"{name} {measured[name]:.1f}" for name in ("mAP", "CF1", "OF1"))
    run.log.say(f"{run.folder}: {shown} on the photos held out, after {seconds / 60:.0f} minutes")


def _finished(config: Config, progress: Progress) -> list[tuple[str, int]]:
    """The stages and epochs that lie behind."""
    behind = []
    for stage in STAGES[: STAGES.index(progress.stage) + 1]:
        epochs = progress.epoch if stage == progress.stage else getattr(config.train, stage).epochs
        behind += [(stage, epoch + 1) for epoch in range(epochs)]
    return behind


if __name__ == "__main__":
    from pvlr_sdk.cli import main

    if os.environ.get("RANK", "0") != "0":
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - the first process answers for all
    sys.argv.insert(1, "train")
    main()
