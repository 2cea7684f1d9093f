"""Distillation: finished runs as teachers, whose scores soften known labels and fill in unknown ones."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pvlr_sdk._util.validation import few
from pvlr_sdk.errors import CheckpointError, ConfigError

from .checkpoint import load_model, read_checkpoint, write_checkpoint
from .config import Config, TeacherConfig
from .data.augmentation import Views
from .data.images import ImageDataset
from .deploy import DeployedPVLR
from .frozen import Frozen
from .losses import asl_probability
from .machine import Machine
from .model.network import PVLR

_KEPT = "probabilities"
_SECONDS_BETWEEN_SAVES = 120.0


class Teacher:
    """A finished run that tells how probable each label is, given by its words.

    Raises:
        ConfigError: the run does not have all labels.
        CheckpointError: the run is missing or damaged.
    """

    def __init__(self, run: Path, words: tuple[str, ...], machine: Machine) -> None:
        model, self.config, extra = load_teacher(run, words)
        known = self.config.model.text.words(self.config.data.labels)
        self._columns = [known.index(label) for label in words]
        self._network = Frozen(DeployedPVLR(model).to(machine.device), machine)
        self._calibrated = "calibration" in extra

    def probability(self, images: Tensor) -> Tensor:
        """(B, C) in [0, 1], on the CPU, for images (B, 3, H, W) that are prepared as for the teacher.

        Without a calibration, the score of a teacher trained with ASL is no probability: as a target, it would make the
        student's score higher again.
        """
        scores = self._network(images).cpu()[:, self._columns].sigmoid()
        if self._calibrated:
            return scores
        return asl_probability(scores, self.config.train.gamma_neg)


def teach(
    dataset: ImageDataset,
    words: tuple[str, ...],
    settings: TeacherConfig,
    machine: Machine,
    advance: Callable[[int], None] = lambda count: None,
) -> Tensor:
    """Soft targets (n, C) in [-1, 1] of whole images, see ``soften``: probabilities averaged over the teachers and
    over each image and its mirror image, at each teacher's own input size (Hinton et al. 2015; Xie et al. 2020 for
    unlabelled images).

    What a teacher says is kept in its folder, also while it goes on, so that neither a resumed run nor a further stage
    on the same images asks again.

    ``advance`` is called with the number of images seen since the last call, over all teachers. Errors as ``Teacher``.
    """
    average = torch.zeros(len(dataset), len(words))
    for run in settings.runs:
        average += _probabilities(run, dataset, words, machine, advance) / len(settings.runs)
    return soften(dataset.targets, average, settings.weight, settings.fill)


def _probabilities(
    run: Path,
    dataset: ImageDataset,
    words: tuple[str, ...],
    machine: Machine,
    advance: Callable[[int], None],
) -> Tensor:
    """(n, C): what a teacher expects of each image and its mirror image."""
    teacher = Teacher(run, words, machine)
    views = Views(teacher.config.data, seed=0)
    kept = run / f"{_KEPT}-{_key(run, dataset, words)}.safetensors"
    answers = _read(kept)
    advance(len(answers))
    saved = time.monotonic()
    for images in views.batches(dataset, len(answers)):
        both = (teacher.probability(images) + teacher.probability(images.flip(-1))) / 2
        answers = torch.cat([answers, both]) if len(answers) else both
        advance(len(images))
        if machine.leads and (
            len(answers) == len(dataset) or time.monotonic() - saved > _SECONDS_BETWEEN_SAVES
        ):
            write_checkpoint(kept, {"probability": answers}, {})
            saved = time.monotonic()
    return answers


def _key(run: Path, dataset: ImageDataset, words: tuple[str, ...]) -> str:
    """Another name for other weights, images or labels, so that no answer is taken for that to another question."""
    digest = hashlib.sha256((run / "model.safetensors").read_bytes())
    digest.update(json.dumps([dataset.names, words]).encode())
    return digest.hexdigest()[:16]


def _read(kept: Path) -> Tensor:
    """The answers of the first images; (0,) without any, or if the file is damaged."""
    with contextlib.suppress(CheckpointError, KeyError):
        return read_checkpoint(kept)[0]["probability"]
    return torch.zeros(0)


def soften(targets: Tensor, probability: Tensor, weight: float, fill: bool = True) -> Tensor:
    """The expected value of 1 present and -1 absent, (n, C): a known label is ``1 - weight`` of its target and
    ``weight`` of what the teachers expect; an unknown label (0) is what they expect, or 0 without ``fill``."""
    known = targets.float()
    expected = 2 * probability - 1
    soft = torch.where(known == 0, expected, (1 - weight) * known + weight * expected)
    soft = torch.where(soft == 0, torch.finfo(soft.dtype).tiny, soft)  # 0 means unknown
    return soft if fill else torch.where(known == 0, 0.0, soft)


def load_teacher(run: Path, words: tuple[str, ...]) -> tuple[PVLR, Config, dict[str, Any]]:
    """A finished run that has all labels, as ``load_model``; arguments and errors as :class:`Teacher`."""
    model, config, extra = load_model(run)
    known = config.model.text.words(config.data.labels)
    if missing := [label for label in words if label not in known]:
        raise ConfigError(
            "train.teacher.runs",
            f"runs with the {len(words)} labels of this one",
            f"{run} without {few(missing, 4)}",
            "Train a teacher with these labels, or remove them from data.labels.",
        )
    return model, config, extra
