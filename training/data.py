"""Photos and their labels, decoded once, and the augmented views that training sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pvlr_sdk.errors import FrameError, LabelsFileError
from pvlr_sdk.frames import load_frame
from pvlr_sdk.preprocess import Preprocessor

from .config import DataConfig
from .holdout import is_held_out
from .randaugment import RandAugment
from .sources import read_source

Image = NDArray[np.uint8]


@dataclass
class Photos:
    """Decoded photos (uint8 BGR, their own sizes), targets (n, C) int8: 1 present, -1 absent, 0 unknown."""

    images: list[Image]
    targets: Tensor
    names: list[str]
    failed: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.images)

    def subset(self, keep: list[int]) -> Photos:
        return Photos([self.images[i] for i in keep], self.targets[keep], [self.names[i] for i in keep])


def load_photos(config: DataConfig, advance: Callable[[], None] | None = None) -> Photos:
    """Decode all photos of the configured sources; a file that can't be decoded is left out and named in ``failed``.

    Raises:
        LabelsFileError: a labels file is wrong, or there is not one photo with a label.
    """
    rows = [row for source in config.sources for row in read_source(source, config.labels)]
    images: list[Image] = []
    targets: list[NDArray[np.int8]] = []
    names: list[str] = []
    failed: list[str] = []
    with ThreadPoolExecutor(2) as pool:
        decoded = pool.map(_decode, (path for path, _ in rows))
        for (path, target), image in zip(rows, decoded, strict=True):
            if advance:
                advance()
            if image is None:
                failed.append(str(path))
            else:
                images.append(image)
                targets.append(target)
                names.append(path.name)
    if not any((target == 1).any() for target in targets):
        raise LabelsFileError(
            "data.sources",
            expected="at least one photo with a label",
            got=f"{len(images)} photos ({len(failed)} not decodable), none labelled",
            hint="Check the image folder, the split names and the rename map.",
        )
    return Photos(images, torch.from_numpy(np.stack(targets)), names, failed)


def _decode(path: Path) -> Image | None:
    try:
        return load_frame(path, "bgr").pixels
    except FrameError:
        return None


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
        return torch.from_numpy(np.stack([view(photos.images[i], i) for i in indices]))

    chunks = [order[i : i + batch] for i in range(0, len(order), batch)]
    with ThreadPoolExecutor(2) as pool:
        ahead: list[Future[Tensor]] = [pool.submit(make, chunk) for chunk in chunks[:3]]
        for number, chunk in enumerate(chunks):
            images = ahead.pop(0).result()
            if number + 3 < len(chunks):
                ahead.append(pool.submit(make, chunks[number + 3]))
            yield images, photos.targets[chunk]
