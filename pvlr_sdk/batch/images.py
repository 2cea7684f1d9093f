"""Loads images for a batch: local files, encoded bytes, URLs of any store that fsspec knows, HEIC and AVIF."""

from __future__ import annotations

import asyncio
import io
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import unquote, urlsplit

import fsspec.core
from fsspec.asyn import sync

from .. import errors
from .._util.deadline import within
from ..frames import images, limits
from ..frames.frames import FrameLike
from ..inference.overlap import overlapped

Image: TypeAlias = "str | bytes | errors.FrameError | None"
"""A path or URL, encoded bytes, why there are none, or null."""
Loaded: TypeAlias = "tuple[FrameLike | errors.FrameError, int]"

HEIF = frozenset({".heic", ".heif", ".avif"})
_BRANDS = {b"heic": "heif", b"heix": "heif", b"mif1": "heif", b"hevc": "heif", b"msf1": "heif", b"avif": "avif"}
_CHUNK = 16
"""URLs requested at once by each of two threads."""
_SECONDS = 300.0
"""For one URL: connection, head and body."""
_LOCAL = ("", "file", "local")
_NO_ADDRESS = (bytes, errors.FrameError, type(None))
_REMOTE = ("http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hf")


def load(found: Iterable[Image], memory: int, *, heif: bool = True) -> Iterator[Loaded]:
    """Yield what ``Tagger.predict`` accepts, or an error, for each image, and the size in bytes of what is encoded.

    Reads ahead, until the images take a half of the memory.

    Args:
        found: paths, URLs and bytes.
        memory: in bytes; an image has at most :func:`largest` of it.
        heif: decode HEIC and AVIF too, in this process.
    """
    limit, ahead = largest(memory), 0
    part = memory // 256  # of a remote file, of which there are less than 128; larger ones are requested one at a time

    def chunks() -> Iterator[tuple[int, list[Image]]]:
        nonlocal ahead
        chunk, size = list[Image](), 0
        for image in found:
            weight = len(image) if isinstance(image, bytes) else part if isinstance(image, str) else 0
            chunk.append(image)
            size, ahead = size + weight, ahead + weight
            if len(chunk) == _CHUNK or full():
                yield size, chunk
                chunk, size = [], 0
        yield size, chunk

    def work(chunks: list[tuple[int, list[Image]]]) -> list[tuple[int, list[Loaded | str]]]:
        return [(size, _load(chunk, heif, limit, part)) for size, chunk in chunks]

    def full() -> bool:
        return ahead >= memory // 2

    for size, frames in overlapped(work, chunks(), workers=2, full=full):
        for frame in frames:
            yield from _load([frame], heif, limit, limit) if isinstance(frame, str) else [frame]  # type: ignore[misc]
        ahead -= size


