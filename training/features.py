"""Cached features of the frozen backbone: what makes training a head a matter of minutes on two cores.

A run needs them in memory only. Several runs on the same photos can share them through a folder.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from .backbone import Backbone
from .data import Image, Photos, Views, image_batches

_FIRST_VIEW = 1_000_000  # far from the epochs' numbers: no epoch of fine-tuning draws the same crops again


def shared_features(
    folder: Path, backbone: Backbone, photos: Photos, views: Views, count: int, advance: Callable[[int], None]
) -> Tensor:
    """What ``cache_features`` gives, read from ``folder`` if an earlier run left it there, else left there.

    The file is mapped into memory, so runs side by side share it. Its name is a hash of all that goes into it.
    """
    path = folder / f"{_fingerprint(backbone, photos, views, count)}.safetensors"
    if path.exists():
        advance(len(photos) * count)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(f".{os.getpid()}")
        save_file({"features": cache_features(backbone, photos, views, count, advance)}, unfinished)
        unfinished.rename(path)
    with safe_open(path, "pt") as file:
        features: Tensor = file.get_tensor("features")
    return features


def _fingerprint(backbone: Backbone, photos: Photos, views: Views, count: int) -> str:
    digest = hashlib.sha256()
    for part in (backbone.name, views.config.model_dump_json(exclude={"labels", "sources"}), views.seed, count):
        digest.update(f"{part}\n".encode())
    for name, tensor in backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().numpy().tobytes())
    for name, image in zip(photos.names, photos.images, strict=True):
        digest.update(f"{name} {image.shape} {image[:: max(1, len(image) // 4)].sum()}\n".encode())
    return digest.hexdigest()[:16]


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
