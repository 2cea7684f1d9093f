"""Cached features of the frozen backbone: what makes training a head a matter of minutes on two cores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from .backbone import Backbone
from .data import Image, Photos, Views, image_batches

_FIRST_VIEW = 1_000_000  # far from the epochs' numbers: no epoch of fine-tuning draws the same crops again


@torch.inference_mode()
def cache_features(
    backbone: Backbone, photos: Photos, views: Views, count: int, advance: Callable[[int], None]
) -> Tensor:
    """Tokens of ``count`` views of every photo: bfloat16 (count, n, N, D).

    The first view is the whole photo, the others are augmented. ``advance`` is told of each batch's size.
    """
    backbone.eval()
    cache: Tensor | None = None
    for view in range(count):

        def make(image: Image, index: int, view: int = view) -> NDArray[np.float32]:
            return views.augmented(image, _FIRST_VIEW + view, index) if view else views.plain(image)

        start = 0
        for images, _ in image_batches(photos, list(range(len(photos))), 32, make):
            with torch.autocast("cpu", torch.bfloat16):
                tokens = backbone(images.to(memory_format=torch.channels_last))
            if cache is None:
                cache = torch.empty((count, len(photos), *tokens.shape[1:]), dtype=torch.bfloat16)
            cache[view, start : start + len(images)] = tokens
            start += len(images)
            advance(len(images))
    assert cache is not None  # there is at least one photo and one view
    return cache
