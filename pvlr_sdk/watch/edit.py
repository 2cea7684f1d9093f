"""Changes keys of a site file in place: comments, order and all other text stay as they are."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .._util.files import read_file
from ..errors import ConfigError
from .yaml_file import MAX_BYTES, read_yaml


def edited(path: Path, changes: Mapping[tuple[str, ...], Any]) -> bytes:
    """The text of a YAML file with some values set.

    Args:
        path: the site file.
        changes: the keys that lead to a value, such as ``("events", "thresholds", "car")``, and the value.

    Raises:
        ConfigError: the file is invalid, the text would exceed the limits of one, or its structure (an alias, a merge
            key) allows no change in place.
    """
    wanted, text = read_yaml(path), read_file(path, MAX_BYTES).decode()
    for keys, value in changes.items():
        text = _set(text, keys, value)
        wanted = _with(wanted, keys, value)
        if _load(text) != wanted:
            hint = f"Set {'.'.join(keys)} by hand, without anchors, aliases and merge keys."
            raise ConfigError(str(path), expected="plain keys, to change them", got="another structure", hint=hint)
    data = text.encode()
    if len(data) > MAX_BYTES:
        hint = "Remove settings that are no longer needed."
        raise ConfigError(str(path), expected=f"at most {MAX_BYTES} bytes", got=f"{len(data)} bytes", hint=hint)
    return data


def _with(raw: Any, keys: tuple[str, ...], value: Any) -> Any:
    """A copy of nested mappings with one value set."""
    if not keys:
        return value
    mapping = raw if isinstance(raw, dict) else {}
    return {**mapping, keys[0]: _with(mapping.get(keys[0]), keys[1:], value)}


def _load(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return None


def _set(text: str, keys: tuple[str, ...], value: Any) -> str:
    """The text with one value set; ``edited`` checks the result."""
    import yaml

    node: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    for depth, key in enumerate(keys):
        name, found = next(((name, item) for name, item in node.value if name.value == key), (None, None))
        if name is None or found is None:
            return _insert(text, node, key, _nested(keys[depth + 1 :], value))
        if depth == len(keys) - 1 or not isinstance(found, yaml.MappingNode) or not found.value:
            start, end = found.start_mark.index, _end(found)
            gap = text[name.end_mark.index : start]  # a colon and spaces, or the line break before a block
            gap = ": " if gap.strip() == ":" else f"{gap}  "
            return f"{text[: name.end_mark.index]}{gap}{_flow(_nested(keys[depth + 1 :], value))}{text[end:]}"
        node = found
    return text


def _insert(text: str, mapping: Any, key: str, value: Any) -> str:
    """The text with a new key at the end of a mapping that is not empty."""
    end = _end(mapping.value[-1][1])
    if mapping.flow_style:
        return f"{text[:end]}, {_flow(key)}: {_flow(value)}{text[end:]}"
    line = text.find("\n", end)
    end = len(text) if line < 0 else line  # after a comment on the last line
    indent = " " * mapping.value[0][0].start_mark.column
    return f"{text[:end]}\n{indent}{_flow(key)}: {_flow(value)}{text[end:]}"


def _nested(keys: tuple[str, ...], value: Any) -> Any:
    for key in reversed(keys):
        value = {key: value}
    return value


def _flow(value: Any) -> str:
    """A value on one line, without quotes around plain words."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_flow(key)}: {_flow(item)}' for key, item in value.items())}}}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_flow, value))}]"
    import yaml

    if isinstance(value, float):
        return yaml.safe_dump(value).partition("\n")[0]  # 1.0e-05: to YAML, the 1e-05 of JSON is a string
    if not isinstance(value, str):
        return json.dumps(value)
    if value.isidentifier() and _load(value) == value:
        return value
    return yaml.safe_dump(value, default_style='"', allow_unicode=True, width=sys.maxsize).rstrip("\n")


def _end(node: Any) -> int:
    """The end of a node's text. The mark of a block includes the comments and blank lines after it."""
    last = node
    while isinstance(last.value, list) and last.value and not last.flow_style:
        last = last.value[-1][1] if isinstance(last.value[-1], tuple) else last.value[-1]
    return int(last.end_mark.index)
