"""Whatever a user calls a frame becomes one uint8 array whose layout is known; all input checks stand here."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from . import errors, jpeg, yuv

if TYPE_CHECKING:
    from PIL.Image import Image

FrameLike: TypeAlias = "NDArray[np.uint8] | str | os.PathLike[str] | bytes | bytearray | memoryview | Image"
"""What :func:`load_frame` takes."""

COLORS = ("bgr", "rgb", *yuv.ORDERS)
_LAYOUTS = "uint8 of shape (height, width, 3), (height, width, 4) or (height, width)"


class Frame(NamedTuple):
    """Pixels and how to read them. ``order`` is one of ``bgr rgb gray bgra rgba`` and those of :mod:`pvlr_sdk.yuv`;
    ``full_size`` is the picture's size before it was decoded at a reduced one."""

    pixels: NDArray[np.uint8]
    order: str
    full_size: tuple[int, int] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the picture in pixels."""
        if self.full_size:
            return self.full_size
        height, width = self.pixels.shape[:2]
        return (height * 2 // 3, width) if yuv.is_yuv(self.order) else (height, width)


def load_frame(frame: FrameLike, color: str = "bgr", least_size: tuple[int, int] | None = None) -> Frame:
    """Decode or check a frame; arrays are passed on without a copy.

    Args:
        frame: a uint8 array of any strides, (H, W, 3), (H, W, 4; alpha is ignored), (H, W) grey, or
            (H * 3 / 2, W) with a YUV ``color``; the path of a picture; the bytes of an encoded picture; a PIL image.
            The EXIF orientation of paths, bytes and PIL images is honoured.
        color: the channel order of an array: ``bgr`` (as OpenCV gives), ``rgb``, ``nv12`` or ``i420``, the latter two
            perhaps with ``-bt709`` and ``-full`` (:mod:`pvlr_sdk.yuv`). Ignored for the rest.
        least_size: decode a JPEG at 1/2, 1/4 or 1/8 of its size if that leaves at least this height and width; None:
            always at full size.

    Raises:
        OptionError: ``color`` is none of these.
        FrameTypeError, FrameDtypeError, FrameShapeError, EmptyFrameError, FrameValueError: the array is unfit.
        ImageNotFoundError: nothing can be read at the path.
        ImageDecodeError: the file or the bytes are no complete picture.
    """
    check_color(color)
    if isinstance(frame, np.ndarray):
        return _from_array(frame, color)
    if isinstance(frame, (str, os.PathLike)):
        return _decode(_read(frame), f"frame {os.fspath(frame)!r}", least_size)
    if isinstance(frame, (bytes, bytearray, memoryview)):
        return _decode(bytes(frame), "frame", least_size)
    if _is_pil(frame):
        return _from_pil(frame)
    raise errors.FrameTypeError(
        "frame",
        expected="a NumPy array, a path, encoded bytes or a PIL image",
        got=type(frame).__name__,
        hint="Convert it first, for example with numpy.asarray(...).",
    )


def check_color(color: str) -> None:
    """Raises OptionError for an unknown channel order."""
    if color not in COLORS:
        raise errors.OptionError(
            "color", expected=f"one of {', '.join(COLORS)}", got=repr(color), hint="Say how the channels are stored."
        )


def load_bgr(frame: FrameLike, color: str = "bgr") -> NDArray[np.uint8]:
    """A frame as uint8 (H, W, 3) BGR; takes and raises what :func:`load_frame` does."""
    import cv2

    pixels, order, _ = load_frame(frame, color)
    if order == "bgr":
        return pixels
    conversions = {
        "rgb": cv2.COLOR_RGB2BGR,
        "gray": cv2.COLOR_GRAY2BGR,
        "bgra": cv2.COLOR_BGRA2BGR,
        "rgba": cv2.COLOR_RGBA2BGR,
        "nv12": cv2.COLOR_YUV2BGR_NV12,
        "i420": cv2.COLOR_YUV2BGR_I420,
    }
    if order not in conversions:
        return _yuv_to_bgr(pixels, order)
    bgr: NDArray[np.uint8] = cv2.cvtColor(np.ascontiguousarray(pixels), conversions[order])
    return bgr


def _yuv_to_bgr(pixels: NDArray[np.uint8], order: str) -> NDArray[np.uint8]:
    """What OpenCV has no conversion for: the core's, at the picture's own size."""
    from .manifest import InputSpec
    from .preprocess import Preprocessor, picture_size

    height, width = picture_size(pixels, order)
    spec = InputSpec(width=width, height=height, mean=(0, 0, 0), std=(1, 1, 1))
    return np.ascontiguousarray(Preprocessor(spec)(pixels, order).round().astype(np.uint8)[::-1].transpose(1, 2, 0))


def _from_array(frame: NDArray[Any], color: str) -> Frame:
    if frame.dtype != np.uint8:
        _reject_dtype(frame)
    if frame.ndim == 3 and frame.shape[2] == 1 and not yuv.is_yuv(color):
        frame = frame[:, :, 0]
    shape = frame.shape
    if 0 in shape:
        raise errors.EmptyFrameError(
            "frame", expected="at least one pixel", got=f"shape {shape}", hint="Check how it was read or cropped."
        )
    if yuv.is_yuv(color):
        if frame.ndim != 2 or shape[0] % 3 or shape[1] % 2:
            raise errors.FrameShapeError(
                "frame",
                expected=f"(height * 3 / 2, width) with even height and width for {color}",
                got=str(shape),
                hint="Pass the luma rows followed by the chroma rows.",
            )
        return Frame(frame, color)
    if frame.ndim == 2:
        return Frame(frame, "gray")
    if frame.ndim == 3 and shape[2] == 3:
        return Frame(frame, color)
    if frame.ndim == 3 and shape[2] == 4:
        return Frame(frame, color + "a")
    channels_first = frame.ndim == 3 and shape[0] in (1, 3, 4)
    raise errors.FrameShapeError(
        "frame",
        expected=_LAYOUTS,
        got=f"shape {shape}",
        hint="Move the channels last: frame.transpose(1, 2, 0)." if channels_first else "Pass one frame at a time.",
    )


def _reject_dtype(frame: NDArray[Any]) -> None:
    floating = np.issubdtype(frame.dtype, np.floating)
    if floating and not np.isfinite(frame).all():
        raise errors.FrameValueError(
            "frame", expected="8-bit pixel values", got="NaN or infinite values", hint="Check where it was computed."
        )
    raise errors.FrameDtypeError(
        "frame",
        expected="dtype uint8",
        got=f"dtype {frame.dtype}",
        hint="Scale it to 0..255 and convert it: (frame * 255).round().astype(numpy.uint8)."
        if floating
        else "Convert it to 8-bit values (0..255) first.",
    )


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise errors.ImageNotFoundError(
            f"frame {os.fspath(path)!r}",
            expected="the path of a picture",
            got=getattr(error, "strerror", None) or str(error),
            hint="Check the path and its permissions.",
        ) from None


def _decode(data: bytes, source: str, least_size: tuple[int, int] | None) -> Frame:
    """Encoded bytes to BGR, upright."""
    import cv2

    if not data:
        raise errors.EmptyFrameError(source, expected="an encoded picture", got="no bytes", hint="The file is empty.")
    if _ends_early(data):
        raise errors.ImageDecodeError(
            source, expected="a complete picture", got="one that ends early", hint="Copy or download it again."
        )
    factor = jpeg.reduction(data, least_size) if least_size and jpeg.is_jpeg(data) else 1
    flags = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags[factor])
    except cv2.error as error:  # for example more pixels than OpenCV allows
        reason = str(error).strip().splitlines()[-1]
        decoded = None
    else:
        reason = f"{len(data)} bytes that are none, or a damaged one"
    if decoded is None:
        raise errors.ImageDecodeError(
            source,
            expected="a picture (JPEG, PNG, WebP, BMP, TIFF, ...)",
            got=reason,
            hint="Open it with a picture viewer; if that works, save it again as JPEG or PNG.",
        )
    return Frame(decoded, "bgr", _full_size(data, decoded.shape[:2]) if factor > 1 else None)


def _full_size(data: bytes, decoded: tuple[int, ...]) -> tuple[int, int] | None:
    """Height and width of a JPEG as it would be at full size, turned as the decoded one."""
    stored = jpeg.size(data)
    if stored is None or (stored[0] > stored[1]) == (decoded[0] > decoded[1]):
        return stored
    return stored[::-1]


def _ends_early(data: bytes) -> bool:
    """Whether a JPEG or PNG was cut off; some versions of OpenCV fill the missing rows with grey and say nothing."""
    if jpeg.is_jpeg(data):
        return not jpeg.is_complete(data)
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return b"IEND" not in data[-64:] and b"IEND" not in data
    return False


def _is_pil(frame: Any) -> bool:
    # Without importing PIL: if the user has one of its images, it is loaded already.
    return any(base.__module__ == "PIL.Image" and base.__name__ == "Image" for base in type(frame).__mro__)


def _from_pil(image: Image) -> Frame:
    from PIL import ImageOps

    try:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):
            # PIL would clip these; OpenCV, which reads the same file as a path, keeps the upper 8 bits.
            return Frame((np.asarray(upright) >> 8).astype(np.uint8), "gray")
        if upright.mode == "L":
            pixels, order = np.asarray(upright), "gray"
        else:
            pixels, order = np.asarray(upright.convert("RGB")), "rgb"
    except (OSError, ValueError, SyntaxError) as error:
        raise errors.ImageDecodeError(
            "frame", expected="a PIL image that can be loaded", got=str(error), hint="Copy or download it again."
        ) from None
    if 0 in pixels.shape:
        raise errors.EmptyFrameError(
            "frame", expected="at least one pixel", got=f"size {image.size}", hint="Check how it was cropped."
        )
    return Frame(pixels, order)
