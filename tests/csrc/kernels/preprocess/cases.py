"""Pictures for the batch's preprocessing, and its definition in float64."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tests.preprocess_reference import triangle_filter

FORMATS = ("rgb", "bgr", "rgba", "bgra", "gray", "nv12", "i420")
MATRICES = ("bt601", "bt709")
RANGES = ("limited", "full")
TYPES = ("float32", "float16", "bfloat16")
MANTISSA = {"float32": 23, "float16": 10, "bfloat16": 7}
OPENCV = (1.164, 1.596, -0.391, -0.813, 2.018)
"""What OpenCV has in place of BT.601 in limited range, in the order of :func:`coefficients`."""
MEAN, STD, PAD = np.array([(123.7, 116.3, 103.5), (58.4, 57.1, 57.4), (114.0, 90.0, 20.0)])

Box = tuple[int, int, int, int]
"""Left, top, width, height."""


@dataclass
class Picture:
    """One entry of a batch. Planes are uint8 arrays (rows, bytes); ``crop`` and ``region`` default to everything."""

    format: str
    height: int
    width: int
    crop: Box | None = None
    region: Box | None = None
    matrix: str = "bt601"
    range: str = "limited"
    spare: int = 0  # bytes behind each row
    lead: int = 0  # bytes before the first pixel, which spoil the alignment
    upwards: bool = False  # rows run from the bottom to the top in memory
    seed: int = 0
    planes: list[NDArray[np.uint8]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.planes:
            return
        height, width, half = self.height, self.width, (self.width + 1) // 2
        down = (height + 1) // 2
        shapes = {
            "nv12": [(height, width), (down, 2 * half)],
            "i420": [(height, width), (down, half), (down, half)],
        }
        channels = {"gray": 1, "rgba": 4, "bgra": 4}.get(self.format, 3)
        random = np.random.default_rng(self.seed)
        for shape in shapes.get(self.format, [(height, channels * width)]):
            self.planes.append(random.integers(0, 256, shape, np.uint8))

    def raw(self, dst: tuple[int, int]) -> bytes:
        """As main.cpp reads it; the last row of a plane has no spare bytes."""
        crop = self.crop or (0, 0, self.width, self.height)
        region = self.region or (0, 0, dst[1], dst[0])
        kind = (FORMATS.index(self.format), MATRICES.index(self.matrix), RANGES.index(self.range))
        parts = [
            struct.pack("<14i", *kind, self.width, self.height, *crop, *region, len(self.planes))
        ]
        for plane in self.planes:
            rows, row_bytes = plane.shape
            pitch = row_bytes + self.spare
            stored = plane[::-1] if self.upwards else plane
            data = np.pad(stored, ((0, 0), (0, self.spare))).tobytes()[
                : (rows - 1) * pitch + row_bytes
            ]
            offset = self.lead + (pitch * (rows - 1) if self.upwards else 0)
            parts.append(
                struct.pack("<3i", -pitch if self.upwards else pitch, offset, self.lead + len(data))
            )
            parts.append(bytes(self.lead) + data)
        return b"".join(parts)


@dataclass(frozen=True)
class Case:
    """A batch and what it becomes."""

    dtype: str
    dst: tuple[int, int]
    pictures: tuple[Picture, ...]

    def raw(self) -> bytes:
        header = struct.pack(
            "<4i", len(self.pictures), TYPES.index(self.dtype), self.dst[1], self.dst[0]
        )
        numbers = np.concatenate([1 / STD, -MEAN / STD, (PAD - MEAN) / STD]).astype("<f4").tobytes()
        return header + numbers + b"".join(picture.raw(self.dst) for picture in self.pictures)


def read_output(case: Case, data: bytes) -> NDArray[np.float64]:
    """(pictures, 3, height, width), whatever the type."""
    if case.dtype == "bfloat16":
        values = (np.frombuffer(data, "<u2").astype(np.uint32) << 16).view(np.float32)
    else:
        values = np.frombuffer(data, "<f4" if case.dtype == "float32" else "<f2")
    return values.reshape(len(case.pictures), 3, *case.dst).astype(np.float64)


def define(case: Case) -> NDArray[np.float64]:
    """The definition: each picture's crop, converted to 8-bit RGB, filtered along both axes, normalised."""
    out = np.empty((len(case.pictures), *case.dst, 3))
    out[:] = PAD
    for picture, canvas in zip(case.pictures, out, strict=True):
        left, top, width, height = picture.crop or (0, 0, picture.width, picture.height)
        rgb = to_rgb(picture)[top : top + height, left : left + width].astype(np.float64)
        x, y, columns, rows = picture.region or (0, 0, case.dst[1], case.dst[0])
        canvas[y : y + rows, x : x + columns] = _filter(_filter(rgb, rows, 0), columns, 1)
    return ((out - MEAN) / STD).transpose(0, 3, 1, 2)


