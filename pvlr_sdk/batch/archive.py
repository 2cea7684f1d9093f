"""Reads tars from outside, also gzipped, from front to back: no header and no member costs memory beyond a limit."""

from __future__ import annotations

import gzip
import io
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from .. import errors
from .images import MAX_TEXT

_PIECE = 2**20
_MAX_HEADER = 2**20
"""Most bytes of the long names and pax headers of a member."""
_MAX_HEADERS = 16
"""Most of these headers: in a gzipped archive an empty one is a few bytes, and takes as long as a full one."""
_MAX_UNPACKED = 64 * 2**30
"""Most bytes of a gzipped archive when it is unpacked."""
_PLAIN = 64 * 2**20
"""Bytes that may be compressed as well as possible: an image of one colour."""
_RECORD = re.compile(rb"(\d{1,10}) ([^=]+)=")
_LONG_HEADERS = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME)


def is_bomb(unpacked: int, packed: int) -> bool:
    """Whether data is compressed too well for images."""
    return unpacked > _PLAIN and unpacked > 100 * packed


def read_members(
    file: Any, source: str, wanted: Callable[[str], bool], limit: int
) -> Iterator[tuple[str, bytes | errors.FrameError]]:
    """``source/name`` and the content of each ``wanted`` file, or why it has none; the members after it still follow.

    Where the archive is damaged or cut short, the format permits no more: that is the last error. Members have at most
    ``limit`` bytes. Raises OSError if the file cannot be read.
    """
    stream = _Stream(file)
    place = source
    try:
        while (member := _next_member(stream)) is not None:
            info, got = member
            end = stream.at + _padded(info.size)
            if info.isreg() and wanted(info.name):
                place = f"{source}/{info.name}"[:MAX_TEXT]
                got = got or (f"{info.size} bytes" if info.size > limit else "")
                data = None if got else stream.content(info.size)
                expected = f"an image of at most {limit} bytes, stored in full"
                got = got or "data that is compressed too well"
                hint = "Pack it again, or use more --memory."
                refused = errors.ImageSizeError(place, expected, got, hint)
                yield place, refused if data is None else data
                place = source
            stream.skip(end - stream.at)
    except (tarfile.TarError, ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        got = str(error)
        hint = "Copy the archive again; the images before this one were tagged."
        yield (
            place,
            errors.ImageDecodeError(source, "a complete archive", got, hint),
        )


def _next_member(stream: _Stream) -> tuple[tarfile.TarInfo, str] | None:
    """The next member and why it cannot be read, if so; its size is that of its data here. None at the end mark."""
    more: dict[bytes, bytes] = {}
    headers = 0
    reason = ""
    for _ in range(_MAX_HEADERS):
        block = stream.header(512)
        if block == bytes(512):
            return None
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        if info.type in _LONG_HEADERS and (headers := headers + info.size) <= _MAX_HEADER:
            data = stream.header(_padded(info.size))[: info.size]
            more.update(
                {b"path": data.partition(b"\0")[0]}
                if info.type == tarfile.GNUTYPE_LONGNAME
                else _pax(data)
            )
        elif info.type in (*_LONG_HEADERS, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK):
            reason = f"headers of {headers} bytes" if headers > _MAX_HEADER else ""
            stream.skip(_padded(info.size))
        else:
            is_sparse = info.type == tarfile.GNUTYPE_SPARSE
            if is_sparse:
                _skip_map(stream, block)
            if is_sparse or any(key.startswith(b"GNU.sparse.") for key in more):
                reason = "a sparse file"
            return _completed(info, more), reason
    raise tarfile.ReadError(f"more than {_MAX_HEADERS} headers of a member")


def _skip_map(stream: _Stream, block: bytes) -> None:
    """Leave out the rest of a sparse file's map, which begins in its header."""
    is_extended = block[482]
    while is_extended:
        is_extended = stream.header(512)[504]


def _completed(info: tarfile.TarInfo, more: dict[bytes, bytes]) -> tarfile.TarInfo:
    """A member with the long name and the size from the headers before it; 0 without data."""
    path = more.get(b"GNU.sparse.name", more.get(b"path"))
    if path:
        info.name = path.decode(errors="surrogateescape")
    has_data = info.isreg() or info.type not in tarfile.SUPPORTED_TYPES
    # An invalid size is ignored, as by GNU tar. Read as -1, it would be all that follows.
    size = int(more[b"size"]) if more.get(b"size", b"").isdigit() else info.size
    info.size = size if has_data else 0
    return info


def _pax(data: bytes) -> dict[bytes, bytes]:
    records = {}
    start = 0
    while match := _RECORD.match(data, start):
        start += int(match[1])
        if start <= match.end():
            raise tarfile.ReadError("an invalid pax header")
        if match[2] in (b"path", b"size") or match[2].startswith(b"GNU.sparse."):
            records[match[2]] = data[match.end() : start - 1]
    return records


def _padded(size: int) -> int:
    if size < 0:
        raise tarfile.ReadError("a member of negative size")
    return size + -size % 512


class _Stream:
    """The unpacked bytes of a file; ``at`` is how many were read."""

    def __init__(self, file: Any) -> None:
        self._file = io.BufferedReader(file)
        self._zipped = self._file.peek(2)[:2] == b"\x1f\x8b"
        self._unpacked: Any = gzip.GzipFile(fileobj=self._file) if self._zipped else self._file
        self.at = 0
        self._headers = 0

    def read(self, size: int) -> bytes:
        """Exactly so many bytes."""
        data: bytes = self._unpacked.read(size)
        self.at += len(data)
        if len(data) < size or (self._zipped and self.at > _MAX_UNPACKED):
            got = (
                "unexpected end of data"
                if len(data) < size
                else f"more than {_MAX_UNPACKED} bytes when unpacked"
            )
            raise tarfile.ReadError(got)
        return data

    def header(self, size: int) -> bytes:
        """Exactly so many bytes of a header. Raises ReadError if headers are compressed too well: they take time."""
        self._headers += size
        if self._zipped and is_bomb(self._headers, self._file.tell()):
            raise tarfile.ReadError("headers that are compressed too well")
        return self.read(size)

    def skip(self, size: int) -> None:
        """Leave out so many bytes."""
        for start in range(0, size, _PIECE):
            self.read(min(_PIECE, size - start))

    def content(self, size: int) -> bytes | None:
        """The content of a member; None if it is compressed too well."""
        packed = self._file.tell()
        content = io.BytesIO()
        while left := size - content.tell():
            content.write(self.read(min(_PIECE, left)))
            if self._zipped and is_bomb(content.tell(), self._file.tell() - packed):
                return None
        return content.getvalue()
