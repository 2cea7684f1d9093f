"""Secrets stay out of the configuration file: ``$NAME`` in a text is an environment variable."""

from __future__ import annotations

import os
import re
from typing import Any

from ..errors import ConfigError

_VARIABLE = re.compile(r"\$(?:\$|([A-Za-z_]\w*)|\{([A-Za-z_]\w*)\})")


def expand(value: Any, key: str) -> Any:
    """A copy of nested mappings and lists whose texts have ``$NAME`` and ``${NAME}`` replaced; ``$$`` is a dollar.

    Raises:
        ConfigError: there is no such environment variable.
    """
    if isinstance(value, dict):
        return {name: expand(item, f"{key}: {name}") for name, item in value.items()}
    if isinstance(value, list):
        return [expand(item, f"{key}[{position}]") for position, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replaced(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name is None:
            return "$"
        if name not in os.environ:
            raise ConfigError(
                key, expected="an environment variable that is set", got=f"${name}", hint=f"export {name}=... first."
            )
        return os.environ[name]

    return _VARIABLE.sub(replaced, value)
