"""Reads JSON from outside: values that every later step can compute with, print and write again."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

MAX_DEPTH = 32
_LARGEST = 2**63
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, which a terminal obeys or which turn the text around, and lone surrogates, which cannot be
encoded."""


def read_json(text: str | bytes, *, printable: bool = True) -> Any:
    """Parse JSON.

    Args:
        text: the JSON.
        printable: refuse texts with control characters or lone surrogates.

    Raises:
        ValueError: it is invalid, is nested too deeply, has a key twice, or has a number or text beyond the limits; the
            message says what.
    """
    try:
        raw = json.loads(text, parse_constant=_refuse, object_pairs_hook=_distinct)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    # Level by level: a recursive walk would have a limit of its own.
    level = [raw]
    for _ in range(MAX_DEPTH):
        if not level:
            return raw
        level = [inner for value in level for inner in _contents(value, printable)]
    raise ValueError(f"nested in more than {MAX_DEPTH} levels")


def is_printable(text: str) -> bool:
    """Whether a text has neither control characters nor lone surrogates."""
    return _UNPRINTABLE.search(text) is None


def _contents(value: Any, printable: bool) -> list[Any]:
    """Check a value; the values inside it."""
    if isinstance(value, str):
        if printable and not is_printable(value):
            raise ValueError(f"text with a control character or a lone surrogate: {value[:60]!a}")
    elif isinstance(value, int):
        if abs(value) >= _LARGEST:
            raise ValueError("an integer of more than 64 bits")
    elif isinstance(value, float):
        if not math.isfinite(value):  # 1e999
            raise ValueError("a number that is too large")
    elif isinstance(value, dict):
        return [*value, *value.values()]
    elif isinstance(value, list):
        return value
    return []


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("a key twice")
    return mapping


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant}, which is not a number in JSON")
