"""Packages of the extras, imported by the commands that need them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .. import errors


@contextmanager
def training_packages(command: str) -> Iterator[None]:
    """Within it, a package of the extra ``[train]`` that is not installed is a MissingPartError."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise errors.MissingPartError(
            f"pvlr {command}",
            expected="the training package of the SDK",
            got=f"no module {error.name!r}",
            hint=errors.install_hint("train"),
        ) from error


def training_module(module: str) -> Any:
    """A module of pvlr_training. Raises MissingPartError if one of its packages is not installed."""
    with training_packages(module):
        return importlib.import_module(f"pvlr_training.{module}")
