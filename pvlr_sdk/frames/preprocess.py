"""The pixel contract: converts any uint8 frame to the network's input in one compiled pass.

Used by training, evaluation and every backend; ``tests/preprocess_reference.py`` is the definition in NumPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .._util.core import _core, missing_core
from . import yuv
from .frames import FrameLike, Order, Region, load_frame

if TYPE_CHECKING:
    from ..bundle.manifest import InputSpec

ORDERS: tuple[Order, ...] = get_args(Order)
"""The pixel layouts that the core reads. Alpha is dropped; grey fills all three planes."""

_LONGEST_SIDE = 2**20
"""Pixels: the core's limit."""

_LONGEST_PITCH = 2**30
"""Bytes from a row to the next: the core's limit."""

_REVERSED: dict[Order, Order] = {"bgr": "rgb", "rgb": "bgr"}


class Preprocessor:
    """Resizes (antialiased triangle filter), converts to RGB planes and normalises, as an input spec defines.

    Thread-safe; the GIL is released and each thread has its own scratch memory.

    Args:
        spec: size, resize mode, mean, std and padding of the network's input.
    """

    def __init__(self, spec: InputSpec) -> None:
        self.spec = spec
        mean, std, pad = (
            np.array(values, np.float64) for values in (spec.mean, spec.std, spec.pad)
        )
        self.normalisation: tuple[list[float], list[float], list[float]] = (
            (1 / std).tolist(),
            (-mean / std).tolist(),
            ((pad - mean) / std).tolist(),
        )
        """Scale, bias and padding of each channel, for the core."""

    def region(self, height: int, width: int) -> Region:
        """The region of the input that an image of this size covers: left, top, width, height in pixels.

        For ``stretch`` the whole input; for ``letterbox`` the centred rectangle with the image's aspect ratio.
        """
        spec = self.spec
        if spec.resize == "stretch":
            return 0, 0, spec.width, spec.height
        scale = min(spec.width / width, spec.height / height)
        inner_width = min(max(int(width * scale + 0.5), 1), spec.width)
        inner_height = min(max(int(height * scale + 0.5), 1), spec.height)
        return (
            (spec.width - inner_width) // 2,
            (spec.height - inner_height) // 2,
            inner_width,
            inner_height,
        )

    def __call__(
        self,
        pixels: NDArray[np.uint8],
        order: Order,
        out: NDArray[np.float32] | None = None,
        crop: Region | None = None,
        chroma: Sequence[NDArray[np.uint8]] = (),
    ) -> NDArray[np.float32]:
        """Compute the network's input for one frame: float32 (3, height, width), RGB, normalised.

        Args:
            pixels: uint8, any strides: (H, W, 3) for bgr and rgb, (H, W, 4) for bgra and rgba, (H, W) for gray,
                (H * 3 / 2, W) for those of :mod:`pvlr_sdk.frames.yuv`. Copied unless the pixels of a row are packed,
                and i420 unless it is C-contiguous.
            order: one of :data:`ORDERS`.
            out: a float32 array of the result's shape to write to, C-contiguous or a view of a C-contiguous
                (height, width, 3) one, with equal values; allocated by default.
            crop: the part of the image that is resized, as if nothing were around it; None: the whole image.
            chroma: the other planes of a YUV image whose ``pixels`` are the luma (H, W) alone. Their rows may have any
                pitch.

        Raises:
            FrameDtypeError: ``pixels`` is not uint8.
            FrameShapeError: its shape does not match ``order``.
            EmptyFrameError, ImageSizeError: it has a side of zero pixels, or of more than 2^20.
            OptionError: ``order`` is unknown, or ``out`` has an invalid shape, dtype or layout.
            MissingPartError: the compiled core is not installed.
        """
        if _core is None:
            raise missing_core()
        height, width = image_size(pixels, order, chroma)
        shape = (3, self.spec.height, self.spec.width)
        if out is None:
            out = np.empty(shape, np.float32)
        else:
            _check_out(out, shape)
        if order in _REVERSED and pixels.strides[2] == -1:  # frame[:, :, ::-1]
            pixels = pixels[:, :, ::-1]
            order = _REVERSED[order]
        together = order.startswith("i420") and not chroma
        planes = [
            plane if _has_packed_rows(plane, together) else plane.copy()
            for plane in (pixels, *chroma)
        ]
        crop = crop or (0, 0, width, height)
        frame = (
            [_core.Tensor.from_numpy(plane) for plane in planes],
            order,
            crop,
            self.region(crop[3], crop[2]),
        )
        target = _core.Tensor.from_numpy(out).with_batch()
        _core.preprocess_batch([frame], target, *self.normalisation, 1, 0)
        return out

    def load(self, frame: FrameLike) -> NDArray[np.float32]:
        """The network's input for a frame of any kind: a path, encoded bytes, a BGR array or a PIL image.

        Raises:
            FrameError: the frame is invalid or cannot be read.
        """
        pixels, order = load_frame(frame)[:2]
        return self(pixels, order)


