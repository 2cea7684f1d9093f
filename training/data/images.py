"""Labelled images: loading, hold-out split, batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pvlr_sdk.errors import FrameError, ImageNotFoundError, LabelsFileError
from pvlr_sdk.frames.frames import load_frame

from ..machine import available_memory
from .config import DataConfig
from .sources import Sample, read_all

Image = NDArray[np.uint8]


@dataclass
class ImageDataset:
    """Images and targets (n, C) int8: 1 present, -1 absent, 0 unknown.

    Each of ``images`` is decoded (uint8 BGR, original or reduced size) or the path of a file to decode on demand.
    ``failed`` has the files that could not be decoded, and why. Without ``config``, images keep their size. ``held``
    states which are held out of training.
    """

    images: list[Image | Path]
    targets: Tensor
    names: list[str]
    failed: dict[str, str] = field(default_factory=dict)
    config: DataConfig | None = None
    held: list[bool] = field(default_factory=list)

    @classmethod
    def unlabelled(cls, files: Sequence[Path]) -> ImageDataset:
        """Files with one label, which is unknown."""
        return cls(
            list(files), torch.zeros(len(files), 1, dtype=torch.int8), [file.name for file in files]
        )

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> Image:
        """The pixels of an image; black, and see ``skip``, if the file can no longer be decoded."""
        image = self.images[index]
        if not isinstance(image, Path):
            return image
        decoded = _decode(image, None if self.held and self.held[index] else self.config)
        if not isinstance(decoded, FrameError):
            return decoded
        self._skip(index, decoded.got)
        return np.zeros((8, 8, 3), np.uint8)

    def skip(self, paths: Collection[str]) -> None:
        """Set all labels of these files to unknown, which excludes them from the loss and from metrics."""
        for index, image in enumerate(self.images):
            if isinstance(image, Path) and str(image) in paths:
                self._skip(index, "not decoded by another process")

    def _skip(self, index: int, reason: str) -> None:
        self.targets[index] = 0
        self.failed.setdefault(str(self.images[index]), reason)

    def subset(self, keep: list[int]) -> ImageDataset:
        """The images with these indices; ``failed`` is shared."""
        images, names, held = (
            [column[i] for i in keep] if column else []
            for column in (self.images, self.names, self.held)
        )
        return ImageDataset(images, self.targets[keep], names, self.failed, self.config, held)


_LARGE = 2**25  # bytes; a held-out image above that is decoded when it is needed
_CHUNK = 64  # images between two checks of the memory that is left


def load_dataset(
    config: DataConfig,
    advance: Callable[[int, int], None] = lambda count, total: None,
    processes: int = 1,
) -> ImageDataset:
    """Load all images of the configured sources, decoded as far as ``config.cache`` and the memory allow.

    ``config.blank`` empty frames are added to those for training.
    An image that is missing or cannot be decoded is left out and is in ``failed``. Training images are reduced to
    the size that training needs; held-out ones keep theirs, because thresholds are chosen on deployed pixels.

    Args:
        advance: called with the number of images loaded since the last call, and the total.
        processes: the number of processes that share this machine's memory.

    Raises:
        LabelsFileError: a labels file is invalid, or no image has a label.
    """
    rows = read_all(config)
    loaded = _load_rows(rows, config, advance, processes)
    pairs = list(zip(rows, loaded, strict=True))
    failed = {str(row.path): image.got for row, image in pairs if isinstance(image, FrameError)}
    kept = [(*row, image) for row, image in pairs if not isinstance(image, FrameError)]
    if not any((target == 1).any() for _, target, _, _ in kept):
        raise LabelsFileError(
            "data.sources",
            "at least one image with a label",
            f"{len(kept)} images ({len(failed)} missing or not decodable), none labelled",
            "Check the image folder, the split names and the rename map.",
        )
    paths, targets, held, images = (list(column) for column in zip(*kept, strict=True))
    names = [path.name for path in paths]
    if config.blank:
        names += [f"blank {number}" for number in range(config.blank)]
        targets += [np.full_like(targets[0], -1)] * config.blank
        held += [False] * config.blank
        images += blank_frames(config.blank, config.input.height, config.input.width)
    return ImageDataset(images, torch.from_numpy(np.stack(targets)), names, failed, config, held)


def _load_rows(
    rows: Sequence[Sample],
    config: DataConfig,
    advance: Callable[[int, int], None],
    processes: int,
) -> list[Image | Path | FrameError]:
    """The images of ``rows``: decoded while memory is left, then as paths, or why there is none."""
    memory = {"memory": math.inf, "none": 0.0, "auto": 0.5 * available_memory() / processes}[
        config.cache
    ]
    loaded: list[Image | Path | FrameError] = []
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(rows), _CHUNK):
            chunk = rows[start : start + _CHUNK]
            if memory > 0:
                images = list(
                    pool.map(lambda row: _load(row.path, None if row.is_held else config), chunk)
                )
                memory -= sum(image.nbytes for image in images if isinstance(image, np.ndarray))
                loaded += images
            else:
                paths = [row.path for row in chunk]
                loaded += [path if path.is_file() else _missing(path) for path in paths]
            advance(len(chunk), len(rows))
    return loaded


def blank_frames(count: int, height: int, width: int) -> list[NDArray[np.uint8]]:
    """``count`` images (height, width, 3) of one colour, half with a gradient and half with noise; always the same."""
    rng = np.random.default_rng(count)
    return [_blank_frame(height, width, rng) for _ in range(count)]


def _blank_frame(height: int, width: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    frame = np.full((height, width, 3), rng.uniform(0, 255, 1) + rng.normal(0, 10, 3))
    if rng.random() < 0.5:
        across, down = rng.uniform(-80, 80, 2)
        frame += (across * np.linspace(-1, 1, width) + down * np.linspace(-1, 1, height)[:, None])[
            ..., None
        ]
    if rng.random() < 0.5:
        frame += rng.normal(0, rng.uniform(1, 25), frame.shape)
    return frame.clip(0, 255).astype(np.uint8)


def _missing(path: Path) -> FrameError:
    return ImageNotFoundError(str(path), "an image", "no such file", "Check the path.")


def _load(path: Path, config: DataConfig | None) -> Image | Path | FrameError:
    """The image, or its path if it is too large to keep, or the error."""
    image = _decode(path, config)
    return (
        path
        if isinstance(image, np.ndarray) and config is None and image.nbytes > _LARGE
        else image
    )


def _decode(path: Path, config: DataConfig | None) -> Image | FrameError:
    """An image, or the error. With ``config``, the smallest random crop of the reduced image has the input's size.

    That crop has ``min_crop`` of the area and an aspect ratio up to 4/3 off the image's, so each of its sides is at
    least sqrt(min_crop * 3/4) of the image's.
    """
    least = (config.min_crop * 0.75) ** -0.5 if config else 0.0
    rows, columns = (
        (least * config.input.height, least * config.input.width) if config else (0.0, 0.0)
    )
    try:
        image = load_frame(
            path, "bgr", (math.ceil(rows), math.ceil(columns)) if config else None
        ).pixels
    except FrameError as error:
        return error
    height, width = image.shape[:2]
    scale = max(rows / height, columns / width)
    if config is None or scale >= 1:
        return image
    return cv2.resize(
        image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA
    )


def split_holdout(dataset: ImageDataset) -> tuple[ImageDataset, ImageDataset]:
    """Split into (training, holdout)."""
    keep = [i for i, is_held in enumerate(dataset.held) if not is_held]
    held = [i for i, is_held in enumerate(dataset.held) if is_held]
    return dataset.subset(keep), dataset.subset(held)


def image_batches(
    dataset: ImageDataset,
    order: list[int],
    batch: int,
    view: Callable[[Image, int], NDArray[np.float32]],
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches (images (b, 3, H, W), targets (b, C)) in the given order, prepared ahead in two threads.

    ``view`` turns an image and its index into a network input.
    """

    def make(indices: list[int]) -> Tensor:
        return torch.from_numpy(np.stack([view(dataset.image(i), i) for i in indices]))

    chunks = [order[i : i + batch] for i in range(0, len(order), batch)]
    with ThreadPoolExecutor(2) as pool:
        ahead: list[Future[Tensor]] = [pool.submit(make, chunk) for chunk in chunks[:3]]
        for number, chunk in enumerate(chunks):
            images = ahead.pop(0).result()
            if number + 3 < len(chunks):
                ahead.append(pool.submit(make, chunks[number + 3]))
            yield images, dataset.targets[chunk]
