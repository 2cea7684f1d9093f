"""The one reader of encoded images: limits and the header are checked before a decoder sees any byte."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .._util.files import read_file
from . import heif, jpeg, limits, png
from .header import FORMATS, ImageHeader, read_header

_MAX_SCANS = 100
"""Limit for a progressive JPEG, which usually has ten. Each scan costs a pass over all pixels, even with few bytes."""
_MAX_REDUCED = 4
"""A baseline JPEG may have this many times the limit of pixels: it is decoded row by row, at a reduced size."""


class DecodedImage(NamedTuple):
    """``pixels`` are uint8 (H, W, 3) BGR, upright; ``full_size`` is the image's height and width where it was decoded
    at a reduced size."""

    pixels: NDArray[np.uint8]
    full_size: tuple[int, int] | None = None


_LONGEST_PATH = 500
"""Characters of a path in messages; a longer text, such as an image in base64, is shortened."""
URL = re.compile(r"data:|[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
"""The start of a URL, also after pathlib has removed a slash."""

PixelsOrReason: TypeAlias = tuple["NDArray[np.uint8] | None", str]


def read(path: str | os.PathLike[str]) -> bytes:
    """The bytes of an image's file.

    Raises:
        ImageNotFoundError: it cannot be read, or is not a regular file.
        ImageSizeError: it has more than :data:`.limits.MAX_BYTES` bytes, or there is too little memory for it.
    """
    source = f"frame {os.fspath(path)!r}"
    try:
        return read_file(path, limits.MAX_BYTES)
    except (OSError, ValueError, MemoryError) as error:  # ValueError: a zero byte in the name
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.EFBIG:
            raise errors.ImageSizeError(
                source,
                f"at most {limits.MAX_BYTES} bytes, for which there is memory",
                "more",
                "Save it as JPEG or PNG, or raise pvlr_sdk.frames.limits.MAX_BYTES.",
            ) from None
        got = getattr(error, "strerror", None) or str(error)
        name, got, hint = refused_path(
            os.fsdecode(path), got, "Check the path and its permissions."
        )
        raise errors.ImageNotFoundError(
            f"frame {name!r}", "the path of an image", got, hint
        ) from None


def refused_path(path: str, got: str, hint: str) -> tuple[str, str, str]:
    """A path that cannot be read, as messages show it, what it is, and the hint: ``got`` and ``hint`` unless a URL."""
    if url := URL.match(path):
        hints = {
            "data:": "Pass the bytes: base64.b64decode(...).",
            "file:/": "Pass the path without file://.",
        }
        hint = hints.get(
            url[0].lower(), "Download it first; pvlr watch and open_source read streams."
        )
        # no password, no signature
        path = re.sub(r"(?<=:/)(/?)[^/@]*@", r"\1", path).partition("?")[0]
        got = "a URL"
    return path if len(path) <= _LONGEST_PATH else f"{path[:80]}...", got, hint


def decode(
    data: bytes,
    source: str = "frame",
    least_size: tuple[int, int] | None = None,
    max_pixels: int | None = None,
    formats: tuple[str, ...] = FORMATS,
    pixels_of: Callable[[bytes, int, int], PixelsOrReason] | None = None,
) -> DecodedImage:
    """Decode an image.

    Without ``max_pixels``, a baseline JPEG of up to four times as many pixels as allowed is decoded at 1/2 of its size.

    Args:
        data: the encoded image.
        source: its name in errors.
        least_size: decode a JPEG at 1/2, 1/4 or 1/8 of its size if that leaves at least this height and width; None:
            at full size.
        max_pixels: limit of the decoded pixels; None: :data:`.limits.MAX_PIXELS`.
        formats: the accepted formats, of :data:`.header.FORMATS`.
        pixels_of: replaces :func:`decode_pixels`, the only step that runs a decoder.

    Raises:
        EmptyFrameError: there are no bytes.
        ImageSizeError: it has more pixels than allowed.
        ImageDecodeError: it is not a complete image in one of the formats, or there is too little memory for it.
    """
    if not data:
        raise errors.EmptyFrameError(source, "an encoded image", "no bytes", "Check its origin.")
    if heif.brand(data):
        raise errors.ImageDecodeError(
            source,
            f"an image ({', '.join(formats)})",
            "HEIC or AVIF, which uploads and isolated processes cannot contain",
            "Save it as JPEG or PNG, or tag a file that you trust without isolation.",
        )
    header = read_header(data)
    if header is None or header.format not in formats or not header.height * header.width:
        raise _undecodable(source, f"{len(data)} bytes in another format, or damaged", formats)
    factor = _reduction(data, header, least_size, source, max_pixels)
    complete = _complete(data, header.format)
    if complete is None:
        raise errors.ImageDecodeError(
            source, "a complete image", "a truncated one", "Copy or download it again."
        )
    count = -(-header.height // factor) * -(-header.width // factor)
    try:
        pixels, reason = (pixels_of or decode_pixels)(complete, factor, count)
    except (MemoryError, RecursionError) as error:
        pixels = None
        reason = f"{header.width} x {header.height} pixels and a {type(error).__name__}"
    if pixels is None:
        raise _undecodable(source, reason, formats)
    return DecodedImage(pixels, _full_size(header, pixels) if factor > 1 else None)


def _reduction(
    data: bytes,
    header: ImageHeader,
    least_size: tuple[int, int] | None,
    source: str,
    max_pixels: int | None,
) -> int:
    """The factor to decode at, after the check of the limits."""
    most = limits.MAX_PIXELS if max_pixels is None else max_pixels
    if header.format != "jpeg":
        hint = f"A baseline JPEG may have {_MAX_REDUCED} times as many: it is decoded at half its size."
        limits.check_pixels(header.height, header.width, source, most, None if max_pixels else hint)
        return 1
    if data.count(b"\xff\xda") > _MAX_SCANS:
        raise _undecodable(source, f"more than {_MAX_SCANS} scans", ("jpeg",))
    reducible = max_pixels is None and jpeg.is_streamed(data)
    limits.check_pixels(
        header.height, header.width, source, most * (_MAX_REDUCED if reducible else 1)
    )
    wanted = jpeg.reduction(data, least_size) if least_size else 1
    return max(wanted, 2) if header.height * header.width > most else wanted


def _complete(data: bytes, kind: str) -> bytes | None:
    """What to decode, or None for a truncated JPEG or PNG: some versions of OpenCV fill the missing rows with grey."""
    if kind == "jpeg":
        return data if jpeg.is_complete(data) else None
    return png.still_image(data) if kind == "png" else data


def decode_pixels(data: bytes, factor: int, count: int) -> PixelsOrReason:
    """Decode a complete image of at most ``count`` pixels, a JPEG at ``1 / factor`` of its size.

    Returns:
        uint8 (H, W, 3) BGR, or None and the reason why there are no pixels.
    """
    import cv2

    flags = {
        1: cv2.IMREAD_COLOR,
        2: cv2.IMREAD_REDUCED_COLOR_2,
        4: cv2.IMREAD_REDUCED_COLOR_4,
        8: cv2.IMREAD_REDUCED_COLOR_8,
    }
    try:
        pixels: NDArray[np.uint8] | None = cv2.imdecode(
            np.frombuffer(data, np.uint8), flags[factor]
        )
    except cv2.error as error:
        return None, str(error).strip().splitlines()[-1]
    if pixels is not None and pixels.size > 3 * count:
        return None, "more pixels than its header states"
    return (
        pixels,
        f"{len(data)} bytes that are damaged, or of an unusual kind such as 32-bit samples",
    )


def _full_size(header: ImageHeader, pixels: NDArray[np.uint8]) -> tuple[int, int]:
    """Height and width at full size, in the orientation of the pixels."""
    height, width = pixels.shape[:2]
    turned = (header.height > header.width) != (height > width)
    return (header.width, header.height) if turned else (header.height, header.width)


def _undecodable(source: str, got: str, formats: tuple[str, ...]) -> errors.ImageDecodeError:
    return errors.ImageDecodeError(
        source,
        f"an image ({', '.join(formats)})",
        got,
        "Open it in an image viewer; if that works, save it as JPEG or PNG.",
    )
