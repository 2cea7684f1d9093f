"""Distillation: finished runs as teachers, whose scores soften known labels and fill in unknown ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pvlr_sdk.errors import ConfigError

from .checkpoint import load_model
from .config import Config, TeacherConfig
from .data.augmentation import Views
from .data.images import Image, ImageDataset, image_batches
from .deploy import DeployedPVLR
from .logs import few
from .losses import asl_probability
from .machine import Machine
from .model.network import PVLR

_BATCH = 32


def teach(
    dataset: ImageDataset,
    labels: tuple[str, ...],
    settings: TeacherConfig,
    machine: Machine,
    advance: Callable[[int], None] = lambda count: None,
) -> Tensor:
    """Soft targets (n, C) in [-1, 1], the expected value of 1 present and -1 absent.

    A known label is ``1 - weight`` of its target and ``weight`` of what the teachers expect; an unknown label is what
    they expect. The probabilities are averaged over runs and over each image and its mirror image, at each teacher's
    own input size (Hinton et al. 2015; Xie et al. 2020 for unlabelled images). A score of a teacher trained with ASL is
    no probability: as a target, it would make the student's score higher again.

    ``advance`` is called with the number of images seen since the last call, over all teachers.

    Raises:
        ConfigError: a teacher does not have all ``labels``.
        CheckpointError: a teacher is missing or damaged.
    """
    expected = torch.zeros(len(dataset), len(labels))
    for run in settings.runs:
        expected += (2 * _probabilities(run, dataset, labels, machine, advance) - 1) / len(settings.runs)
    known = dataset.targets.float()
    soft = torch.where(known == 0, expected, (1 - settings.weight) * known + settings.weight * expected)
    return torch.where(soft == 0, torch.finfo(soft.dtype).tiny, soft)  # 0 means unknown


def load_teacher(run: Path, labels: tuple[str, ...]) -> tuple[PVLR, Config]:
    """A finished run that has all ``labels``; errors as :func:`teach`."""
    model, config, _ = load_model(run)
    if missing := [label for label in labels if label not in config.data.labels]:
        raise ConfigError(
            "train.teacher.runs",
            expected=f"runs with the {len(labels)} labels of this one",
            got=f"{run} without {few(missing, 4)}",
            hint="Train a teacher with these labels, or remove them from data.labels.",
        )
    return model, config


@torch.inference_mode()
def _probabilities(
    run: Path, dataset: ImageDataset, labels: tuple[str, ...], machine: Machine, advance: Callable[[int], None]
) -> Tensor:
    """The probabilities (n, C) of one teacher."""
    model, config = load_teacher(run, labels)
    columns = [config.data.labels.index(label) for label in labels]
    deployed = DeployedPVLR(model).to(machine.device, memory_format=torch.channels_last)
    views, recipe = Views(config.data, seed=0), config.train

    def probability(images: Tensor) -> Tensor:
        scores = deployed(images).logits.float().sigmoid()
        return scores if recipe.loss == "bce" else asl_probability(scores, *recipe.focus)

    def plain(image: Image, index: int) -> np.ndarray:
        return views.plain(image)

    rows = []
    with machine.autocast():
        for images, _ in image_batches(dataset, list(range(len(dataset))), _BATCH, plain):
            images = images.to(machine.device, memory_format=torch.channels_last)
            both = probability(images) + probability(images.flip(-1))
            rows.append(both[:, columns].cpu() / 2)
            advance(len(images))
    return torch.cat(rows)
