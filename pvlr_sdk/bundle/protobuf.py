"""Reads the wire format of Protocol Buffers, strictly: what a schema does not name is an error.

Parsers differ in what they make of an unknown field, or of a field that may be there once and is there twice. A message
that this reader accepts has one meaning for all of them.
"""

from __future__ import annotations

from collections.abc import Iterator

INT, BYTES, FLOAT = 0, 2, 5
"""Wire types: a varint, a length with that many bytes, four bytes. A packed list of numbers is BYTES."""

_SEVEN_BITS = tuple(range(0, 70, 7))


class Message:
    """The fields that a message may have.

    Args:
        name: the message's name, for errors.
        once: field number -> wire type, for fields that occur at most once.
        any: pairs of a field number and a wire type, for fields that occur any number of times.
    """

    def __init__(self, name: str, *, once: dict[int, int], any: tuple[tuple[int, int], ...] = ()) -> None:
        self.name = name
        self.once = frozenset(number << 3 | wire for number, wire in once.items())
        self.any = frozenset(number << 3 | wire for number, wire in any)

    def fields(self, data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        """Each field of the message in ``data[at:end]``: its number, its wire type and, for BYTES and FLOAT, where its
        contents start and end; for INT, the unsigned value and where it ends.

        Raises:
            ValueError: the message is malformed, or a field is unknown or there twice.
        """
        once, repeated, seen = self.once, self.any, 0
        while at < end:
            tag = data[at]
            at += 1
            if tag >= 0x80:  # field numbers from 16 on; none in use needs three bytes
                tag = tag & 0x7F | data[at] << 7
                at += 1
            if tag not in repeated:
                if tag not in once:
                    raise ValueError(f"field {tag >> 3} of {self.name}, which no exported network has")
                if seen >> tag & 1:
                    raise ValueError(f"field {tag >> 3} of {self.name} twice")
                seen |= 1 << tag
            wire = tag & 7
            if wire == FLOAT:
                value, at = at, at + 4
            else:
                value = data[at]
                at += 1
                if value >= 0x80:
                    value, at = varint(data, at - 1)
                if wire == BYTES:
                    value, at = at, at + value
            if at > end:
                raise ValueError(f"a {self.name} that ends early")
            yield tag >> 3, wire, value, at


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The unsigned 64-bit integer at ``at``, and where it ends.

    Raises:
        ValueError: it has more than ten bytes.
        IndexError: the data ends in it.
    """
    value = 0
    for shift in _SEVEN_BITS:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at
    raise ValueError("an integer of more than ten bytes")


def signed(value: int) -> int:
    """An unsigned 64-bit integer as a signed one."""
    return value - (1 << 64) if value >> 63 else value


def varints(data: bytes, at: int, end: int) -> list[int]:
    """A packed list of signed integers.

    Raises:
        ValueError: the list is malformed.
    """
    values = []
    while at < end:
        value, at = varint(data, at)
        values.append(signed(value))
    if at != end:
        raise ValueError("a list of integers that ends early")
    return values
