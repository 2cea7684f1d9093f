"""Finds the shards of an input, one folder at a time, and reads their images."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from hashlib import blake2b
from pathlib import PurePosixPath
from stat import S_ISREG
from typing import Any, Literal
from zlib import crc32

from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import glob_translate

from .. import errors
from ..frames.find import IMAGES, VIDEOS
from .archive import read_members
from .columns import Columns
from .images import Image, cause, largest, open_filesystem
from .pages import Pages

_TARS = (".tar", ".tar.gz", ".tgz")
_BUFFER = 2**20
"""Bytes of a Parquet file read at once."""
_MAX_LIST = 10_000
"""Columns and row groups of a Parquet file: 12,300 columns in each other overflow the stack of pyarrow."""


@dataclass(frozen=True)
class Shard:
    """A part of the input whose results are one file: some images of a folder, a Parquet file, a tar or a video.

    Attributes:
        group: identifies the folder or file, in hex.
        key: identifies what is in the shard (names, sizes and times of modification), in hex.
        source: the folder or file.
        kind: how to read it.
        images: paths or URLs, of a folder's images or of the video.
    """

    group: str
    key: str
    source: str
    kind: Literal["images", "parquet", "tar", "video"]
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class Input:
    """An input: a folder (searched recursively), a pattern, a Parquet file or a tar; a path, or a URL for fsspec.

    Args:
        source: the path or URL. Hidden files, and names that begin with an underscore, are left out.
        exclude: patterns of paths or names to leave out, as of :func:`fnmatch.fnmatch`; a folder that matches is not
            searched.
        size: images of a shard, on average.
        columns: of Parquet files.
        videos: whether videos are tagged, too.
    """

    source: str
    exclude: Sequence[str] = ()
    size: int = 500
    columns: Columns = field(default_factory=Columns)
    videos: bool = False

    def shards(
        self, on_error: Callable[[errors.SourceOpenError], None], leave_out: str = ""
    ) -> Iterator[Shard]:
        """Yield the shards; memory holds the names of one folder at a time.

        Where a folder gains or loses an image, only the shard that has it, or its neighbour, changes: a shard ends
        where a hash of the name says so, not after a fixed number of images.

        Args:
            on_error: is told of each folder that cannot be read.
            leave_out: a folder that is not searched: the folder of the results.

        Raises:
            SourceOpenError: the store is unknown.
        """
        store, path = open_filesystem(self.source)
        pattern = None
        if re.search(r"[*?\[]", path) and not store.exists(path):
            pattern = re.compile(glob_translate(path))
            path = path[: re.search(r"[*?\[]", path).start()].rpartition("/")[0]  # type: ignore[union-attr]
        for folder, files in self._folders(store, path, leave_out, on_error):
            chosen = [file for file in files if pattern is None or pattern.fullmatch(file["name"])]
            yield from self._shards_of(store, folder, chosen, pattern.pattern if pattern else "")

    def _folders(
        self,
        store: Any,
        root: str,
        leave_out: str,
        on_error: Callable[[errors.SourceOpenError], None],
    ) -> Iterator[tuple[str, list[dict[str, Any]]]]:
        waiting = [root]
        while waiting:
            folder = waiting.pop()
            try:
                entries = sorted(
                    map(_followed, store.ls(folder, detail=True)), key=lambda file: file["name"]
                )
            except Exception as error:  # each store has its own
                hint = "Check the address and your rights; the other folders are still searched."
                where = _address(store, folder)
                got = cause(error)
                on_error(errors.SourceOpenError(where, "a readable folder", got, hint))
                continue
            shown = [
                file for file in entries if file["name"] == root or not self._excluded(file["name"])
            ]
            folders = [file for file in reversed(shown) if file["type"] == "directory"]
            names = [file["name"].rstrip("/") for file in folders]
            waiting += [
                name
                for name in names
                if name != folder and leave_out not in (name, os.path.realpath(name))
            ]
            yield folder, [file for file in shown if file["type"] == "file"]

    def _excluded(self, path: str) -> bool:
        name = path.rstrip("/").rpartition("/")[2]
        return name.startswith((".", "_")) or any(
            fnmatch(path, pattern) or fnmatch(name, pattern) for pattern in self.exclude
        )

    def _shards_of(
        self, store: Any, folder: str, files: list[dict[str, Any]], pattern: str
    ) -> Iterator[Shard]:
        images = []
        for file in files:
            path = file["name"]
            address = _address(store, path)
            state = [
                address,
                file.get("size"),
                str(file.get("ETag") or file.get("mtime") or file.get("LastModified")),
            ]
            if path.lower().endswith(".parquet"):
                yield Shard(
                    _hash(address),
                    _hash(state, self.columns.id, self.columns.image),
                    address,
                    "parquet",
                )
            elif path.lower().endswith(_TARS):
                yield Shard(_hash(address), _hash(state), address, "tar")
            elif self.videos and PurePosixPath(path).suffix.lower() in VIDEOS:
                yield Shard(_hash(address), _hash(state), address, "video", (address,))
            elif PurePosixPath(path).suffix.lower() in IMAGES:
                images.append(state)
        source = _address(store, folder)
        for chunk in _chunks(images, self.size):
            names = tuple(state[0] for state in chunk)
            yield Shard(_hash(source, pattern), _hash(chunk), source, "images", names)


def read(shard: Shard, columns: Columns, memory: int) -> Iterator[tuple[str | None, Image]]:
    """The id and the image of each row of a shard, read with as much memory as :func:`.images.load` may use.

    Raises:
        SourceOpenError: the file cannot be read.
        OptionError: a Parquet file lacks a column.
    """
    if shard.kind in ("images", "video"):
        yield from ((_text(name), name) for name in shard.images)
        return
    try:
        store, path = open_filesystem(shard.source)
        with store.open(path, "rb") as file:
            if shard.kind == "parquet":
                yield from _parquet(file, shard.source, columns, memory)
            else:
                members = read_members(file, shard.source, _is_image, largest(memory))
                yield from ((_text(name), image) for name, image in members)
    except errors.PvlrError:
        raise
    except Exception as error:  # of a store, or of a damaged file
        raise errors.SourceOpenError(
            shard.source,
            "a complete file",
            cause(error),
            "Copy it again, or leave it out with --exclude.",
        ) from None


def _is_image(name: str) -> bool:
    return PurePosixPath(name).suffix.lower() in IMAGES


def _parquet(
    file: Any, source: str, columns: Columns, memory: int
) -> Iterator[tuple[str | None, Image]]:
    import pyarrow.parquet as pq

    size = file.seek(-8, os.SEEK_END) + 8
    # read, it takes five times its size
    if memory // 16 < (footer := int.from_bytes(file.read(4), "little")) < size:
        raise ValueError(f"a footer of {footer} bytes; use more --memory")
    # unpacked and decoded, a page takes about four times its size
    pages = Pages(file, source, memory // 4)
    parquet = pq.ParquetFile(
        pages, buffer_size=_BUFFER, pre_buffer=False, thrift_container_size_limit=_MAX_LIST
    )
    checked = columns.checked(parquet.schema_arrow, source)
    number = 0
    for index in range(parquet.num_row_groups):
        group = parquet.metadata.row_group(index)
        for chunk in map(group.column, range(group.num_columns)):
            if chunk.path_in_schema.startswith(tuple(checked.names)):
                first = min(
                    chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset
                )
                pages.chunks.append((first, first + chunk.total_compressed_size))
        # Row by row: a file of a kilobyte may have the same large value in each.
        for batch in parquet.iter_batches(1, [index], checked.names):
            if (number := number + 1) > size:
                raise ValueError("more rows than bytes")  # nulls, for days
            yield from checked.rows(batch, number - 1, f"{_text(source)}#")
        pages.chunks.clear()


def _chunks(images: list[list[Any]], size: int) -> Iterator[list[list[Any]]]:
    """Content-defined chunks of at least size / 2 and at most 3 * size images."""
    chunk: list[list[Any]] = []
    for image in images:
        chunk.append(image)
        ends = crc32(image[0].encode(errors="surrogateescape")) % max(1, size // 2) == 0
        if (ends and 2 * len(chunk) >= size) or len(chunk) >= 3 * size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _followed(file: dict[str, Any]) -> dict[str, Any]:
    """What a link to a file leads to, under the link's name; one to a folder is not followed: it may be a loop."""
    if not file.get("islink"):
        return file
    name = file["name"]
    try:
        status = os.stat(name)
    except OSError:  # the error follows when it is opened
        return {**file, "type": "file"}
    kind = "file" if S_ISREG(status.st_mode) else "other"
    return {**file, "type": kind, "size": status.st_size, "mtime": status.st_mtime}


def _address(store: Any, path: str) -> str:
    return path if isinstance(store, LocalFileSystem) else str(store.unstrip_protocol(path))


def _text(name: str) -> str:
    """A name as a string of Arrow, which is UTF-8; a file's name need not be."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def _hash(*parts: Any) -> str:
    return blake2b(json.dumps(parts).encode(), digest_size=8).hexdigest()
