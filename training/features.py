"""Cached features of the frozen backbone: what makes training a head a matter of minutes on two cores."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .backbone import Backbone
from .data import Photos, Views, image_batches


@torch.inference_mode()
def cache_features(
    backbone: Backbone, photos: Photos, views: Views, count: int, advance: Callable[[int], None]
) -> list[Tensor]:
    """Tokens of ``count`` views of every photo: a list of bfloat16 tensors (n, N, D).

    The first view is the whole photo, the others are augmented. ``advance`` is told of each batch's size.
    """
    backbone.eval()
    caches = []
    for view in range(count):
        rows = []
        make = (lambda image, _: views.plain(image)) if view == 0 else _augmented(views, view)
        for images, _ in image_batches(photos, list(range(len(photos))), 32, make):
            with torch.autocast("cpu", torch.bfloat16):
                rows.append(backbone(images.to(memory_format=torch.channels_last)).bfloat16())
            advance(len(images))
        caches.append(torch.cat(rows))
    return caches


def _augmented(views: Views, view: int):  # type: ignore[no-untyped-def]
    # Negative, so that no epoch of fine-tuning draws the same crops again.
    return lambda image, index: views.augmented(image, 1_000_000 + view, index)
