"""Reads and changes site files: within limits, with one typed error, and with all comments."""

from __future__ import annotations

import copy
import io
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..._util.files import read_file
from ...errors import ConfigError, MissingPartError, install_hint

MAX_BYTES = 1 << 20
"""Size limit of a file: about 5000 cameras."""
_MAX_VALUES = 100_000
"""Limit of keys and values, each alias counted as often as it is used: a few nested aliases stand for billions."""
_MAX_DIGITS = 1000
"""Limit of an integer, which may be written in hex: Python does not write those of more than 4300 digits."""
_UNDER_A_KEY = r"^( *)[^\s#-][^\n]*:[ \t]*(?:#[^\n]*)?\n(?:[ \t]*(?:#[^\n]*)?\n)*\1"
"""A key whose value begins on another line, up to the key's own indentation on that line."""


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
        got = getattr(error, "strerror", None) or str(error)
        raise ConfigError(str(path), expected="a YAML file", got=got, hint="Check its path.") from None


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
        got = (" ".join(problem) if any(problem) else str(error)).partition(" with value ")[0]  # it may be a password
        got = "deeply nested values" if isinstance(error, RecursionError) else " ".join(got.split())[:300]
        got += f" in line {mark.line + 1}" if mark else ""
        raise ConfigError(source, expected="a YAML file", got=got, hint="Check its syntax.") from None
    if not isinstance(raw, dict):
        hint = "pvlr_sdk/cameras/site/site.yaml lists all keys."
        raise ConfigError(source, expected="a mapping of keys", got=type(raw).__name__, hint=hint)
    return raw


def format_yaml(raw: Mapping[str, Any]) -> str:
    """The text of a YAML document, which :func:`parse_yaml` reads."""
    text = io.StringIO()
    _yaml().dump(dict(raw), text)
    return text.getvalue()


def edited(path: Path, changes: Mapping[tuple[str, ...], Any]) -> tuple[bytes, dict[str, Any]]:
    """The text of a YAML file with some values set, and its mapping, read back; comments, order and quotes stay.

    Args:
        path: the site file.
        changes: the keys that lead to a value, such as ``("events", "thresholds", "car")``, and the value.

    Raises:
        ConfigError: the file is invalid, the text could not be read back within the limits, or the file's structure
            (an alias, a merge key) allows no change in place.
    """
    data = _read(path)
    wanted = parse_yaml(data, str(path))
    text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8")
    changed = io.StringIO(newline="\r\n" if "\r\n" in text else "\n")
    yaml = _yaml(text := text.replace("\r\n", "\n"))
    document = yaml.load(text)
    for keys, value in changes.items():
        wanted = _with(wanted, keys, value)
        _set(document, keys, value)
    yaml.dump(document, changed)
    data = changed.getvalue().encode()
    if len(data) > MAX_BYTES:
        hint = "Remove settings that are no longer needed."
        raise ConfigError(str(path), expected=f"at most {MAX_BYTES} bytes", got=f"{len(data)} bytes", hint=hint)
    if parse_yaml(data, str(path)) != wanted:
        hint = "Change it by hand, without anchors, aliases and merge keys."
        raise ConfigError(str(path), expected="plain keys, to change them", got="another structure", hint=hint)
    return data, wanted


def _yaml(text: str = "", **options: Any) -> Any:
    try:
        from ruamel.yaml import YAML
    except ImportError:
        got, hint = "none", install_hint("cameras")
        raise MissingPartError("config", expected="the package ruamel.yaml", got=got, hint=hint) from None
    yaml = YAML(pure=True, **options)
    yaml.preserve_quotes, yaml.width = True, sys.maxsize
    yaml.representer.add_representer(type(None), lambda to, _: to.represent_scalar("tag:yaml.org,2002:null", "null"))
    nested, items = (re.search(_UNDER_A_KEY + begin, text, re.MULTILINE) for begin in ("( +)[^\\s#-]", "( *)- "))
    yaml.indent(len(nested[2]) if nested else 2)
    yaml.indent(sequence=2 + (offset := len(items[2]) if items else 0), offset=offset)
    return yaml