def _filter(pixels: NDArray[np.float64], size: int, axis: int) -> NDArray[np.float64]:
    """Resize an axis; for its own size the filter is the identity, for the longest sides of 2 GB."""
    if pixels.shape[axis] == size:
        return pixels
    return np.moveaxis(
        np.tensordot(triangle_filter(pixels.shape[axis], size), pixels, (1, axis)), 0, axis
    )


def assert_close(case: Case, got: NDArray[np.float64], expected: NDArray[np.float64]) -> None:
    """Within 0.002 of an 8-bit value, and what rounding to the type costs."""
    bound = 2e-3 / STD[:, None, None] + np.abs(expected) * 2.0 ** -(MANTISSA[case.dtype] + 1)
    excess = np.abs(got - expected) - bound
    assert not np.isnan(got).any()
    worst = np.unravel_index(int(excess.argmax()), excess.shape)
    picture = case.pictures[worst[0]]
    assert excess.max() <= 0, (
        f"{worst}: {got[worst]} is not {expected[worst]} ({picture.format}, {picture})"
    )


def to_rgb(picture: Picture) -> NDArray[np.uint8]:
    """uint8 (height, width, 3): for YUV in steps of 2**-20, as the definition says."""
    if picture.format not in ("nv12", "i420"):
        channels = picture.planes[0].reshape(picture.height, picture.width, -1)
        if picture.format == "gray":
            return np.repeat(channels, 3, axis=2)
        return channels[:, :, 2::-1] if picture.format[0] == "b" else channels[:, :, :3]
    opencv = (picture.matrix, picture.range) == ("bt601", "limited")
    fixed = [
        np.int64(round(value * 2**20)) for value in (OPENCV if opencv else coefficients(picture))
    ]
    y, u, v = samples(picture)
    light = fixed[0] * np.maximum(y - (16 if picture.range == "limited" else 0), 0)
    rgb = np.stack(
        [light + fixed[1] * v, light + fixed[2] * u + fixed[3] * v, light + fixed[4] * u], axis=-1
    )
    return np.clip((rgb + 2**19) >> 20, 0, 255).astype(np.uint8)


def samples(picture: Picture) -> list[NDArray[np.int64]]:
    """Luma, and chroma around zero, of each pixel."""
    y = picture.planes[0].astype(np.int64)
    if picture.format == "nv12":
        u, v = picture.planes[1][:, 0::2], picture.planes[1][:, 1::2]
    else:
        u, v = picture.planes[1:]
    doubled = [plane.astype(np.int64).repeat(2, axis=0).repeat(2, axis=1) - 128 for plane in (u, v)]
    return [y, *(plane[: picture.height, : picture.width] for plane in doubled)]


def coefficients(picture: Picture) -> tuple[float, float, float, float, float]:
    """Of luma, V in red, U in green, V in green and U in blue: from the standard's Kr and Kb."""
    red, blue = (0.299, 0.114) if picture.matrix == "bt601" else (0.2126, 0.0722)
    green = 1 - red - blue
    luma, chroma = (255 / 219, 255 / 224) if picture.range == "limited" else (1.0, 1.0)
    of_chroma = (
        2 * (1 - red),
        -2 * blue * (1 - blue) / green,
        -2 * red * (1 - red) / green,
        2 * (1 - blue),
    )
    return luma, *(value * chroma for value in of_chroma)  # type: ignore[return-value]
