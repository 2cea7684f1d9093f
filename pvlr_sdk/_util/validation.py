"""The errors of pydantic in the words of the SDK's messages, and suggestions for misspelt names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError

if TYPE_CHECKING:
    from pydantic import ValidationError

_EXPECTED = {
    "extra_forbidden": "a known key",
    "invalid_key": "a key that is text",
    "missing": "a value",
    "model_type": "a mapping of keys",
    "path_type": "a path",
    "string_pattern_mismatch": "a name of letters, digits, '_', '-' and '.', not first '.'",
    "too_short": "at least one entry",
    "tuple_type": "a list",
}
"""By kind of error, where pydantic's message is about Python or does not follow "expected"."""


def first_problem(error: ValidationError) -> str:
    """The first problem: where it is, and pydantic's message, without the value, which may be long or secret."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    return ": ".join(filter(None, [".".join(map(str, first["loc"])), first["msg"]]))


def expected(problem: Mapping[str, Any]) -> str:
    """What one of ``ValidationError.errors()`` expected instead."""
    text = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input should be ")
    text = _EXPECTED.get(problem["type"], text)
    return text[0].lower() + text[1:]


def written(raw: Any, location: tuple[int | str, ...], *, keep_last: bool) -> tuple[list[str], Any]:
    """The keys that lead to a value, without the names that pydantic inserts, and the value as written.

    ``keep_last``: the last key is kept even if it is not written, because it should be.
    """
    keys = []
    for position, key in enumerate(location):
        try:
            raw = raw[key]
        except (KeyError, TypeError, IndexError):
            if not (keep_last and position == len(location) - 1):
                continue
        keys.append(str(key))
    return keys, raw


def joined(found: Sequence[ConfigError]) -> ConfigError:
    """One error for several, the misspelled keys first; all but the first follow in its hint, one line each."""
    first, *others = sorted(found, key=lambda error: error.expected != _EXPECTED["extra_forbidden"])
    return ConfigError(
        first.argument, first.expected, first.got, "\n".join([first.hint, *map(str, others)])
    )


def did_you_mean(name: str, known: Iterable[str], most: int = 3, *, quoted: bool = True) -> str:
    """A question that names the most similar of the known names; empty if none is similar."""
    close = difflib.get_close_matches(name, list(known), most)
    return f"Did you mean {' or '.join(map(repr, close) if quoted else close)}?" if close else ""


def few(values: Sequence[str], most: int = 8) -> str:
    """The first values, quoted, and the number of the others."""
    shown = ", ".join(map(repr, values[:most]))
    return shown + (f" and {len(values) - most} more" if len(values) > most else "")
