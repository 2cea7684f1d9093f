"""Limits for images and camera frames from outside, checked before anything is decoded."""

from __future__ import annotations

from .. import errors

MAX_BYTES = 512 * 2**20
"""Most bytes of an encoded image. A program may assign another value to ``pvlr_sdk.frames.limits.MAX_BYTES``."""

MAX_PIXELS = 100_000_000
"""Most decoded pixels of an image or a frame: 300 MB as BGR. A program may assign another value to
``pvlr_sdk.frames.limits.MAX_PIXELS``."""


def check_pixels(
    height: int, width: int, source: str, max_pixels: int | None = None, hint: str | None = None
) -> None:
    """Check the size that a header states, or that a decoder reports, before memory is allocated for the pixels.

    Args:
        height, width: in pixels.
        source: name of the image, frame or camera in the error.
        max_pixels: None: :data:`MAX_PIXELS`.
        hint: of the error; None: to use a smaller image.

    Raises:
        ImageSizeError: there are more pixels than allowed.
    """
    most = MAX_PIXELS if max_pixels is None else max_pixels
    if height * width > most:
        raise errors.ImageSizeError(
            source,
            f"at most {most} pixels",
            f"{width} x {height}",
            hint or "Use a smaller image; docs/isolation.md describes the limits.",
        )
