"""Reads YAML files from outside: within limits of bytes, depth and values, and with one typed error."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from .._util.files import read_file
from ..errors import ConfigError, MissingPartError, install_hint

MAX_BYTES = 1 << 20
"""Size limit of a file: about 5000 cameras."""
_MAX_VALUES = 100_000
"""Limit of keys and values, each alias counted as often as it is used: a few nested aliases stand for billions."""
_MAX_DEPTH = 50


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a YAML file, unchecked.

    Raises:
        ConfigError: the file cannot be read, is not a regular file or too large, is not YAML, or holds something else
            than a mapping.
        MissingPartError: PyYAML is not installed.
    """
    try:
        data = read_file(path, MAX_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        got = getattr(error, "strerror", None) or str(error)
        raise ConfigError(str(path), expected="a YAML file", got=got, hint="Check its path.") from None
    return parse_yaml(data, str(path))


def parse_yaml(data: bytes, source: str) -> dict[str, Any]:
    """The mapping in a YAML document; ``source`` is its name in messages. Raises what :func:`read_yaml` does."""
    try:
        import yaml
    except ImportError:
        raise MissingPartError(
            "config", expected="the package PyYAML", got="none", hint=install_hint("cameras")
        ) from None
    try:
        loader = yaml.SafeLoader(data)
        try:
            node = loader.get_single_node()
            _count(node)
            raw = None if node is None else loader.construct_document(node)
        finally:
            loader.dispose()
    except (
        yaml.YAMLError,
        ArithmeticError,
        AttributeError,
        LookupError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        # PyYAML lets errors of Python's own conversions pass: an impossible date, an integer of 5000 digits.
        got = "deeply nested values" if isinstance(error, RecursionError) else " ".join(str(error).split())[:300]
        raise ConfigError(source, expected="a YAML file", got=got, hint="Check its syntax.") from None
    if not isinstance(raw, dict):
        raise ConfigError(
            source,
            expected="a mapping of keys",
            got=type(raw).__name__,
            hint="pvlr_sdk/watch/site.yaml lists all keys.",
        )
    return raw


def format_yaml(raw: Mapping[str, Any]) -> str:
    """The text of a YAML document, which :func:`parse_yaml` reads."""
    import yaml

    return yaml.safe_dump(dict(raw), sort_keys=False, allow_unicode=True)


def _count(root: Any) -> None:
    """Raise ValueError if the document, with every alias written out, is too large, too deep or endless."""
    sizes: dict[int, int | None] = {}  # by identity: an alias is the node of its anchor; None: still being counted

    def size(node: Any, depth: int) -> int:
        known = sizes.get(id(node), 0)
        if known is None:
            raise ValueError("an alias that contains itself")
        if depth > _MAX_DEPTH:
            raise RecursionError
        if known:
            return known
        sizes[id(node)] = None
        if isinstance(node.value, list) and node.id == "mapping":
            _check_keys([key for key, _ in node.value])
        children = node.value if isinstance(node.value, list) else []
        total = 1 + sum(
            size(part, depth + 1) for child in children for part in (child if isinstance(child, tuple) else (child,))
        )
        if total > _MAX_VALUES:
            raise ValueError(f"more than {_MAX_VALUES} values, aliases included")
        sizes[id(node)] = total
        return total

    if root is not None:
        size(root, 0)


def _check_keys(keys: list[Any]) -> None:
    """Raise ValueError if a key of a mapping occurs twice: PyYAML would keep the last value without a word."""
    found = set()
    for key in keys:
        if isinstance(key.value, str):
            if key.value in found:
                raise ValueError(f"{key.value!r} twice, again in line {key.start_mark.line + 1}")
            found.add(key.value)
