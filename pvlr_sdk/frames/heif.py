"""HEIC and AVIF, which are decoded in this process, with the packages of the extra ``[heif]``."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from .. import errors

if TYPE_CHECKING:
    from PIL.Image import Image

EXTENSIONS = frozenset({".heic", ".heif", ".avif"})
_BRANDS = {
    b"heic": "heif",
    b"heix": "heif",
    b"mif1": "heif",
    b"hevc": "heif",
    b"msf1": "heif",
    b"avif": "avif",
}


def brand(data: bytes) -> str | None:
    """``heif`` or ``avif`` for the bytes of such an image; None for another format."""
    return _BRANDS.get(data[8:12]) if data[4:8] == b"ftyp" else None


def open_image(data: bytes, source: str) -> Image:
    """A PIL image, which is decoded when its pixels are read.

    Args:
        data: bytes that :func:`brand` knows.
        source: the name of the image in errors.

    Raises:
        ImageDecodeError: the package that decodes it is not installed, or the image is damaged.
    """
    try:
        from PIL import Image as Pillow

        formats = ["AVIF"]  # no others: for an EPS Pillow runs Ghostscript
        if brand(data) == "heif":
            import pi_heif

            pi_heif.register_heif_opener()
            formats = ["HEIF", "AVIF"]
    except ImportError as error:
        raise errors.ImageDecodeError(
            source, "a package for HEIC and AVIF", str(error), errors.install_hint("heif")
        ) from None
    try:
        return Pillow.open(io.BytesIO(data), formats=formats)
    except Exception as error:  # of several packages
        raise errors.ImageDecodeError(
            source,
            "a HEIC or AVIF image",
            str(error),
            "Open it in an image viewer; if that works, save it as JPEG or PNG.",
        ) from None
