"""An uploaded picture: read within bounds of bytes and time, decoded within a bound of pixels."""

from __future__ import annotations

import io
from typing import NoReturn

import anyio
from starlette.requests import Request

from .. import errors
from ..frames import Frame, load_frame
from .problems import ProblemError

MEDIA_TYPES = ("image/jpeg", "image/png", "image/webp")
_ANY = "application/octet-stream"
_FORMATS = ("JPEG", "PNG", "WEBP")
_MOST_SCANS = 100
"""Of a progressive JPEG, which has about ten. Each costs a pass over all pixels, however few bytes it has."""


async def read_upload(request: Request, most_bytes: int, seconds: float) -> bytes:
    """The body of a request.

    Raises:
        ProblemError: it is no picture by its type, or it did not arrive in time.
        ImageSizeError: it is too long.
        ClientDisconnect: whoever sent it has left.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in (*MEDIA_TYPES, _ANY):
        raise ProblemError(
            415, f"Send Content-Type: {', '.join(MEDIA_TYPES)} or {_ANY}.", Accept=", ".join(MEDIA_TYPES)
        )
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > most_bytes):
        _too_long(most_bytes, declared[:18])
    body = bytearray()
    with anyio.move_on_after(seconds) as limit:
        async for chunk in request.stream():
            body += chunk
            if len(body) > most_bytes:
                _too_long(most_bytes, "more")
    if limit.cancelled_caught:
        raise ProblemError(408, f"The picture did not arrive within {seconds:g} s.", Connection="close")
    return bytes(body)


def decode_upload(data: bytes, most_pixels: int) -> Frame:
    """An encoded picture as pixels, upright: those that OpenCV gives for the same JPEG or PNG.

    The size is read before anything is decoded, and by the library that decodes, so that nothing can tell two sizes.

    Raises:
        EmptyFrameError, ImageSizeError, ImageDecodeError: no bytes, too many pixels, or no picture.
    """
    from PIL import Image

    if not data:
        raise errors.EmptyFrameError("picture", expected="an encoded picture", got="no bytes", hint="Send a file.")
    if data.startswith(b"\xff\xd8") and data.count(b"\xff\xda") > _MOST_SCANS:
        raise _undecodable(f"more than {_MOST_SCANS} scans")
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        if image.width * image.height > most_pixels:
            _too_many_pixels(most_pixels, f"{image.width} x {image.height}")
        return load_frame(image)
    except Image.DecompressionBombError:
        _too_many_pixels(most_pixels, "far more")
    except errors.PvlrError:
        raise
    except Exception as error:  # a decoder may raise anything when it is fed with anything
        raise _undecodable(f"{len(data)} bytes that are none, or a damaged one ({type(error).__name__})") from None


def _too_long(most: int, got: str) -> NoReturn:
    raise errors.ImageSizeError("picture", expected=f"at most {most} bytes", got=got, hint="Send a smaller one.")


def _too_many_pixels(most: int, got: str) -> NoReturn:
    raise errors.ImageSizeError("picture", expected=f"at most {most} pixels", got=got, hint="Make it smaller first.")


def _undecodable(got: str) -> errors.ImageDecodeError:
    return errors.ImageDecodeError(
        "picture", expected="a complete JPEG, PNG or WebP picture", got=got, hint="Save it again, or convert it."
    )
