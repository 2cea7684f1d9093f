"""Loads images for a batch: local files, encoded bytes, URLs of any store that fsspec knows, HEIC and AVIF."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote, urlsplit

import fsspec.core

from .. import errors
from ..frames import images, limits
from ..frames.frames import FrameLike
from ..inference.overlap import overlapped

Image: TypeAlias = "str | bytes | errors.FrameError | None"
"""A path or URL, encoded bytes, why there are none, or null."""

HEIF = frozenset({".heic", ".heif", ".avif"})
_BRANDS = {b"heic": "heif", b"heix": "heif", b"mif1": "heif", b"hevc": "heif", b"msf1": "heif", b"avif": "avif"}
_CHUNK = 16
"""URLs requested at once by each of two threads."""


def load(found: Iterable[Image], *, heif: bool = True) -> Iterator[FrameLike | errors.FrameError]:
    """Yield what ``Tagger.predict`` accepts, or an error, for each image. Reads ahead, in bounded memory.

    Args:
        found: paths, URLs and bytes.
        heif: decode HEIC and AVIF too, in this process.
    """
    everything = iter(found)
    chunks = iter(lambda: list(islice(everything, _CHUNK)), [])
    for frames in overlapped(lambda many: [_load(chunk, heif) for chunk in many], chunks, workers=2):
        yield from frames


def open_filesystem(url: str) -> tuple[Any, str]:
    """The file system of a path or URL, and its path there. Listings are not cached: memory stays bounded.

    Raises:
        SourceOpenError: the scheme is unknown, or its package (``s3fs`` for ``s3://``) is not installed.
    """
    try:
        return fsspec.core.url_to_fs(url, use_listings_cache=False)
    except (ValueError, ImportError, OSError) as error:
        hint = "Check the address; fsspec needs a package for most stores, for example s3fs for s3://."
        raise errors.SourceOpenError(url, expected="a path or URL", got=str(error), hint=hint) from None


def local_path(address: str) -> str | None:
    """The path of a local file; None for a URL of another store."""
    if address.startswith("file://"):
        return unquote(urlsplit(address).path)
    return None if "://" in address else address


def _load(chunk: Sequence[Image], heif: bool) -> list[FrameLike | errors.FrameError]:
    remote = {image for image in chunk if isinstance(image, str) and local_path(image) is None}
    fetched = _fetch(remote)
    return [_frame(fetched.get(image, image) if isinstance(image, str) else image, heif) for image in chunk]


def _fetch(urls: Iterable[str]) -> dict[str, Image]:
    """The contents of remote files; those of one store are requested together. The store's client retries."""
    found: dict[str, Image] = {}
    stores: defaultdict[Any, list[tuple[str, str]]] = defaultdict(list)
    for url in urls:
        try:
            store, path = open_filesystem(url)
            stores[store].append((url, path))
        except errors.SourceOpenError as error:
            found[url] = _unreadable(url, error.got)
    for store, files in stores.items():
        paths = [path for _, path in files]
        # A range: a file above the limit is not read to its end.
        ends = [limits.MAX_BYTES + 1] * len(paths)
        contents = store.cat_ranges(paths, [0] * len(paths), ends, on_error="return")
        for (url, _), data in zip(files, contents, strict=True):
            found[url] = data if isinstance(data, bytes) else _unreadable(url, str(data) or type(data).__name__)
    return found


def _frame(image: Image, heif: bool) -> FrameLike | errors.FrameError:
    if image is None:
        hint = "Fill the column, or leave the row out."
        return errors.FrameTypeError("image", expected="a path, a URL or encoded bytes", got="null", hint=hint)
    if isinstance(image, errors.FrameError):
        return image
    try:
        if isinstance(image, str):
            path = Path(local_path(image) or "")
            if path.suffix.lower() not in HEIF:
                return path
            image = images.read(path)
        if len(image) > limits.MAX_BYTES:
            expected, hint = f"at most {limits.MAX_BYTES} bytes", "Save it as JPEG or PNG."
            raise errors.ImageSizeError("image", expected=expected, got="more", hint=hint)
        brand = _BRANDS.get(image[8:12]) if image[4:8] == b"ftyp" else None
        return _open_heif(image, brand) if brand and heif else image
    except errors.FrameError as error:
        return error


def _open_heif(data: bytes, brand: str) -> FrameLike:
    """A PIL image that is decoded when it is tagged."""
    try:
        from PIL import Image as Pillow

        if brand == "heif":
            import pi_heif

            pi_heif.register_heif_opener()
    except ImportError as error:
        raise errors.ImageDecodeError(
            "image", expected="a package for HEIC and AVIF", got=str(error), hint=errors.install_hint("heif")
        ) from None
    try:
        return Pillow.open(io.BytesIO(data))
    except Exception as error:  # of several packages
        hint = "Open it in an image viewer; if that works, save it as JPEG or PNG."
        raise errors.ImageDecodeError("image", expected="a HEIC or AVIF image", got=str(error), hint=hint) from None


def _unreadable(url: str, got: str) -> errors.ImageNotFoundError:
    hint = "Check the address and your rights; --retry-failed tries again."
    return errors.ImageNotFoundError(url, expected="a readable image", got=got, hint=hint)