def largest(memory: int) -> int:
    """Most bytes of an encoded image."""
    return min(limits.MAX_BYTES, memory // 8)


def open_filesystem(url: str) -> tuple[Any, str]:
    """The file system of a path or URL, and its path there. Listings are not cached: memory stays bounded.

    Raises:
        SourceOpenError: the scheme is unknown, or its package (``s3fs`` for ``s3://``) is not installed.
    """
    try:
        return fsspec.core.url_to_fs(url, use_listings_cache=False)
    except Exception as error:  # each store has its own
        hint = "Check the address; fsspec needs a package for most stores, for example s3fs for s3://."
        raise errors.SourceOpenError(url, expected="a path or URL", got=cause(error), hint=hint) from None


def local_path(address: str) -> str | None:
    """The path of a local file; None for a URL of another store."""
    scheme = _scheme(address)
    return address if not scheme else unquote(urlsplit(address).path) if scheme in _LOCAL else None


def _scheme(address: str) -> str:
    return address.partition("://")[0].lower() if "://" in address else ""


def of_row(value: object) -> Image:
    """An image from a table, which may come from outside: of the stores, only those that requests go to."""
    scheme = _scheme(value) if isinstance(value, str) else None
    if scheme in _LOCAL or (scheme in _REMOTE and "::" not in str(value)) or isinstance(value, _NO_ADDRESS):
        return value  # type: ignore[return-value]
    expected = f"a path, encoded bytes, or a URL of file, {', '.join(_REMOTE)}, without ::"
    got, hint = f"{scheme}://" if scheme else type(value).__name__, "Copy the images to such a store."
    return errors.FrameTypeError("image", expected=expected, got=got, hint=hint)


def unreadable(url: str, got: str) -> errors.ImageNotFoundError:
    """Why an image cannot be read."""
    hint = "Check the address and your rights; --retry-failed tries again."
    return errors.ImageNotFoundError(url, expected="a readable image", got=got, hint=hint)


def cause(error: object) -> str:
    """The type and the beginning of the text of an error."""
    return f"{type(error).__name__}: {error}"[:500]


def _load(chunk: Sequence[Image], heif: bool, limit: int, part: int) -> list[Loaded | str]:
    """The frames of a chunk; the URL of a remote file where it has more than ``part`` bytes."""
    fetched = _fetch({image for image in chunk if isinstance(image, str) and _scheme(image) not in _LOCAL}, part)
    loaded: list[Loaded | str] = []
    for image in chunk:
        data = fetched.get(image, image) if isinstance(image, str) else image
        large = isinstance(image, str) and isinstance(data, bytes) and part < limit and len(data) > part
        loaded.append(image if large else _frame(data, heif, limit))  # type: ignore[arg-type]
    return loaded


def _fetch(urls: Iterable[str], most: int) -> dict[str, Image]:
    """The contents of remote files; those of one store are requested together. The store's client retries."""
    found: dict[str, Image] = {}
    stores: defaultdict[Any, list[tuple[str, str]]] = defaultdict(list)
    for url in urls:
        try:
            store, path = (_http(), url) if _scheme(url) in ("http", "https") else open_filesystem(url)
            stores[store].append((url, path))
        except Exception as error:  # each store has its own
            found[url] = unreadable(url, error.got if isinstance(error, errors.SourceOpenError) else cause(error))
    for store, files in stores.items():
        paths = [path for _, path in files]
        try:  # not to its end, if a file is above the limit
            contents = _first_bytes(store, paths, most + 1)
        except Exception as error:
            contents = [error] * len(paths)
        for (url, _), data in zip(files, contents, strict=True):
            found[url] = data if isinstance(data, bytes) else unreadable(url, cause(data))
    return found


def _first_bytes(store: Any, paths: Sequence[str], count: int) -> Sequence[object]:
    """The first bytes of files, or why there are none. Each has its time: most stores limit the steps of a request."""

    async def read(path: str) -> object:
        return await asyncio.wait_for(store._cat_file(path, start=0, end=count), _SECONDS)

    async def read_all() -> Sequence[object]:
        return await asyncio.gather(*map(read, paths), return_exceptions=True)

    if store.async_impl:
        return cast("Sequence[object]", sync(store.loop, read_all))
    return within(_SECONDS, lambda: store.cat_ranges(paths, 0, count, on_error="return"))


@cache
def _http() -> Any:
    from fsspec.implementations.http import HTTPFileSystem

    class Http(HTTPFileSystem):  # type: ignore[misc]
        """Reads no more than a range, also from a server that ignores it or compresses what it sends."""

        async def _cat_file(self, url: str, start: int = 0, end: int = 0, **_: Any) -> bytes:
            session, data = await self.set_session(), bytearray()
            headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
            async with session.get(self.encode_url(url), headers=headers) as response:
                self._raise_not_found_for_status(response, url)
                while len(data) < end - start and (part := await response.content.read(end - start - len(data))):
                    data += part
            return bytes(data)

    return Http(client_kwargs={"auto_decompress": False})


def _frame(image: Image, heif: bool, limit: int) -> Loaded:
    try:
        if image is None:
            hint = "Fill the column, or leave the row out."
            raise errors.FrameTypeError("image", expected="a path, a URL or encoded bytes", got="null", hint=hint)
        if isinstance(image, errors.FrameError):
            return image, 0
        path = Path(local_path(image) or "") if isinstance(image, str) else None
        # Where there is no file, the error follows when it is read.
        size = len(image) if path is None else os.path.getsize(path) if os.path.exists(path) else 0
        if size > limit:
            expected, hint = f"at most {limit} bytes", "Save it as JPEG or PNG; --memory raises a limit below 512 MiB."
            raise errors.ImageSizeError("image", expected=expected, got="more", hint=hint)
        if path is not None and path.suffix.lower() not in HEIF:
            return path, size
        data: bytes = image if path is None else images.read(path)  # type: ignore[assignment]
        brand = _BRANDS.get(data[8:12]) if data[4:8] == b"ftyp" else None
        return _open_heif(data, brand) if brand and heif else data, size
    except errors.FrameError as error:
        return error, 0
    except Exception as error:  # of the address or the disk
        return unreadable(str(image), cause(error)), 0


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
