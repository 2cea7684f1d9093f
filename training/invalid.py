"""The error for an invalid configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from pvlr_sdk._util.validation import did_you_mean, expected, joined, written
from pvlr_sdk.errors import ConfigError


def config_error(
    model: type[BaseModel], path: Path, raw: dict[str, Any], error: ValidationError
) -> ConfigError:
    """One error for all invalid keys of the configuration ``raw`` for ``model``, the misspelt ones first.

    The others follow in its hint, one line each.
    """
    found: dict[str, ConfigError] = {}
    places = [one["loc"] for one in error.errors()]
    for one in sorted(error.errors(), key=lambda one: one["type"] != "extra_forbidden"):
        unknown = one["type"] == "extra_forbidden"
        missing = one["type"] == "missing"
        if any(place[: len(one["loc"])] == one["loc"] != place for place in places):
            continue  # a list is invalid because one of its items is
        key = ".".join(written(raw, one["loc"], keep_last=unknown or missing)[0])
        if missing and any(
            f"{other.hint[:-1]}.".endswith(f".{one['loc'][-1]}.") for other in found.values()
        ):
            continue  # a misspelt key also causes a missing one
        found[key] = found.get(key) or ConfigError(
            f"{path}: {key}",
            expected(one),
            "nothing" if missing else repr(one["input"]),
            _closest_key(model, key) if unknown else "See docs/training.md.",
        )
    return joined(list(found.values()))


def _closest_key(model: type[BaseModel], key: str) -> str:
    """The hint for an unknown key: a similar key of the same section, or the same name in other sections."""
    known = list(_all_keys(model))
    parent, _, last = re.sub(r"\.\d+\.", ".", key).rpartition(".")
    beside = {name.rpartition(".")[2]: name for name in known if name.rpartition(".")[0] == parent}
    if close := did_you_mean(last, beside, 1, quoted=False):
        return close.replace("mean ", f"mean {parent}." if parent else "mean ")
    names = [name for name in known if name.rpartition(".")[2] == last]
    return (
        f"Did you mean {' or '.join(names[:3])}?"
        if names
        else f"There are {', '.join(sorted(beside))}."
    )


def _all_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """All keys with their parents; the items of a list share theirs."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for part in dict.fromkeys(_types(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from _all_keys(part, f"{prefix}{name}.")


def _types(annotation: Any) -> Iterator[Any]:
    """A type and its arguments, as those of ``tuple[A | B, ...]``, at all levels."""
    yield annotation
    for part in get_args(annotation):
        yield from _types(part)
