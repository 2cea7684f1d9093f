"""Training: first the head on cached features of the frozen backbone, then head and backbone together.

``python -m pvlr_training.train`` is ``pvlr train``; use it with torchrun:
``torchrun --nproc-per-node 2 -m pvlr_training.train CONFIG [KEY=VALUE ...]``.
"""

from __future__ import annotations

import contextlib
import copy
import math
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from pvlr_sdk._util.validation import few
from pvlr_sdk.errors import PvlrError
from pvlr_sdk.labels.intervals import expected
from pvlr_sdk.labels.thresholds import choose_thresholds, precise_thresholds, sigmoid
from pvlr_sdk.workshop.evaluation.metrics import doubts

from . import evaluate
from .calibration import fit_calibration
from .checkpoint import read_checkpoint, save_model
from .checks import describe, examine
from .config import STAGES, Config, load_config
from .data.augmentation import Views
from .data.images import ImageDataset, load_dataset, split_holdout
from .deploy import DeployedPVLR
from .folder import BEST, STATE, check_folder, has_state
from .logs import RunLog, duration
from .loop import Run, StageLoop, draw_weights
from .machine import Machine, keep_freed_memory
from .model.network import PVLR
from .optim import moving_average
from .reuse import start_from
from .state import Progress, clear_leftovers, read_progress
from .teacher import teach


def train(
    config_path: Path,
    overrides: list[str] | tuple[str, ...] = (),
    *,
    out: Path | None = None,
    resume: bool = False,
    dry_run: bool = False,
    console: Console | None = None,
    dataset: ImageDataset | None = None,
    summary: bool = True,
) -> Path:
    """Run an experiment; returns the run's folder (by default ``runs/<name>``), which contains ``model.safetensors``.

    Args:
        config_path: the experiment's YAML file; ``overrides`` are ``key.sub=value``.
        resume: continue a run that was stopped or killed; a finished run is left unchanged.
        dry_run: only check the configuration, the model and the data, and print what would be trained.
        summary: print the metrics at the end.
        dataset: the result of ``load_dataset`` for the same data, to share it between runs in one process.

    Raises:
        ConfigError, LabelsFileError, CheckpointError: invalid configuration, data or run folder.
        OutputError, LossError: training stopped; the last saved state is intact.
    """
    config = load_config(config_path, overrides)
    folder = out or Path("runs") / config.name
    machine = Machine(config.train.precision)
    keep_freed_memory()
    log = RunLog(folder, console or Console(stderr=True), quiet=not machine.leads)
    if not dry_run:
        check_folder(folder, resume)
    unfinished = has_state(folder)
    finished = not unfinished and (folder / "model.safetensors").exists()
    if resume and finished:
        log.say(f"{folder}: this run is already finished")
        return folder
    if dataset is None:
        with log.bar(0) as bar:
            advance = lambda count, total: bar(count, "images", total=total)  # noqa: E731
            dataset = load_dataset(config.data, advance, machine.processes)
    _examine(config, dataset, machine, log, build=dry_run)
    if not dry_run:
        with contextlib.closing(log):
            _execute(config, folder, machine, log, dataset, restore=unfinished, summary=summary)
    machine.leave()
    return folder


def default_folder(config_path: Path) -> Path:
    """The folder of a run without ``--out``."""
    return Path("runs") / load_config(config_path).name


def _examine(
    config: Config, dataset: ImageDataset, machine: Machine, log: RunLog, build: bool
) -> None:
    """Print the size of the data and all problems, then raise the first error; ``build``: also check the model."""
    training, holdout = split_holdout(dataset)
    decoded = sum(isinstance(image, np.ndarray) for image in dataset.images)
    log.say(
        f"{len(training)} training images, {len(holdout)} held out for thresholds; {decoded} kept in memory"
    )
    positives = (dataset.targets == 1).sum(0).tolist()
    counts = ", ".join(
        f"{label} {count}" for label, count in zip(config.data.labels, positives, strict=True)
    )
    log.say(f"images per label: {counts}")
    found = examine(config, training, holdout, machine.processes)
    if build:
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


def _execute(
    config: Config,
    folder: Path,
    machine: Machine,
    log: RunLog,
    dataset: ImageDataset,
    restore: bool,
    summary: bool,
) -> None:
    """Train the remaining stages, then write the model with its thresholds and remove the state."""
    training, holdout = split_holdout(dataset)
    progress = read_progress(folder, config) if restore else Progress()
    torch.manual_seed(config.train.seed)
    model = _initial_model(config, log, restore)
    first = _copies(model.state_dict()) if config.train.keep else {}
    model.to(machine.device, memory_format=torch.channels_last)
    average = AveragedModel(model, multi_avg_fn=moving_average(config.train.ema))
    views = Views(config.data, config.train.seed)

    def measure_holdout() -> dict[str, float]:
        with machine.autocast():
            logits = evaluate.predict_logits(
                DeployedPVLR(average.module), holdout, views, device=machine.device
            )
        return {"holdout_mAP": evaluate.measure(logits, holdout.targets.numpy())["mAP"]}

    weights = draw_weights(training.targets, config.train.balance)  # before a teacher softens them
    started = time.perf_counter() - progress.seconds
    if config.train.teacher.runs:
        training.targets = _softened_targets(config, training, machine, log)
    budget = config.train.budget if machine.processes == 1 else None
    deadline = started + 60 * budget if budget else math.inf
    run = Run(
        config,
        folder,
        machine,
        log,
        views,
        training,
        model,
        average,
        measure_holdout,
        started,
        weights,
        deadline,
    )
    if machine.leads:
        clear_leftovers(folder)
        if not restore:
            (folder / BEST).unlink(missing_ok=True)
        log.open(_finished(config, progress), run.steps_before(progress))
    _train_stages(run, progress, restore)
    training.skip(machine.union(list(training.failed)))
    if machine.leads:
        _use_best(run)
        _blend(average.module.state_dict(), first, config.train.keep)
        _finish(run, holdout, summary)


