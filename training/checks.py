"""What can be said of an experiment before it is trained: what ``--dry-run`` prints beside the photos' counts."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from pvlr_sdk.errors import ConfigError, LabelsFileError, PvlrError
from pvlr_sdk.labels_csv import read_columns, read_rename

from .checkpoint import start_from
from .config import Config, CsvSource, StageConfig
from .data import Photos
from .machine import Machine
from .memory import available_memory
from .model import PVLR
from .stages import STAGES


@dataclass
class Findings:
    """``errors`` end a run before it begins, ``warnings`` don't."""

    warnings: list[str] = field(default_factory=list)
    errors: list[PvlrError] = field(default_factory=list)


def examine(config: Config, training: Photos, holdout: Photos, processes: int = 1) -> Findings:
    """What is wrong with the photos, their labels and the sizes of batches."""
    found = Findings()
    if training.failed:
        found.warnings.append(f"left out, missing or not decodable: {few(training.failed)}")
    _examine_labels(config, training, holdout, found)
    if not len(holdout):
        found.errors.append(
            ConfigError(
                "data.holdout",
                expected="a share that holds out at least one photo",
                got=f"{config.data.holdout}, which of {len(training)} photos holds out none",
                hint="Raise it, for example to 0.3, or label more photos.",
            )
        )
    for stage in STAGES:
        settings: StageConfig = getattr(config.train, stage)
        _examine_batch(f"train.{stage}.batch", settings, len(training), processes, found)
    return found


def describe(config: Config, photos: int, machine: Machine) -> Iterator[str]:
    """Lines about the model, the steps and the memory that they take; the model is built for it.

    Raises:
        ConfigError, CheckpointError: it can't be built: a backbone or encoder that is not here, a wrong setting.
    """
    spec = config.data.input
    model = PVLR(config.data.labels, spec.height, spec.width, config.model)
    millions = sum(p.numel() for p in model.parameters()) / 1e6
    if config.train.init:
        yield f"starts from {config.train.init}: {start_from(config.train.init, model)} of its tensors fit"
    rows, columns = model.grid
    channels = model.backbone.channels
    head, backbone = config.model.head, config.model.backbone
    yield f"model: {head} on {backbone}, {millions:.1f} million parameters, {rows} x {columns} tokens of {channels}"
    for stage in STAGES:
        settings: StageConfig = getattr(config.train, stage)
        size = settings.batch * settings.accumulate
        yield f"{stage}: {settings.epochs} epochs of {photos // size} steps, {size} photos a step"
    features = 2 * config.train.views * photos * rows * columns * channels
    yield f"the head's cached features: {_gigabytes(features)} of {_gigabytes(available_memory())} available"
    several = f", {machine.processes} processes" if machine.processes > 1 else ""
    yield f"trains on {machine.device}, {'bf16' if machine.bf16 else 'fp32'}{several}"


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.2f} GB"


def few(names: list[str], shown: int = 10) -> str:
    """The first names and how many more there are."""
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")


def _examine_labels(config: Config, training: Photos, holdout: Photos, found: Findings) -> None:
    labels = config.data.labels
    if doubles := [label for label in dict.fromkeys(labels) if labels.count(label) > 1]:
        hint = "Remove the second one."
        found.errors.append(ConfigError("data.labels", expected="each once", got=f"{few(doubles)} twice", hint=hint))
        return
    known = (training.targets != 0).any(0) | (holdout.targets != 0).any(0)
    columns = {c for s in config.data.sources if isinstance(s, CsvSource) for c in read_columns(s.labels)}
    for label, is_known in zip(labels, known.tolist(), strict=True):
        if not is_known:
            close = difflib.get_close_matches(label, columns - set(labels), n=1)
            hint = f"Did you mean {close[0]!r}?" if close else "Label some photos, rename a column, or remove it."
            found.errors.append(
                LabelsFileError("data.labels", expected="labels that the data knows", got=repr(label), hint=hint)
            )
    learned = (training.targets == 1).any(0)
    if empty := _named(labels, known & ~learned):
        found.warnings.append(f"no photo to train on shows: {few(empty)}. A label without one can't be learned.")
    if everywhere := _named(labels, learned & ~(training.targets == -1).any(0)):
        found.warnings.append(
            f"no photo to train on is marked as being without (-1): {few(everywhere)}. "
            "Such a label will be found in every photo."
        )
    if len(holdout) and (unseen := _named(labels, learned & ~(holdout.targets == 1).any(0))):
        found.warnings.append(
            f"no held-out photo shows: {few(unseen)}. Their thresholds are guesses; a larger data.holdout helps."
        )
    unused = sorted(columns - set(labels) - _renamed(config))
    if unused:
        found.warnings.append(f"columns that are no label here: {few(unused)}")


def _named(labels: tuple[str, ...], chosen: Tensor) -> list[str]:
    return [label for label, is_chosen in zip(labels, chosen.tolist(), strict=True) if is_chosen]


def _renamed(config: Config) -> set[str]:
    return {column for source in config.data.sources if source.rename for column in read_rename(source.rename)}


def _examine_batch(key: str, settings: StageConfig, photos: int, processes: int, found: Findings) -> None:
    if not settings.epochs:
        return
    if photos < settings.batch * settings.accumulate:
        found.errors.append(
            ConfigError(
                key,
                expected=f"at most {photos} photos",
                got=f"{settings.batch} x {settings.accumulate}",
                hint="Lower batch or accumulate; the photos that are held out don't count.",
            )
        )
    if settings.batch % processes:
        found.errors.append(
            ConfigError(
                key,
                expected=f"a multiple of the {processes} processes that share it",
                got=str(settings.batch),
                hint="Change it, or start another number of processes.",
            )
        )
