"""The keys of a configuration, for messages about those that are wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel


def written_keys(node: Any, location: tuple[int | str, ...]) -> list[str]:
    """The keys that lead to a value, without the kinds of sources that pydantic puts between them."""
    keys = []
    for part in location:
        try:
            node = node[part]
        except (KeyError, TypeError, IndexError):
            if part != location[-1]:
                continue
        keys.append(str(part))
    return keys


def closest_key(schema: type[BaseModel], key: str) -> str:
    """The hint that names the keys which the unknown one may have meant: beside it, or of its name elsewhere."""
    known = [re.sub(r"\.\d+\.", ".", name) for name in _keys(schema)]
    parent, _, last = re.sub(r"\.\d+\.", ".", key).rpartition(".")
    beside = {name.rpartition(".")[2]: name for name in known if name.rpartition(".")[0] == parent}
    names = [beside[name] for name in difflib.get_close_matches(last, beside, n=1)]
    names = names or [name for name in known if name.rpartition(".")[2] == last]
    return f"Did you mean {' or '.join(names[:3])}?" if names else f"There are {', '.join(sorted(beside))}."


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """All keys of a configuration, with those that they are in; of a list, as if it were one thing."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for part in dict.fromkeys(_parts(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _keys(part, f"{prefix}{name}.")


def _parts(annotation: Any) -> Iterator[Any]:
    """A type and, of ``tuple[A | B, ...]`` and the like, all that it is made of."""
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)
