"""Photos and their labels, decoded once, and the augmented views that training sees."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pvlr_sdk.errors import FrameError, LabelsFileError
from pvlr_sdk.frames import load_frame
from pvlr_sdk.preprocess import Preprocessor

from .config import DataConfig
from .holdout import is_held_out, is_used
from .memory import available_memory
from .randaugment import RandAugment
from .sources import read_source

Image = NDArray[np.uint8]


@dataclass
class Photos:
    """Photos and targets (n, C) int8: 1 present, -1 absent, 0 unknown.

    Each of ``images`` is decoded (uint8 BGR, its own size) or the path of a photo that is decoded when it is needed.
    ``failed`` names the photos that could not be decoded.
    """

    images: list[Image | Path]
    targets: Tensor
    names: list[str]
    failed: list[str] = field(default_factory=list)
    config: DataConfig | None = None

    def __len__(self) -> int:
        return len(self.images)

    def image(self, index: int) -> Image:
        """The photo's pixels; those of one that can't be decoded any more are black, see ``skip``."""
        image = self.images[index]
        if not isinstance(image, Path):
            return image
        decoded = _decode(image, self.config)
        if decoded is not None:
            return decoded
        self._skip(index)
        return np.zeros((8, 8, 3), np.uint8)

    def skip(self, paths: Collection[str]) -> None:
        """Let all labels of these photos count as unknown: they have no part in the loss or a measure."""
        for index, image in enumerate(self.images):
            if isinstance(image, Path) and str(image) in paths:
                self._skip(index)

    def _skip(self, index: int) -> None:
        self.targets[index] = 0
        if str(self.images[index]) not in self.failed:
            self.failed.append(str(self.images[index]))

    def subset(self, keep: list[int]) -> Photos:
        names = [self.names[i] for i in keep]
        return Photos([self.images[i] for i in keep], self.targets[keep], names, self.failed, self.config)


_TOGETHER = 64  # photos between two looks at the memory that is left


def load_photos(
    config: DataConfig, advance: Callable[[int, int], None] = lambda count, total: None, processes: int = 1
) -> Photos:
    """All photos of the configured sources, decoded as far as ``config.cache`` and the memory allow.

    A photo that is missing or can't be decoded is left out and named in ``failed``. Photos are kept at the size that
    training needs (``_shrink``), held-out ones as they are: thresholds are chosen on the very pixels of the contract.

    Args:
        advance: told of how many more photos are done, of how many in all.
        processes: how many share this machine's memory.

    Raises:
        LabelsFileError: a labels file is wrong, or there is not one photo with a label.
    """
    memory = {"memory": math.inf, "none": 0.0, "auto": 0.5 * available_memory() / processes}[config.cache]
    rows = [
        (path, target)
        for source in config.sources
        for path, target in read_source(source, config.labels)
        if is_held_out(path.name, config.holdout) or is_used(path.name, config.share)
    ]
    loaded: list[tuple[Path, Image | Path | None]] = []
    with ThreadPoolExecutor(2) as pool:
        for start in range(0, len(rows), _TOGETHER):
            paths = [path for path, _ in rows[start : start + _TOGETHER]]
            images: list[Image | Path | None]
            if memory > 0:
                images = list(pool.map(lambda path: _decode(path, config), paths))
                memory -= sum(image.nbytes for image in images if isinstance(image, np.ndarray))
            else:
                images = [path if path.is_file() else None for path in paths]
            loaded += zip(paths, images, strict=True)
            if advance:
                advance(len(paths), len(rows))
    failed = [str(path) for path, image in loaded if image is None]
    kept = [(row, image) for row, (_, image) in zip(rows, loaded, strict=True) if image is not None]
    if not any((target == 1).any() for (_, target), _ in kept):
        raise LabelsFileError(
            "data.sources",
            expected="at least one photo with a label",
            got=f"{len(kept)} photos ({len(failed)} missing or not decodable), none labelled",
            hint="Check the image folder, the split names and the rename map.",
        )
    return Photos(
        [image for _, image in kept],
        torch.from_numpy(np.stack([target for (_, target), _ in kept])),
        [path.name for (path, _), _ in kept],
        failed,
        config,
    )


def _decode(path: Path, config: DataConfig | None) -> Image | None:
    try:
        image = load_frame(path, "bgr").pixels
    except FrameError:
        return None
    return image if config is None or is_held_out(path.name, config.holdout) else _shrink(image, config)


def _shrink(image: Image, config: DataConfig) -> Image:
    """The photo made as small as training can do with: its smallest random crop still has the input's resolution.

    That crop has ``min_crop`` of the area and is up to 4/3 wider or higher than the photo, so each of its sides is at
    least sqrt(min_crop * 3/4) of the photo's.
    """
    least = (config.min_crop * 0.75) ** -0.5
    height, width = image.shape[:2]
    scale = least * max(config.input.height / height, config.input.width / width)
    if scale >= 1:
        return image
    return cv2.resize(image, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)


def split_holdout(photos: Photos, share: float) -> tuple[Photos, Photos]:
    """Split by the file name, so that a photo stays on its side whatever else is added: (train, holdout)."""
    held = [is_held_out(name, share) for name in photos.names]
    keep = [i for i, is_held in enumerate(held) if not is_held]
    return photos.subset(keep), photos.subset([i for i, is_held in enumerate(held) if is_held])


class Views:
    """Makes network inputs from photos by the pixel contract; augmented ones depend on (seed, epoch, index) alone."""

    def __init__(self, config: DataConfig, seed: int) -> None:
        self.config = config
        self.seed = seed
        self.preprocess = Preprocessor(config.input)
        chosen = config.randaugment
        self.randaugment = RandAugment(chosen.ops, chosen.magnitude, config.input.mean) if chosen.ops else None

    def plain(self, image: Image) -> NDArray[np.float32]:
        """The whole photo, as deployed: (3, H, W)."""
        return self.preprocess(image, "bgr")

    def augmented(self, image: Image, epoch: int, index: int) -> NDArray[np.float32]:
        """A random crop, mirrored or not, with RandAugment, random brightness and contrast and cut-out: (3, H, W)."""
        rng = np.random.default_rng((self.seed, epoch, index))
        view = _random_crop(image, rng, self.config.min_crop)
        if rng.random() < 0.5:
            view = view[:, ::-1]
        if self.randaugment:
            pixels = self.preprocess(self.randaugment(view[:, :, ::-1], rng), "rgb")
        else:
            pixels = self.preprocess(view, "bgr")
        if self.config.jitter:
            gain, shift = rng.uniform(-self.config.jitter, self.config.jitter, 2)
            pixels *= np.float32(1 + gain)
            pixels += np.float32(shift)
        if rng.random() < self.config.cutout:
            _cut_out(pixels, rng)
        return pixels


def _random_crop(image: Image, rng: np.random.Generator, min_area: float) -> Image:
    height, width = image.shape[:2]
    area = rng.uniform(min_area, 1.0) * height * width
    ratio = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3))) * width / height
    crop_width = int(min(width, max(1, round((area * ratio) ** 0.5))))
    crop_height = int(min(height, max(1, round((area / ratio) ** 0.5))))
    top = int(rng.integers(0, height - crop_height + 1))
    left = int(rng.integers(0, width - crop_width + 1))
    return image[top : top + crop_height, left : left + crop_width]


def _cut_out(pixels: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Zero a square of up to half the side (DeVries & Taylor 2017)."""
    _, height, width = pixels.shape
    side = int(rng.uniform(0.2, 0.5) * min(height, width))
    top, left = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
    pixels[:, top : top + side, left : left + side] = 0


def image_batches(
    photos: Photos, order: list[int], batch: int, view: Callable[[Image, int], NDArray[np.float32]]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches (images (b, 3, H, W), targets (b, C)) in the given order, made ahead of time in two threads.

    ``view`` turns a photo and its index into an input.
    """

    def make(indices: list[int]) -> Tensor:
        return torch.from_numpy(np.stack([view(photos.image(i), i) for i in indices]))

    chunks = [order[i : i + batch] for i in range(0, len(order), batch)]
    with ThreadPoolExecutor(2) as pool:
        ahead: list[Future[Tensor]] = [pool.submit(make, chunk) for chunk in chunks[:3]]
        for number, chunk in enumerate(chunks):
            images = ahead.pop(0).result()
            if number + 3 < len(chunks):
                ahead.append(pool.submit(make, chunks[number + 3]))
            yield images, photos.targets[chunk]
