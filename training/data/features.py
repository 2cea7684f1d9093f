"""Cached features of the frozen backbone, with which a head trains in minutes on two cores.

They are kept in memory; several runs on the same images can share them through a folder.
"""

from __future__ import annotations

import hashlib
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from pvlr_sdk.errors import ConfigError, OutputError

from ..frozen import Frozen
from ..machine import Machine, available_memory
from ..model.backbone import Backbone
from .augmentation import Views
from .images import Image, ImageDataset, image_batches

_FIRST_VIEW = 1_000_000  # above all epoch numbers, so that fine-tuning draws other crops
_BATCH = 32

Notify = Callable[[int], None]


def shared_features(
    folder: Path, backbone: Backbone, dataset: ImageDataset, views: Views, count: int, machine: Machine, advance: Notify
) -> Tensor:
    """The result of ``cache_features``, read from ``folder`` or computed and written there.

    The file is memory-mapped, so concurrent runs share it. Its name is a hash of all inputs.

    Raises:
        OutputError: the file cannot be written.
    """
    path = folder / f"{_fingerprint(backbone, dataset, views, count, machine)}.safetensors"
    if path.exists():
        advance(len(dataset) * count)
    else:
        known_failures = len(dataset.failed)
        features = cache_features(backbone, dataset, views, count, machine, advance)
        if len(dataset.failed) > known_failures:
            return features  # other runs must detect these failures, too
        if machine.leads:
            _write(path, features)
        machine.wait()
    with safe_open(path, "pt") as file:
        return file.get_tensor("features")


def _write(path: Path, features: Tensor) -> None:
    unfinished = path.with_suffix(f".{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"features": features}, unfinished)
        unfinished.rename(path)
    except (OSError, SafetensorError) as error:
        unfinished.unlink(missing_ok=True)
        hint = "Free some space, or unset train.features."
        raise OutputError(str(path), expected="a writable file", got=str(error), hint=hint) from None


def _fingerprint(backbone: Backbone, dataset: ImageDataset, views: Views, count: int, machine: Machine) -> str:
    digest = hashlib.sha256()
    pixels = views.config.model_dump_json(exclude={"labels", "sources", "cache"})
    for part in (backbone.name, pixels, views.seed, count, machine.bf16):
        digest.update(f"{part}\n".encode())
    for name, tensor in backbone.state_dict().items():
        digest.update(name.encode())
        digest.update(tensor.contiguous().cpu().numpy().tobytes())
    for name, image in zip(dataset.names, dataset.images, strict=True):
        if isinstance(image, Path):
            stat = image.stat() if image.exists() else None
            digest.update(f"{name} {stat and (stat.st_size, stat.st_mtime_ns)}\n".encode())
        else:
            digest.update(f"{name} {image.shape} {image[:: max(1, len(image) // 4)].sum()}\n".encode())
    return digest.hexdigest()[:16]


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
    size, available = 2 * math.prod(shape), available_memory()
    if size > available > 0:  # the kernel would grant it, and kill the process later
        expected = f"features that fit into {available / 1e9:.1f} GB of free memory"
        got = f"{shape[0]} views of {shape[1]} images, {size / 1e9:.1f} GB"
        hint = "Lower train.views or data.input, or set data.cache=none."
        raise ConfigError("train.views", expected=expected, got=got, hint=hint)
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
