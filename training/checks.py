"""Checks of an experiment before training, and the summary that ``--dry-run`` prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from torch import Tensor

from pvlr_sdk._util.validation import did_you_mean, few
from pvlr_sdk.bundle.label_bank import LABEL_NAMES, is_label
from pvlr_sdk.errors import ConfigError, LabelsFileError, PvlrError
from pvlr_sdk.workshop.evaluation.labels_csv import read_columns, read_rename

from .config import STAGES, Config, StageConfig
from .data.config import CsvSource
from .data.images import ImageDataset
from .machine import Machine, available_memory
from .model.network import PVLR
from .reuse import start_from
from .teacher import load_teacher


@dataclass
class Findings:
    """``errors`` prevent a run from starting, ``warnings`` do not."""

    warnings: list[str] = field(default_factory=list)
    errors: list[PvlrError] = field(default_factory=list)


def examine(
    config: Config, training: ImageDataset, holdout: ImageDataset, processes: int = 1
) -> Findings:
    """Check the images, their labels and the batch sizes."""
    found = Findings()
    if training.failed:
        why = [f"{path} ({reason})" for path, reason in training.failed.items()]
        found.warnings.append(
            f"images that are missing or cannot be decoded are left out: {few(why)}"
        )
    if len(training.failed) > len(training) + len(holdout):
        first = next(iter(training.failed))
        found.errors.append(
            LabelsFileError(
                "data.sources",
                "images",
                f"{len(training.failed)} that are missing or cannot be decoded, such as {first}",
                "Check the image folder and the files.",
            )
        )
    _examine_labels(config, training, holdout, found)
    if not len(holdout):
        share = isinstance(config.data.holdout, float)
        change = "Increase it, for example to 0.3" if share else "Check the images of that split"
        found.errors.append(
            ConfigError(
                "data.holdout",
                "a share or a split that holds out at least one image",
                f"{config.data.holdout}, which holds out none of {len(training)}",
                f"{change}, or label more images.",
            )
        )
    if unknown := [label for label in config.model.text.names if label not in config.data.labels]:
        found.errors.append(
            ConfigError(
                "model.text.names",
                "labels of data.labels",
                few(unknown),
                "Remove it, or correct its spelling.",
            )
        )
    for stage in STAGES:
        _examine_batch(
            f"train.{stage}.batch", config.train.stage(stage), len(training), processes, found
        )
    return found


def describe(config: Config, images: int, machine: Machine) -> Iterator[str]:
    """Build the model, and yield lines about it, the steps, the memory and the device.

    Raises:
        ConfigError, CheckpointError: the model cannot be built (missing backbone or encoder, invalid setting).
    """
    spec = config.data.input
    model = PVLR(config.data.labels, spec.height, spec.width, config.model)
    # as deployed
    millions = (
        sum(p.numel() for part in (model.backbone, model.head) for p in part.parameters()) / 1e6
    )
    if config.train.init:
        yield f"starts from {config.train.init}: {start_from(config.train.init, model)} tensors match"
    for run in config.train.teacher.runs:
        load_teacher(run, model.text.words)
        yield f"learns from {run}"
    rows, columns = model.grid
    channels = model.backbone.channels
    head = config.model.head
    backbone = config.model.backbone
    yield f"model: {head} on {backbone}, {millions:.2f} million parameters, {rows} x {columns} tokens of {channels}"
    for stage in STAGES:
        settings = config.train.stage(stage)
        size = settings.batch
        yield f"{stage}: {settings.epochs} epochs of {images // size} steps, {size} images per step"
    features = 2 * config.train.views * images * rows * columns * channels
    yield f"cached features: {features / 1e9:.2f} GB of {available_memory() / 1e9:.2f} GB available memory"
    several = f", {machine.processes} processes" if machine.processes > 1 else ""
    yield f"device: {machine.device}, {'bf16' if machine.bf16 else 'fp32'}{several}"


def _examine_labels(
    config: Config, training: ImageDataset, holdout: ImageDataset, found: Findings
) -> None:
    """Check the names of the labels, their columns, and whether each has the images that it needs."""
    labels = config.data.labels
    if error := _error_of_names(labels):
        found.errors.append(error)
        return
    sources = config.data.sources
    tables = [source for source in sources if isinstance(source, CsvSource)]
    columns = {column for table in tables for column in read_columns(table.labels)}
    annotated = (training.targets != 0).any(0) | (holdout.targets != 0).any(0)
    for label in _named(labels, ~annotated):
        hint = (
            did_you_mean(label, columns - set(labels), 1)
            or "Label some images, rename a column, or remove it."
        )
        found.errors.append(LabelsFileError("data.labels", "labels of the data", repr(label), hint))
    found.warnings += _one_sided_labels(labels, annotated, training, holdout)
    maps = [source.rename for source in sources if source.rename]
    renamed = {column for path in maps for column in read_rename(path)}
    if unused := sorted(columns - set(labels) - renamed):
        found.warnings.append(f"unused columns of the labels CSV: {few(unused)}")


def _error_of_names(labels: tuple[str, ...]) -> ConfigError | None:
    if bad := [label for label in labels if not is_label(label)]:
        return ConfigError("data.labels", LABEL_NAMES, ascii(bad[0])[:200], "Rename the label.")
    if doubles := [label for label in dict.fromkeys(labels) if labels.count(label) > 1]:
        return ConfigError(
            "data.labels", "unique labels", f"{few(doubles)} twice", "Remove the duplicate."
        )
    return None


def _one_sided_labels(
    labels: tuple[str, ...], annotated: Tensor, training: ImageDataset, holdout: ImageDataset
) -> Iterator[str]:
    """Warnings of labels without a positive or a negative image; ``annotated`` are labels known in an image."""
    learned = (training.targets == 1).any(0)
    if empty := _named(labels, annotated & ~learned):
        yield f"labels without a positive training image: {few(empty)}. They cannot be learned."
    if everywhere := _named(labels, learned & ~(training.targets == -1).any(0)):
        yield (
            f"labels without a negative training image (-1): {few(everywhere)}. "
            "The model will predict them everywhere."
        )
    if len(holdout) and (unseen := _named(labels, learned & ~(holdout.targets == 1).any(0))):
        yield (
            f"labels without a positive held-out image: {few(unseen)}. Their thresholds are guesses; "
            "increase data.holdout."
        )


def _named(labels: tuple[str, ...], chosen: Tensor) -> list[str]:
    return [label for label, is_chosen in zip(labels, chosen.tolist(), strict=True) if is_chosen]


def _examine_batch(
    key: str, settings: StageConfig, images: int, processes: int, found: Findings
) -> None:
    if not settings.epochs:
        return
    if images < settings.batch:
        found.errors.append(
            ConfigError(
                key,
                f"at most {images} images",
                str(settings.batch),
                "Lower it; held-out images do not count.",
            )
        )
    if settings.batch % processes:
        found.errors.append(
            ConfigError(
                key,
                f"a multiple of the {processes} processes",
                str(settings.batch),
                "Change the batch size or the number of processes.",
            )
        )
