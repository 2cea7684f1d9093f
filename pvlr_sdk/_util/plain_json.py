"""Reads JSON from outside: at a bounded cost, as values that every later step can compute with, print and write again.

All JSON that a client, a broker, a file or a server sends passes :func:`read_json`.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any, NamedTuple, NoReturn

_LARGEST = 2**63
_DIGITS = len(str(-_LARGEST))
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, which a terminal obeys or which turn the text around, and lone surrogates, which cannot be
encoded."""


class Limits(NamedTuple):
    """What a JSON text may cost.

    Attributes:
        size: its bytes; if it is a string, its characters.
        values: its ``[``, ``{``, ``,`` and ``:`` together, also those in strings. It has at most twice as many values.
        depth: lists and objects inside each other.
    """

    size: int
    values: int
    depth: int


def read_json(text: str | bytes, limits: Limits, *, printable: bool = True) -> Any:
    """Parse JSON.

    Size and values are counted before anything is built from the text: a byte of ``[{},{}]`` would become 30 bytes.

    Args:
        text: the JSON.
        printable: refuse texts with control characters or lone surrogates.

    Raises:
        ValueError: it is beyond a limit, is invalid, has a key twice, or a number or text that not every program can
            read; the message says what.
    """
    if len(text) > limits.size:
        raise ValueError(f"more than {limits.size} bytes")
    if _marks(text) > limits.values:
        raise ValueError(f"more than {limits.values} values")
    try:
        raw = json.loads(
            text, parse_int=_integer, parse_constant=_refuse, object_pairs_hook=_distinct
        )
    except RecursionError:
        raise ValueError(f"nested in more than {limits.depth} levels") from None
    # Level by level: a recursive walk would have a limit of its own.
    level = [raw]
    for _ in range(limits.depth + 1):
        _check(level, printable)
        nested = [value for value in level if type(value) in (list, dict)]
        if not nested:
            return raw
        level = [inner for value in nested for inner in _contents(value)]
    raise ValueError(f"nested in more than {limits.depth} levels")


def is_printable(text: str) -> bool:
    """Whether a text has neither control characters nor lone surrogates."""
    return _UNPRINTABLE.search(text) is None


def _marks(text: str | bytes) -> int:
    if isinstance(text, str):
        return sum(map(text.count, "[{,:"))
    return sum(map(text.count, (b"[", b"{", b",", b":")))


def _check(values: list[Any], printable: bool) -> None:
    """Check texts and numbers. Label files have millions of them: a comprehension is the fastest loop."""
    if [v for v in values if type(v) is float and not math.isfinite(v)]:  # 1e999
        raise ValueError("a number that is too large")
    texts = [v for v in values if type(v) is str and not is_printable(v)] if printable else []
    if texts:
        raise ValueError(f"text with a control character or a lone surrogate: {texts[0][:60]!a}")


def _contents(value: Any) -> Any:
    """The values of a list, or the keys and values of an object."""
    return value if type(value) is list else (*value, *value.values())


def _integer(digits: str) -> int:
    # int() of many digits takes a time that grows with their square
    if len(digits) > _DIGITS or abs(value := int(digits)) >= _LARGEST:
        raise ValueError("an integer of more than 64 bits")
    return value


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("a key twice")
    return mapping


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant}, which is not a number in JSON")
