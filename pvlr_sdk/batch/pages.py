"""Checks the pages of a Parquet file before they are unpacked: the footer of a file from outside may state anything."""

from __future__ import annotations

from typing import Any

from .. import errors
from .archive import is_bomb

_DELTA = (6, 7)
"""Encodings of texts with their lengths: a number in the data makes pyarrow take up to 8 GB."""
_I32 = 5
_BINARY = 8
_STRUCT = 12
_SIZES = {1: 0, 2: 0, 3: 1, 4: 0, 6: 0, 7: 8}
"""Types of Thrift's compact protocol, and the bytes after the number of those that are skipped."""


class Pages:
    """A file for pyarrow; SourceOpenError for a page of more than ``largest`` bytes, or one compressed too well, when
    it is read. ``chunks`` has the next page and the end of each chunk of a column that may be read.
    """

    def __init__(self, file: Any, source: str, largest: int) -> None:
        self._file = file
        self._source = source
        self._largest = largest
        self.chunks: list[tuple[int, int]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def read(self, size: int) -> bytes:
        start = self._file.tell()
        for number, (page, end) in enumerate(self.chunks):
            while page < min(start + size, end):
                page = self._next(page)
            self.chunks[number] = page, end
        self._file.seek(start)
        return bytes(self._file.read(size))

    def _next(self, page: int) -> int:
        self._file.seek(page)
        header = self._struct()
        unpacked = header[2]
        packed = header[3]
        # data pages, version 1 and 2
        delta = header.get(5, {}).get(2) in _DELTA or header.get(8, {}).get(4) in _DELTA
        if (
            delta
            or min(unpacked, packed) < 0
            or unpacked > self._largest
            or is_bomb(unpacked, packed)
        ):
            expected = f"pages of at most {self._largest} bytes, compressed at most 100:1, without delta encoding"
            got = f"{unpacked} bytes, compressed to {packed}"
            hint = "Write smaller pages, or use more --memory."
            raise errors.SourceOpenError(self._source, expected, got + ", with it" * delta, hint)
        return int(self._file.tell()) + packed

    def _struct(self) -> dict[int, Any]:
        """The 32-bit integers and structs of a struct, which is read in the one form that writers use."""
        fields_read: dict[int, Any] = {}
        number = 0
        while head := self._file.read(1)[0]:
            kind = head & 15
            step = head >> 4
            number += step
            if not step or number > 15:
                raise ValueError("a page header with unknown fields")
            value = 0
            shift = 0
            more = kind in (_I32, 4, 6, _BINARY)
            while more and shift < 70:
                byte = self._file.read(1)[0]
                value = value | (byte & 127) << shift
                shift = shift + 7
                more = byte > 127
            value &= 0xFFFFFFFF
            if kind in (_I32, _STRUCT):
                fields_read[number] = (
                    self._struct() if kind == _STRUCT else value >> 1 ^ -(value & 1)
                )
            else:
                self._file.seek(value if kind == _BINARY else _SIZES[kind], 1)
        return fields_read
