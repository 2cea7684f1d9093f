"""Cached features of the frozen backbone: what makes training a head a matter of minutes on two cores.

A run needs them in memory only. Several runs on the same photos can share them through a folder.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pvlr_sdk.errors import ConfigError, OutputError

from .backbone import Backbone
from .data import Image, Photos, Views, image_batches
from .machine import Machine
from .memory import available_memory

_FIRST_VIEW = 1_000_000  # far from the epochs' numbers: no epoch of fine-tuning draws the same crops again
_BATCH = 32


def shared_features(
    folder: Path,
    backbone: Backbone,
    photos: Photos,
    views: Views,
    count: int,
    machine: Machine,
    advance: Callable[[int], None],
) -> Tensor:
    """What ``cache_features`` gives, read from ``folder`` if an earlier run left it there, else left there.

    The file is mapped into memory, so runs side by side share it. Its name is a hash of all that goes into it.

    Raises:
        OutputError: no space for it.
    """
    path = folder / f"{_fingerprint(backbone, photos, views, count, machine)}.safetensors"
    if path.exists():
        advance(len(photos) * count)
    else:
        known_failures = len(photos.failed)
        features = cache_features(backbone, photos, views, count, machine, advance)
        if len(photos.failed) > known_failures:
            return features  # another run must find out for itself which photos don't decode
        if machine.leads:
            _leave(path, features)
        machine.wait()
    with safe_open(path, "pt") as file:
        return file.get_tensor("features")


def _leave(path: Path, features: Tensor) -> None:
    unfinished = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"features": features}, unfinished)
        unfinished.rename(path)
    except (OSError, SafetensorError) as error:
        unfinished.unlink(missing_ok=True)
        raise OutputError(
            str(path), expected="a place to write to", got=str(error), hint="Free some space, or unset train.features."
        ) from None


def _fingerprint(backbone: Backbone, photos: Photos, views: Views, count: int, machine: Machine) -> str:
    digest = hashlib.sha256()
    pixels = views.config.model_dump_json(exclude={"labels", "sources", "cache"})
    for part in (backbone.name, pixels, views.seed, count, machine.bf16):
        digest.update(f"{part}\n".encode())
    for name, tensor in backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    for name, image in zip(photos.names, photos.images, strict=True):
        if isinstance(image, Path):
            stat = image.stat() if image.exists() else None
            digest.update(f"{name} {stat and (stat.st_size, stat.st_mtime_ns)}\n".encode())
        else:
            digest.update(f"{name} {image.shape} {image[:: max(1, len(image) // 4)].sum()}\n".encode())
    return digest.hexdigest()[:16]


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
                cache = _allocate((count, len(photos), *tokens.shape[1:]))
            cache[view, start : start + len(tokens)] = tokens
            start += len(tokens)
            advance(len(tokens))
    photos.skip(machine.union(photos.failed))  # what one process could not decode, the others train on too
    assert cache is not None  # there is at least one photo and one view
    return cache


def _allocate(shape: tuple[int, ...]) -> Tensor:
    size, available = 2 * math.prod(shape), available_memory()
    if size > available > 0:  # the kernel would grant it, and kill the process when it is filled
        raise ConfigError(
            "train.views",
            expected=f"features that fit into the {available / 1e9:.1f} GB of memory that are free",
            got=f"{shape[0]} views of {shape[1]} photos, {size / 1e9:.1f} GB",
            hint="Lower train.views or data.input, or set data.cache=none.",
        )
    return torch.empty(shape, dtype=torch.bfloat16)


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
