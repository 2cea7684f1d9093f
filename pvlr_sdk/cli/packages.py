"""Packages of the extras, imported by the commands that need them."""

from __future__ import annotations

import importlib
from typing import Any

from .. import errors


def training_module(module: str) -> Any:
    """A module of pvlr_training. Raises MissingPartError if one of its packages is not installed."""
    try:
        return importlib.import_module(f"pvlr_training.{module}")
    except ModuleNotFoundError as error:
        raise errors.MissingPartError(
            f"pvlr {module}",
            expected="the training package of the SDK",
            got=f"no module {error.name!r}",
            hint=errors.install_hint("train"),
        ) from error
