"""Checks the pages of a Parquet file before they are unpacked: the footer of a file from outside may state anything."""

from __future__ import annotations

from typing import Any

from .. import errors
from .archive import is_bomb

_UNPACKED, _PACKED = 2, 3  # fields of a page header: sizes in bytes
_ENCODINGS = (5, 2), (8, 4)  # and how its data are encoded, for each version of data pages
_DELTA = (6, 7)  # of lengths of texts: a number in the data makes pyarrow take up to 8 GB
_I32, _INTEGERS, _BINARY, _STRUCT = 5, (4, 5, 6), 8, 12  # types of Thrift's compact protocol
_SIZES = {1: 0, 2: 0, 3: 1, 7: 8}  # of booleans, bytes and doubles


class Pages:
    """A file for pyarrow; SourceOpenError for a page of more than ``largest`` bytes, or one compressed too well, when
    it is read. ``chunks`` has the next page and the end of each chunk of a column that may be read.
    """

    def __init__(self, file: Any, source: str, largest: int) -> None:
        self._file, self._source, self._largest = file, source, largest
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
        fields = self._struct()
        unpacked, packed = fields[_UNPACKED], fields[_PACKED]
        delta = any(fields.get(header, {}).get(field) in _DELTA for header, field in _ENCODINGS)
        if delta or min(unpacked, packed) < 0 or unpacked > self._largest or is_bomb(unpacked, packed):
            expected = f"pages of at most {self._largest} bytes, compressed at most 100:1, without delta encoding"
            got = f"{unpacked} bytes, compressed to {packed}{', with it' * delta}"
            hint = "Write smaller pages, or use more --memory."
            raise errors.SourceOpenError(self._source, expected=expected, got=got, hint=hint)
        return int(self._file.tell()) + packed

    def _struct(self) -> dict[int, Any]:
        """The 32-bit integers and structs of a struct, which is read in the one form that writers use."""
        found: dict[int, Any] = {}
        number = 0
        while head := self._file.read(1)[0]:
            kind, step = head & 15, head >> 4
            number += step
            if not step or number > 15:
                raise ValueError("a page header with unknown fields")
            if kind == _STRUCT:
                found[number] = self._struct()
            elif kind in _INTEGERS:
                value = self._integer()
                found |= {number: value >> 1 ^ -(value & 1)} if kind == _I32 else {}
            else:
                self._file.seek(self._integer() if kind == _BINARY else _SIZES[kind], 1)
        return found

    def _integer(self) -> int:
        """The lower 32 bits of a number."""
        value = shift = 0
        while (byte := self._file.read(1)[0]) > 127 and shift < 63:
            value, shift = value | (byte & 127) << shift, shift + 7
        return (value | byte << shift) & 0xFFFFFFFF
