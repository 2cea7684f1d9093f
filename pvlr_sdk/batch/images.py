"""Loads images for a batch: local files, encoded bytes, URLs of any store that fsspec knows."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias, cast
from urllib.parse import unquote, urlsplit

import fsspec.core
from fsspec.asyn import sync

from .. import errors
from .._util.deadline import within
from ..frames import limits
from ..frames.frames import FrameLike
from ..inference.overlap import overlapped

Image: TypeAlias = "str | bytes | errors.FrameError | None"
"""A path or URL, encoded bytes, why there are none, or null."""
Loaded: TypeAlias = "tuple[FrameLike | errors.FrameError, int]"

MAX_TEXT = 8192
"""Characters of an id, name or URL: a file of a kilobyte may have the same megabytes in each row."""
_AT_ONCE = 32
"""Images loaded at the same time, each in a thread: most of the time it waits for a store."""
_SECONDS = 300.0
"""For one URL: connection, head and body."""
_LOCAL = ("", "file", "local")
_NO_ADDRESS = (bytes, errors.FrameError, type(None))
_REMOTE = ("http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hf")


def load(found: Iterable[Image], memory: int) -> Iterator[Loaded]:
    """Yield what ``Tagger.predict`` accepts, or an error, for each image, and the size in bytes of what is encoded.

    Reads ahead, until the images take a half of the memory.

    Args:
        found: paths, URLs and bytes.
        memory: in bytes; an image has at most :func:`largest` of it.
    """
    limit = largest(memory)
    ahead = 0
    # of a file, of which there are less than 128; larger ones are read one at a time
    part = memory // 256

    def weighed() -> Iterator[tuple[int, Image]]:
        nonlocal ahead
        for image in found:
            weight = (
                len(image) if isinstance(image, bytes) else part if isinstance(image, str) else 0
            )
            ahead += weight
            yield weight, image

    def work(images: list[tuple[int, Image]]) -> list[tuple[int, Image, Loaded | None]]:
        return [(weight, image, _load(image, limit, part)) for weight, image in images]

    def full() -> bool:
        return ahead >= memory // 2

    for weight, image, loaded in overlapped(work, weighed(), workers=_AT_ONCE, full=full):
        yield loaded or cast("Loaded", _load(image, limit, limit))
        ahead -= weight


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
        raise errors.SourceOpenError(
            url,
            "a path or URL",
            cause(error),
            "Check the address; fsspec needs a package for most stores, for example s3fs for s3://.",
        ) from None


def local_path(address: str) -> str | None:
    """The path of a local file; None for a URL of another store."""
    scheme = _scheme(address)
    return address if not scheme else unquote(urlsplit(address).path) if scheme in _LOCAL else None


def _scheme(address: str) -> str:
    return address.partition("://")[0].lower() if "://" in address else ""


def of_row(value: object) -> Image:
    """An image from a table, which may come from outside: of the stores, only those that requests go to."""
    scheme = _scheme(value) if isinstance(value, str) and len(value) <= MAX_TEXT else None
    if (
        scheme in _LOCAL
        or (scheme in _REMOTE and "::" not in str(value))
        or isinstance(value, _NO_ADDRESS)
    ):
        return value  # type: ignore[return-value]
    return errors.FrameTypeError(
        "image",
        f"bytes, or a path or URL of at most {MAX_TEXT} characters: file, {', '.join(_REMOTE)}, without ::",
        f"{scheme}://" if scheme else type(value).__name__,
        "Copy the images to such a store.",
    )


def unreadable(url: str, got: str) -> errors.ImageNotFoundError:
    """Why an image cannot be read."""
    return errors.ImageNotFoundError(
        url,
        "a readable image",
        got,
        "Check the address and your rights; --retry-failed tries again.",
    )


def cause(error: object) -> str:
    """The type and the beginning of the text of an error."""
    return f"{type(error).__name__}: {error}"[:500]


def _load(image: Image, limit: int, most: int) -> Loaded | None:
    """The frame of an image, or an error; None for a file with more than ``most`` bytes that has to be read here."""
    try:
        if isinstance(image, errors.FrameError):
            return image, 0
        if image is None:
            raise errors.FrameTypeError(
                "image",
                "a path, a URL or encoded bytes",
                "null",
                "Fill the column, or leave the row out.",
            )
        if not isinstance(image, str):
            _check_size(len(image), limit)
            return image, len(image)
        address = local_path(image)
        if address is not None:
            return _load_file(Path(address), limit)
        data = _fetch(image, most + 1)
        _check_size(len(data), limit)
        return None if len(data) > most else (data, len(data))
    except errors.FrameError as error:
        return error, 0
    except Exception as error:  # of the address, the store or the disk
        return unreadable(image if isinstance(image, str) else "image", cause(error)), 0


def _load_file(path: Path, limit: int) -> Loaded:
    # Where there is no file, the error follows when it is read.
    size = os.path.getsize(path) if os.path.exists(path) else 0
    _check_size(size, limit)
    # in /proc, 0 bytes may be gigabytes
    is_empty = size == 0 and path.is_file()
    return b"" if is_empty else path, size


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise errors.ImageSizeError(
            "image",
            f"at most {limit} bytes",
            "more",
            "Save it as JPEG or PNG; pvlr batch --read-ahead raises a limit below 512 MiB.",
        )


def _fetch(url: str, count: int) -> bytes:
    """The first bytes of a remote file. The store's client retries; most limit only the steps of a request in time."""
    store, path = (_http(), url) if _scheme(url) in ("http", "https") else open_filesystem(url)
    if store.async_impl:
        return cast(
            "bytes", sync(store.loop, store._cat_file, path, start=0, end=count, timeout=_SECONDS)
        )
    return within(_SECONDS, lambda: cast("bytes", store.cat_file(path, 0, count)))


@cache
def _http() -> Any:
    from fsspec.implementations.http import HTTPFileSystem

    class Http(HTTPFileSystem):  # type: ignore[misc]
        """Reads no more than a range, also from a server that ignores it or compresses what it sends."""

        async def _cat_file(self, url: str, start: int = 0, end: int = 0, **_: Any) -> bytes:
            session = await self.set_session()
            data = bytearray()
            headers = {"Range": f"bytes={start}-{end - 1}", "Accept-Encoding": "identity"}
            async with session.get(self.encode_url(url), headers=headers) as response:
                self._raise_not_found_for_status(response, url)
                while len(data) < end - start and (
                    part := await response.content.read(end - start - len(data))
                ):
                    data += part
            return bytes(data)

    return Http(client_kwargs={"auto_decompress": False})