def _count(node: Any, sizes: dict[int, int | None]) -> int:
    """The number of keys and values of a node; raises ValueError if there are too many, or an alias is endless."""
    if id(node) not in sizes:  # an alias is the node of its anchor
        sizes[id(node)] = None
        if str(getattr(node, "tag", "")).endswith(":int") and len(node.value) > _MAX_DIGITS:
            raise ValueError(f"an integer of more than {_MAX_DIGITS} digits")
        children = node.value if isinstance(getattr(node, "value", None), list) else []
        parts = (part for child in children for part in (child if isinstance(child, tuple) else (child,)))
        sizes[id(node)] = 1 + sum(_count(part, sizes) for part in parts)
    size = sizes[id(node)]
    if size is None:
        raise ValueError("an alias that contains itself")
    if size > _MAX_VALUES:
        raise ValueError(f"more than {_MAX_VALUES} values, aliases included")
    return size


def _with(raw: Any, keys: tuple[str, ...], value: Any) -> Any:
    """A copy of nested mappings with one value set."""
    if not keys:
        return value
    mapping = raw if isinstance(raw, dict) else {}
    return {**mapping, keys[0]: _with(mapping.get(keys[0]), keys[1:], value)}


def _set(mapping: Any, keys: tuple[str, ...], value: Any) -> None:
    """Set one value of nested mappings in place. ruamel.yaml holds comments at the value before: they move along."""
    from ruamel.yaml.comments import CommentedMap

    while len(keys) > 1 and isinstance(mapping.get(keys[0]), dict) and mapping[keys[0]]:
        mapping, keys = mapping[keys[0]], keys[1:]
    keys = tuple(map(_quoted, keys))
    value = _styled(value)
    for key in reversed(keys[1:]):
        value = CommentedMap({key: value})
    comment = None
    if mapping:
        last = keys[0] if keys[0] in mapping else next(reversed(mapping))
        parent, key = _leaf(mapping, last)
        tokens, place = parent.ca.items.get(key) or [None] * 4, 2 if isinstance(parent, dict) else 0
        comment = copy.copy(tokens[place])  # with the lines up to the next key
        if comment and last == keys[0]:
            tokens[place] = None
        elif comment:
            own, _, following = comment.value.partition("\n")
            tokens[place].value, comment.value = f"{own}\n", f"\n{following}"
    mapping[keys[0]] = value
    if comment:
        parent, key = _leaf(mapping, keys[0])
        parent.ca.items[key] = [None, None, comment, None]


def _styled(value: Any) -> Any:
    """A value with quotes where they are needed, mappings on lines of their own, and lists on one line."""
    from ruamel.yaml.comments import CommentedMap, CommentedSeq

    if isinstance(value, dict):
        return CommentedMap({_styled(key): _styled(item) for key, item in value.items()})
    if isinstance(value, (list, tuple)):
        value = CommentedSeq(map(_styled, value))
        value.fa.set_flow_style()
    return _quoted(value) if isinstance(value, str) else value


def _quoted(text: str) -> str:
    """A text that ruamel.yaml writes so that it can be read again; its plain style fails for ':a' and line breaks."""
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    return text if re.fullmatch(r"[\w/][\w ./-]*", text, re.ASCII) else DoubleQuotedScalarString(text)


def _leaf(parent: Any, key: Any) -> tuple[Any, Any]:
    """The last value inside a value that begins on lines of its own, as its parent and its key there."""
    while isinstance(parent[key], (dict, list)) and parent[key] and not parent[key].fa.flow_style():
        parent = parent[key]
        key = next(reversed(parent)) if isinstance(parent, dict) else len(parent) - 1
    return parent, key
