"""Distillation: finished runs as teachers, whose scores soften known labels and fill in unknown ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from pvlr_sdk.errors import ConfigError

from .checkpoint import load_model
from .config import Config, TeacherConfig
from .data.augmentation import Views, mixed
from .data.images import ImageDataset
from .deploy import DeployedPVLR
from .export import resize
from .frozen import Frozen
from .logs import few
from .losses import asl_probability
from .machine import Machine
from .model.network import PVLR


class Teacher:
    """A finished run that tells how probable each label is, given by its words; ``size`` is the side of its input,
    None: as trained.

    Raises:
        ConfigError: the run does not have all labels.
        CheckpointError: the run is missing or damaged.
    """

    def __init__(self, run: Path, words: tuple[str, ...], size: int | None, machine: Machine) -> None:
        model, self.config = load_teacher(run, words, size)
        known = self.config.model.text.words(self.config.data.labels)
        self._columns = [known.index(label) for label in words]
        self._network = Frozen(DeployedPVLR(model).to(machine.device), machine)

    def probability(self, images: Tensor) -> Tensor:
        """(B, C) in [0, 1], on the CPU, for images (B, 3, H, W) that are prepared as for the teacher.

        The score of a teacher trained with ASL is no probability: as a target, it would make the student's score higher
        again.
        """
        recipe = self.config.train
        scores = self._network(images).cpu()[:, self._columns].sigmoid()
        return scores if recipe.loss == "bce" else asl_probability(scores, *recipe.focus)


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

    ``advance`` is called with the number of images seen since the last call, over all teachers. Errors as ``Teacher``.
    """
    average = torch.zeros(len(dataset), len(words))
    for run in settings.runs:
        teacher = Teacher(run, words, settings.size, machine)
        views = Views(teacher.config.data, seed=0)
        rows = []
        for images in views.batches(dataset):
            rows.append((teacher.probability(images) + teacher.probability(images.flip(-1))) / 2)
            advance(len(images))
        average += torch.cat(rows) / len(settings.runs)
    return soften(dataset.targets, average, settings.weight)


class ViewTeachers:
    """Soft targets for the very views that the student sees; a crop may lack what its image shows.

    The teachers take turns, one per batch. What comes of many batches is their average, at the cost of one (Beyer et
    al. 2022 show that a student learns most from a teacher that sees the same view). Errors as ``Teacher``.
    """

    def __init__(self, config: Config, machine: Machine) -> None:
        self._settings = settings = config.train.teacher
        self._mix = config.data.mix
        self._pixels = config.data.input
        words = config.model.text.words(config.data.labels)
        self._teachers = [Teacher(run, words, settings.size, machine) for run in settings.runs]

    def prepare(self, images: Tensor, targets: Tensor, key: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """A batch of the student's images (B, 3, H, W) and targets (B, C): some images mixed, the targets softened.

        ``key`` decides what is mixed; its last number is that of the batch, and so whose turn it is.
        """
        images, mixture = mixed(images, self._mix, np.random.default_rng(key))
        targets = torch.where(mixture[:, None], 0, targets)
        teacher = self._teachers[key[-1] % len(self._teachers)]
        expected = teacher.probability(self._resized(images, teacher))
        return images, soften(targets, expected, self._settings.weight)

    def _resized(self, images: Tensor, teacher: Teacher) -> Tensor:
        """As the teacher's preprocessing would have made them, up to the interpolation."""
        own, spec = self._pixels, teacher.config.data.input
        if (own.mean, own.std) != (spec.mean, spec.std):
            mean, std, mean_of, std_of = (
                torch.tensor(value).view(3, 1, 1) for value in (own.mean, own.std, spec.mean, spec.std)
            )
            images = (images * std + mean - mean_of) / std_of
        if images.shape[2:] == (spec.height, spec.width):
            return images
        return F.interpolate(images, (spec.height, spec.width), mode="bicubic", antialias=True)


def soften(targets: Tensor, probability: Tensor, weight: float) -> Tensor:
    """The expected value of 1 present and -1 absent, (n, C): a known label is ``1 - weight`` of its target and
    ``weight`` of what the teachers expect; an unknown label (0) is what they expect."""
    known, expected = targets.float(), 2 * probability - 1
    soft = torch.where(known == 0, expected, (1 - weight) * known + weight * expected)
    return torch.where(soft == 0, torch.finfo(soft.dtype).tiny, soft)  # 0 means unknown


def load_teacher(run: Path, words: tuple[str, ...], size: int | None = None) -> tuple[PVLR, Config]:
    """A finished run that has all labels; arguments and errors as :class:`Teacher`."""
    model, config, extra = load_model(run)
    known = config.model.text.words(config.data.labels)
    if missing := [label for label in words if label not in known]:
        expected, got = f"runs with the {len(words)} labels of this one", f"{run} without {few(missing, 4)}"
        hint = "Train a teacher with these labels, or remove them from data.labels."
        raise ConfigError("train.teacher.runs", expected=expected, got=got, hint=hint)
    if size is not None:
        config, _ = resize(model, config, extra, (size, size))
    return model, config