def _initial_model(config: Config, log: RunLog, restore: bool) -> PVLR:
    """The network with the weights of ``train.init``, unless the saved state replaces them."""
    spec = config.data.input
    model = PVLR(config.data.labels, spec.height, spec.width, config.model)
    # With train.keep, they are also needed at the end.
    if config.train.init and (config.train.keep or not restore):
        log.say(
            f"starts from {config.train.init}: {start_from(config.train.init, model)} tensors match"
        )
    return model


def _softened_targets(
    config: Config, training: ImageDataset, machine: Machine, log: RunLog
) -> Tensor:
    """The targets of the training images, softened by the teachers."""
    with log.bar(len(training) * len(config.train.teacher.runs)) as bar:
        advance = lambda count: bar(count, "teacher")  # noqa: E731
        words = config.model.text.words(config.data.labels)
        return teach(training, words, config.train.teacher, machine, advance)


def _train_stages(run: Run, progress: Progress, restore: bool) -> None:
    """Train the stages from that of ``progress`` on; ``restore``: continue the first one from the saved state."""
    for stage in STAGES[STAGES.index(progress.stage) :]:
        if time.perf_counter() > run.deadline and not restore:
            run.log.say(f"{stage}: no time left for it")
        elif restore or run.config.train.stage(stage).epochs:
            StageLoop(run, progress if restore else Progress(stage), restore).run()
        restore = False


def _use_best(run: Run) -> None:
    """Go back to the weights of the best epoch, if the run has kept them."""
    path = run.folder / BEST
    if not (run.config.train.best and path.exists()):
        return
    weights, place = read_checkpoint(path)
    run.average.module.load_state_dict(weights)
    run.log.say(f"uses {place['stage']} epoch {place['epoch']}, the best on the held-out images")


def _copies(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in weights.items()}


def _blend(weights: Mapping[str, Tensor], first: Mapping[str, Tensor], share: float) -> None:
    """Move ``weights`` in place by a share of the way to those that the run started from."""
    for name, tensor in first.items():
        if tensor.is_floating_point():
            weights[name].lerp_(tensor.to(weights[name]), share)


def _finish(run: Run, holdout: ImageDataset, summary: bool) -> None:
    model = run.average.module
    targets = holdout.targets.numpy()

    def predict(network: PVLR) -> evaluate.Floats:
        deployed = DeployedPVLR(network)
        return evaluate.predict_logits(deployed, holdout, run.views, device=run.machine.device)

    calibration = asdict(fit_calibration(predict(model), targets))
    calibrated = copy.deepcopy(model)
    calibrated.calibrate(**calibration)
    logits = predict(calibrated)  # its weights are rounded as well
    thresholds = choose_thresholds(logits, targets)
    stored = [round(float(t), 4) for t in np.asarray(thresholds)]
    measured = evaluate.measure(logits, targets, thresholds)
    metrics: dict[str, Any] = {
        name: None if math.isnan(value) else value for name, value in measured.items()
    }
    average = expected(logits, sigmoid(logits) >= thresholds, targets)["mAP"].percent()
    metrics |= {
        "mAP_interval": average and [round(value, 2) for value in average[1:]],
        "images": len(holdout),
    }
    seconds = round(time.perf_counter() - run.started)
    extra: dict[str, Any] = {
        "calibration": calibration,
        "thresholds": stored,
        "precise_thresholds": precise_thresholds(logits, targets, np.array(stored))
        .round(6)
        .tolist(),
        "holdout": metrics,
        "seconds": seconds,
        "threads": torch.get_num_threads(),
        "skipped": sorted(run.dataset.failed),
    }
    save_model(run.folder, model, run.config, extra)
    for name in (STATE, BEST):
        (run.folder / name).unlink(missing_ok=True)
    if run.dataset.failed:
        run.log.warn(f"skipped images: {few(extra['skipped'])}")
    if summary:
        low, high = metrics["mAP_interval"] or (math.nan, math.nan)
        shown = f"mAP {measured['mAP']:.1f} ({low:.1f} to {high:.1f}), CF1 {measured['CF1']:.1f}"
        run.log.say(
            f"{run.folder}: {shown} on {len(holdout)} held-out images after {duration(seconds)}"
        )
        for doubt in doubts(run.config.data.labels, targets):
            run.log.warn(doubt)


def _finished(config: Config, progress: Progress) -> list[tuple[str, int]]:
    earlier = STAGES[: STAGES.index(progress.stage)]
    epochs = {
        **{stage: config.train.stage(stage).epochs for stage in earlier},
        progress.stage: progress.epoch,
    }
    return [(stage, epoch + 1) for stage, count in epochs.items() for epoch in range(count)]


if __name__ == "__main__":
    from pvlr_sdk.cli import main

    if os.environ.get("RANK", "0") != "0":
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - only the first process prints
    sys.argv.insert(1, "train")
    main()