def image_size(
    pixels: NDArray[np.uint8], order: Order, chroma: Sequence[NDArray[np.uint8]] = ()
) -> tuple[int, int]:
    """Height and width in pixels of the image in an array, after checking that the array matches ``order``.

    Raises:
        OptionError, FrameError: as for :meth:`Preprocessor.__call__`.
    """
    errors.check_choice("order", order, ORDERS, "color is the channel order.")
    if types := {plane.dtype for plane in (pixels, *chroma)} - {np.dtype(np.uint8)}:
        hint = "Convert to 8-bit values (0..255) first."
        raise _invalid(errors.FrameDtypeError, "uint8", str(types.pop()), hint)
    channels = {"bgr": 3, "rgb": 3, "bgra": 4, "rgba": 4}.get(order)
    wanted = "(height, width)" if channels is None else f"(height, width, {channels})"
    if pixels.shape[2:] != (() if channels is None else (channels,)) or pixels.ndim < 2:
        expected = f"shape {wanted} for {order}"
        hint = "Check the channel order."
        raise _invalid(errors.FrameShapeError, expected, str(pixels.shape), hint)
    height, width = pixels.shape[:2]
    if height == 0 or width == 0:
        hint = "Check how it was cropped."
        raise _invalid(errors.EmptyFrameError, "at least one pixel", f"shape {pixels.shape}", hint)
    if max(height, width) > _LONGEST_SIDE:
        expected = f"at most {_LONGEST_SIDE} pixels a side"
        raise _invalid(errors.ImageSizeError, expected, f"{width} x {height}", "Resize it.")
    if chroma:
        yuv.check_planes("pixels", [plane.shape for plane in (pixels, *chroma)], order)
    elif yuv.is_yuv(order):
        yuv.check_shape("pixels", pixels.shape, order)
        height = height // 3 * 2
    return height, width


def _has_packed_rows(pixels: NDArray[np.uint8], together: bool) -> bool:
    """Whether the core reads an array as it is; ``together``: one that has rows of several lengths."""
    if together and not pixels.flags.c_contiguous:
        return False
    row = pixels[0]
    return row.flags.c_contiguous and row.size <= abs(pixels.strides[0]) <= _LONGEST_PITCH


def _invalid(
    kind: type[errors.FrameError], expected: str, got: str, hint: str
) -> errors.FrameError:
    return kind("pixels", expected, got, hint)


def _check_out(out: Any, shape: tuple[int, int, int]) -> None:
    if not isinstance(out, np.ndarray) or out.dtype != np.float32 or out.shape != shape:
        got = f"{out.dtype} {out.shape}" if isinstance(out, np.ndarray) else type(out).__name__
    elif (
        not (out.flags.c_contiguous or out.transpose(1, 2, 0).flags.c_contiguous)
        or not out.flags.writeable
    ):
        got = "an array that is not contiguous or not writeable"
    else:
        return
    raise errors.OptionError(
        "out", f"a writeable C-contiguous float32 array {shape}", got, "Omit it to allocate one."
    )
