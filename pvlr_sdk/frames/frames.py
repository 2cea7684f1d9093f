"""Decodes and validates everything that ``predict`` accepts: the result is a uint8 array with a known layout."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import NDArray

from .. import errors
from . import heif, images, yuv
from .limits import check_pixels

if TYPE_CHECKING:
    from PIL.Image import Image

Planes: TypeAlias = "tuple[NDArray[np.uint8], ...]"
FrameLike: TypeAlias = (
    "NDArray[np.uint8] | Planes | str | os.PathLike[str] | bytes | bytearray | memoryview | Image"
    " | Frame"
)
"""What :func:`load_frame` accepts."""

Color: TypeAlias = Literal["bgr", "rgb", yuv.Order]
Order: TypeAlias = Literal[Color, "gray", "bgra", "rgba"]
Region: TypeAlias = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""
COLORS: tuple[Color, ...] = get_args(Color)
_LAYOUTS = "uint8 of shape (height, width, 3), (height, width, 4) or (height, width)"
_HINTS = {
    "read": "Pass its bytes: frame.read(), with await if that is asynchronous.",
    "content": "Pass its bytes: frame.content.",
    "to_ndarray": 'Pass frame.to_ndarray(format="bgr24").',
    "__array__": "Pass numpy.asarray(frame), as 8-bit values (0..255) with the channels last.",
    "__iter__": "Pass one frame at a time, or several to predict_batch. Pixels: numpy.array(frame, numpy.uint8).",
}
"""By an attribute of the object: a file, a response, a frame of PyAV, an array of another library, a list."""


class Frame(NamedTuple):
    """Pixels and how to read them; ``full_size`` is the original size of an image decoded at a reduced one.

    ``crop`` is the part of a YUV image that is meant, which is not an array of its own; None: the whole image. If its
    planes are arrays of their own, ``pixels`` is the luma and ``chroma`` has the others.
    """

    pixels: NDArray[np.uint8]
    order: Order
    full_size: tuple[int, int] | None = None
    crop: Region | None = None
    chroma: Planes = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        if self.full_size:
            return self.full_size
        if self.crop:
            return self.crop[3], self.crop[2]
        height, width = self.pixels.shape[:2]
        return (
            (height * 2 // 3, width)
            if yuv.is_yuv(self.order) and not self.chroma
            else (height, width)
        )

    def cut(self, region: Region) -> Frame:
        """A part of a frame at its full size, in the same memory: left, top (even for YUV), width and height."""
        if yuv.is_yuv(self.order):
            return self._replace(crop=region)
        left, top, width, height = region
        return Frame(self.pixels[top : top + height, left : left + width], self.order)


def frame_name(frame: object) -> str:
    """How errors name a frame: with its path, if it is one."""
    return f"frame {os.fspath(frame)!r}" if isinstance(frame, (str, os.PathLike)) else "frame"


class Decoder(Protocol):
    """A function with the arguments, result and errors of :func:`pvlr_sdk.frames.images.decode`."""

    def __call__(
        self, data: bytes, source: str, least_size: tuple[int, int] | None
    ) -> images.DecodedImage: ...


def load_frame(
    frame: FrameLike,
    color: Color = "bgr",
    least_size: tuple[int, int] | None = None,
    decode: Decoder = images.decode,
) -> Frame:
    """Decode or validate a frame; arrays are not copied.

    Args:
        frame: a uint8 array of any strides, (H, W, 3), (H, W, 4; alpha is ignored), (H, W) grey, or
            (H * 3 / 2, W) with a YUV ``color``; a tuple of such planes (:mod:`pvlr_sdk.frames.yuv`); the path of an
            image; the bytes of an encoded image; a PIL image, whose EXIF orientation is honoured as that of files; a
            frame that was loaded. HEIC and AVIF need the extra ``[heif]``.
        color: the channel order of an array: ``bgr`` (OpenCV), ``rgb``, ``nv12`` or ``i420``, the latter two optionally
            with ``-bt709`` and ``-full`` (:mod:`pvlr_sdk.frames.yuv`). Ignored for other inputs.
        least_size: decode a JPEG at 1/2, 1/4 or 1/8 of its size if that leaves at least this height and width; None:
            always at full size.
        decode: decodes paths and bytes; :class:`pvlr_sdk.frames.isolated.Decoders` does so in another process.

    Raises:
        OptionError: ``color`` is invalid.
        FrameTypeError, FrameDtypeError, FrameShapeError, EmptyFrameError, FrameValueError: the array is invalid.
        ImageNotFoundError: the path cannot be read, or is not a regular file.
        ImageSizeError: the file has more bytes, or the image more pixels, than :mod:`.limits` allows.
        ImageDecodeError: the file or the bytes are not a complete image.
    """
    check_color(color)
    if isinstance(frame, Frame):
        return frame
    if isinstance(frame, np.ndarray):
        return _from_array(frame, color)
    if isinstance(frame, tuple) and yuv.is_yuv(color):
        return _from_planes(frame, color)
    if isinstance(frame, (str, os.PathLike)):
        return _encoded(images.read(frame), frame_name(frame), least_size, decode)
    if isinstance(frame, (bytes, bytearray, memoryview)):
        return _encoded(bytes(frame), "frame", least_size, decode)
    if _is_pil(frame):
        return _from_pil(frame, "frame")
    expected = "a NumPy array, a path, encoded bytes or a PIL image"
    raise _invalid(errors.FrameTypeError, expected, type(frame).__name__, type_hint(frame))


def type_hint(frame: Any) -> str:
    """How to pass an object whose type is not accepted."""
    if frame is None:
        return "OpenCV returns None for an image that it cannot read: check the path or the source."
    if isinstance(frame, tuple) and isinstance(next(iter(frame), None), bool):
        return "OpenCV's VideoCapture.read returns (ok, frame): pass the frame."
    with suppress(Exception):  # a property may raise what it likes
        if hasattr(frame, "is_floating_point"):  # PyTorch
            moved = ".permute(1, 2, 0)" if frame.shape[-3] in (1, 3, 4) else ""
            scaled = ".mul(255).round().byte()" if frame.is_floating_point() else ""
            example = "frame[0]" if frame.ndim == 4 else "frame"
            array = f"{example}{moved}{scaled}.numpy(force=True)"
            return f'Pass {array}, and color="rgb" if its channels are red, green, blue.'
        return next(hint for attribute, hint in _HINTS.items() if hasattr(frame, attribute))
    return "Pass one of these."


def check_frames(frames: Any) -> None:
    """Raises FrameTypeError for a single frame, and for anything else that is not an iterable of frames."""
    single = (
        isinstance(frames, (str, bytes, bytearray, memoryview, os.PathLike))
        or getattr(frames, "ndim", 4) != 4
    )
    none = frames is None or hasattr(frames, "read")  # a file has lines
    # such as a PIL image
    if single or none or not (hasattr(frames, "__iter__") or hasattr(frames, "__getitem__")):
        raise errors.FrameTypeError(
            "frames",
            "an iterable of frames",
            f"one {type(frames).__name__}",
            type_hint(frames) if none else "Pass [frame], or call predict.",
        )


def color_of(order: Order) -> Color:
    """The ``color`` of an array in this order: its shape tells whether it is grey, or has alpha."""
    return "rgb" if order == "rgba" else "bgr" if order in ("gray", "bgra") else cast(Color, order)


def check_color(color: str) -> None:
    """Raises OptionError for an unknown channel order."""
    errors.check_choice("color", color, COLORS, "color is the channel order.")


def _from_array(frame: NDArray[Any], color: Color) -> Frame:
    if frame.dtype != np.uint8:
        _reject_dtype(frame)
    if frame.ndim == 3 and frame.shape[2] == 1 and not yuv.is_yuv(color):
        frame = frame[:, :, 0]
    shape = frame.shape
    if 0 in shape:
        hint = "Check how the frame was read or cropped."
        raise _invalid(errors.EmptyFrameError, "at least one pixel", f"shape {shape}", hint)
    if yuv.is_yuv(color):
        yuv.check_shape("frame", shape, color)
        return Frame(frame, color)
    if frame.ndim == 2:
        return Frame(frame, "gray")
    if frame.ndim == 3 and shape[2] == 3:
        return Frame(frame, color)
    if frame.ndim == 3 and shape[2] == 4:
        return Frame(frame, "rgba" if color == "rgb" else "bgra")
    channels_first = frame.ndim == 3 and shape[0] in (1, 3, 4)
    hint = (
        "Move the channels last: frame.transpose(1, 2, 0)."
        if channels_first
        else "Pass one frame at a time."
    )
    raise _invalid(errors.FrameShapeError, _LAYOUTS, f"shape {shape}", hint)


def _from_planes(planes: tuple[Any, ...], color: Color) -> Frame:
    for plane in planes:
        if not isinstance(plane, np.ndarray):
            raise _invalid(
                errors.FrameTypeError,
                "NumPy arrays as planes",
                type(plane).__name__,
                type_hint(plane),
            )
        if plane.dtype != np.uint8:
            _reject_dtype(plane)
        if 0 in plane.shape:
            hint = "Check how the frame was read or cropped."
            raise _invalid(
                errors.EmptyFrameError,
                "at least one pixel",
                f"a plane of shape {plane.shape}",
                hint,
            )
    yuv.check_planes("frame", [plane.shape for plane in planes], color)
    return Frame(planes[0], color, chroma=planes[1:])


def _reject_dtype(frame: NDArray[Any]) -> None:
    floating = np.issubdtype(frame.dtype, np.floating)
    if floating and not np.isfinite(frame).all():
        hint = "Check how the frame was computed."
        raise _invalid(errors.FrameValueError, "8-bit pixel values", "NaN or infinite values", hint)
    hint = "Convert it to 8-bit values (0..255) first."
    if floating:
        hint = "Scale it to 0..255 and convert it: (frame * 255).round().astype(numpy.uint8)."
    raise _invalid(errors.FrameDtypeError, "dtype uint8", f"dtype {frame.dtype}", hint)


def _invalid(
    kind: type[errors.FrameError], expected: str, got: str, hint: str
) -> errors.FrameError:
    return kind("frame", expected, got, hint)


def _encoded(
    data: bytes, source: str, least_size: tuple[int, int] | None, decode: Decoder
) -> Frame:
    # Where another process decodes, HEIC and AVIF are refused: Pillow would decode them in this one.
    if decode is images.decode and heif.brand(data):
        return _from_pil(heif.open_image(data, source), source)
    image = decode(data, source, least_size)
    return Frame(image.pixels, "bgr", image.full_size)


def _is_pil(frame: Any) -> bool:
    # Does not import PIL: a caller with a PIL image has imported it.
    return any(
        base.__module__ == "PIL.Image" and base.__name__ == "Image" for base in type(frame).__mro__
    )


def _from_pil(image: Image, source: str) -> Frame:
    from PIL import ImageOps

    check_pixels(image.height, image.width, source)
    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):
            # PIL would clip these; OpenCV, which reads the same file from a path, keeps the upper 8 bits.
            return Frame((np.asarray(upright) >> 8).astype(np.uint8), "gray")
        order: Order = "gray" if upright.mode == "L" else "rgb"
        pixels = np.asarray(upright if order == "gray" else upright.convert("RGB"))
    except Exception as error:  # Pillow decodes it here, and raises many classes for damaged data
        got = str(error) or type(error).__name__
        hint = "Copy or download it again."
        raise errors.ImageDecodeError(source, "an image that Pillow can load", got, hint) from None
    if 0 in pixels.shape:
        hint = "Check how the image was cropped."
        raise errors.EmptyFrameError(source, "at least one pixel", f"size {image.size}", hint)
    return Frame(pixels, order)
