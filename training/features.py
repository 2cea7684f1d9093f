"""Cached features of the frozen backbone: what makes training a head a matter of minutes on two cores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .backbone import Backbone
from .data import Image, Photos, Views, image_batches
from .machine import Machine

_FIRST_VIEW = 1_000_000  # far from the epochs' numbers: no epoch of fine-tuning draws the same crops again


_BATCH = 32


@torch.inference_mode()
def cache_features(
    backbone: Backbone, photos: Photos, views: Views, count: int, machine: Machine, advance: Callable[[int], None]
) -> Tensor:
    """Tokens of ``count`` views of every photo: bfloat16 (count, n, N, D), on the CPU.

    The first view is the whole photo, the others are augmented. Several processes share the work, and each gets all of
    it. ``advance`` is told of the photos that are done.
    """
    backbone.eval()
    cache: Tensor | None = None
    order = share(len(photos), machine.rank, machine.processes)
    for view in range(count):

        def make(image: Image, index: int, view: int = view) -> NDArray[np.float32]:
            return views.augmented(image, _FIRST_VIEW + view, index) if view else views.plain(image)

        start = 0
        for images, _ in image_batches(photos, order, _BATCH, make):
            images = images.to(machine.device, memory_format=torch.channels_last)
            with machine.autocast():
                tokens = machine.gather(backbone(images).bfloat16())[: len(photos) - start]
            if cache is None:
                cache = torch.empty((count, len(photos), *tokens.shape[1:]), dtype=torch.bfloat16)
            cache[view, start : start + len(tokens)] = tokens
            start += len(tokens)
            advance(len(tokens))
    assert cache is not None  # there is at least one photo and one view
    return cache


def share(photos: int, rank: int, processes: int) -> list[int]:
    """The photos that process ``rank`` computes: its part of each batch of all processes, which they gather again."""
    together = _BATCH * processes
    mine = []
    for start in range(0, photos, together):
        batch = list(range(start, min(start + together, photos)))
        batch += batch[-1:] * (-len(batch) % processes)  # every process has as many
        each = len(batch) // processes
        mine += batch[rank * each :][:each]
    return mine
