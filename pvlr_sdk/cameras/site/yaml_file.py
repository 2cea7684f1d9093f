"""Reads site files, within limits and with one typed error, and prints settings as a site file."""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Mapping
from typing import Any

from ..._util.files import read_file
from ...errors import ConfigError, MissingPartError, install_hint

MAX_BYTES = 1 << 20
"""Size limit of a file: about 5000 cameras."""
_MAX_VALUES = 100_000
"""Limit of keys and values, each alias counted as often as it is used: a few nested aliases stand for billions."""
_MAX_DIGITS = 1000
"""Limit of an integer, which may be written in hex: Python does not write those of more than 4300 digits."""


def read_yaml(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The mapping in a YAML file, unchecked.

    Raises:
        ConfigError: the file cannot be read, is not a regular file or too large, is not YAML, or holds something else
            than a mapping.
        MissingPartError: ruamel.yaml is not installed.
    """
    return parse_yaml(_read(path), str(path))


def _read(path: str | os.PathLike[str]) -> bytes:
    try:
        return read_file(path, MAX_BYTES)
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise ConfigError(
            str(path),
            "a YAML file",
            getattr(error, "strerror", None) or str(error),
            "Check its path.",
        ) from None


def parse_yaml(data: bytes, source: str) -> dict[str, Any]:
    """The mapping in a YAML document; ``source`` is its name in messages. Raises what :func:`read_yaml` does."""
    yaml = _yaml(typ="safe")
    from ruamel.yaml.docinfo import DocInfo

    try:
        yaml.doc_infos.append(DocInfo())  # for a directive %YAML
        constructor, _ = yaml.get_constructor_parser(data)
        node = constructor.composer.get_single_node()
        _count(node, {})
        raw = None if node is None else constructor.construct_document(node)
    except Exception as error:
        # Errors of Python's own conversions pass ruamel.yaml: an impossible date, an integer of 5000 digits.
        mark = getattr(error, "problem_mark", None)
        problem = [getattr(error, name, None) or "" for name in ("context", "problem")]
        # it may be a password
        got = (" ".join(problem) if any(problem) else str(error)).partition(" with value ")[0]
        got = (
            "deeply nested values"
            if isinstance(error, RecursionError)
            else " ".join(got.split())[:300]
        )
        got += f" in line {mark.line + 1}" if mark else ""
        raise ConfigError(source, "a YAML file", got, "Check its syntax.") from None
    if not isinstance(raw, dict):
        raise ConfigError(
            source,
            "a mapping of keys",
            type(raw).__name__,
            "pvlr_sdk/cameras/site/site.yaml lists all keys.",
        )
    return raw


def format_yaml(
    raw: Mapping[str, Any], comments: Mapping[tuple[str, ...], str] | None = None
) -> str:
    """The text of a YAML document, which :func:`parse_yaml` reads; ``comments``: by the keys that lead to a value."""
    text = io.StringIO()
    _yaml().dump(_commented(raw, (), comments or {}), text)
    return text.getvalue()


def _commented(value: Any, place: tuple[str, ...], comments: Mapping[tuple[str, ...], str]) -> Any:
    """A value as ruamel.yaml writes it: lists on one line, and comments at the ends of lines."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(value, Mapping):
        mapping = CommentedMap()
        for key, item in value.items():
            mapping[_quoted(key) if isinstance(key, str) else key] = _commented(
                item, (*place, key), comments
            )
            if comment := comments.get((*place, key)):
                mapping.yaml_add_eol_comment(comment, key)
        return mapping
    if isinstance(value, (list, tuple)) and not any(isinstance(item, Mapping) for item in value):
        sequence = CommentedSeq(_commented(item, place, {}) for item in value)
        sequence.fa.set_flow_style()
        return sequence
    if isinstance(value, (list, tuple)):
        return [_commented(item, place, {}) for item in value]
    return _quoted(value) if isinstance(value, str) else value


def _quoted(text: str) -> str:
    """A text that ruamel.yaml writes so that it can be read again; its plain style fails for ':a' and line breaks."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    return (
        text if re.fullmatch(r"[\w/][\w ./-]*", text, re.ASCII) else DoubleQuotedScalarString(text)
    )


def _yaml(**options: Any) -> Any:
    try:
        from ruamel.yaml import YAML
    except ImportError:
        raise MissingPartError(
            "config", "the package ruamel.yaml", "none", install_hint("cameras")
        ) from None
    yaml = YAML(pure=True, **options)
    yaml.width = sys.maxsize
    yaml.representer.add_representer(
        type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    return yaml


def _count(node: Any, sizes: dict[int, int | None]) -> int:
    """The number of keys and values of a node; raises ValueError if there are too many, or an alias is endless."""
    if id(node) not in sizes:  # an alias is the node of its anchor
        sizes[id(node)] = None
        if str(getattr(node, "tag", "")).endswith(":int") and len(node.value) > _MAX_DIGITS:
            raise ValueError(f"an integer of more than {_MAX_DIGITS} digits")
        children = node.value if isinstance(getattr(node, "value", None), list) else []
        parts = (
            part for child in children for part in (child if isinstance(child, tuple) else (child,))
        )
        sizes[id(node)] = 1 + sum(_count(part, sizes) for part in parts)
    size = sizes[id(node)]
    if size is None:
        raise ValueError("an alias that contains itself")
    if size > _MAX_VALUES:
        raise ValueError(f"more than {_MAX_VALUES} values, aliases included")
    return size
