"""Cached features of the frozen backbone, with which a head trains in minutes on two cores; they are kept in memory."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pvlr_sdk.errors import ConfigError

from ..frozen import Frozen
from ..machine import Machine, available_memory
from ..model.backbone import Backbone
from .augmentation import Views
from .images import Image, ImageDataset, image_batches

_FIRST_VIEW = 1_000_000  # above all epoch numbers, so that fine-tuning draws other crops
_BATCH = 32

Notify = Callable[[int], None]


@torch.inference_mode()
def cache_features(
    backbone: Backbone,
    dataset: ImageDataset,
    views: Views,
    count: int,
    machine: Machine,
    advance: Notify,
    deadline: float = math.inf,
) -> Tensor:
    """Tokens of ``count`` views of each image: bfloat16 (count, n, N, D), on the CPU.

    The first view is the whole image, the others are augmented. Several processes share the work, and each returns all
    of it. ``advance`` is called with the number of images computed since the last call. There are fewer views if not
    all would be complete at ``deadline``, a time of ``time.perf_counter``.
    """
    network = Frozen(backbone.eval(), machine)
    began = time.perf_counter()
    cache: Tensor | None = None
    order = share(len(dataset), machine.rank, machine.processes)
    for view in range(count):
        if view and began + (time.perf_counter() - began) * (view + 1) / view > deadline:
            count = view
            break

        def make(image: Image, index: int, view: int = view) -> NDArray[np.float32]:
            return views.augmented(image, _FIRST_VIEW + view, index) if view else views.plain(image)

        start = 0
        for images, _ in image_batches(dataset, order, _BATCH, make):
            tokens = machine.gather(network(images).bfloat16())[: len(dataset) - start]
            if cache is None:
                cache = _allocate((count, len(dataset), *tokens.shape[1:]))
            cache[view, start : start + len(tokens)] = tokens
            start += len(tokens)
            advance(len(tokens))
    dataset.skip(machine.union(list(dataset.failed)))  # skip what any process could not decode
    assert cache is not None  # there is at least one image and one view
    return cache[:count]


def _allocate(shape: tuple[int, ...]) -> Tensor:
    size = 2 * math.prod(shape)
    available = available_memory()
    if size > available > 0:  # the kernel would grant it, and kill the process later
        raise ConfigError(
            "train.views",
            f"features that fit into {available / 1e9:.1f} GB of free memory",
            f"{shape[0]} views of {shape[1]} images, {size / 1e9:.1f} GB",
            "Lower train.views or data.input, or set data.cache=none.",
        )
    return torch.empty(shape, dtype=torch.bfloat16)


def share(images: int, rank: int, processes: int) -> list[int]:
    """The images that process ``rank`` computes: its part of each global batch, padded to equal parts."""
    together = _BATCH * processes
    mine = []
    for start in range(0, images, together):
        batch = list(range(start, min(start + together, images)))
        batch += batch[-1:] * (-len(batch) % processes)
        each = len(batch) // processes
        mine += batch[rank * each :][:each]
    return mine
