"""How ``pvlr`` parses and documents its commands, and the packages of the extras that some commands need."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from typer.core import TyperCommand, TyperGroup, TyperOption

from .. import errors


class _PlainFlags:
    """Shows a flag such as ``--json`` without the type of a value."""

    def get_params(self, ctx: Any) -> Any:
        params = super().get_params(ctx)  # type: ignore[misc]
        for param in params:
            if getattr(param, "is_flag", False):
                param.metavar = ""
        return params


class Command(_PlainFlags, TyperCommand):
    """One command. An option whose metavar is in brackets may stand without its value, which is then ""."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = [param for param in self.get_params(ctx) if isinstance(param, TyperOption)]
        optional = {
            name
            for option in options
            if re.fullmatch(r"\[.*\]", option.metavar or "")
            for name in option.opts
        }
        for place, arg in enumerate(args):
            if arg in optional and all(
                following.startswith("-") for following in args[place + 1 : place + 2]
            ):
                args[place] = f"{arg}="
        valued = {
            name for option in options if not option.is_flag for name in option.opts
        } - optional
        pairs = [*pairwise(args), *(arg.partition("=")[::2] for arg in args if "=" in arg)]
        # as a path, the current folder
        if empty := [name for name, value in pairs if name in valued and not value]:
            raise errors.OptionError(
                empty[0], "a value", "an empty string", "Check that the shell variable is set."
            )
        return super().parse_args(ctx, args)


class Group(_PlainFlags, TyperGroup):
    """A command with subcommands."""


@contextmanager
def training_packages(command: str) -> Iterator[None]:
    """Within it, a package of the extra ``[train]`` that is not installed is a MissingPartError."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise errors.MissingPartError(
            f"pvlr {command}",
            "the training package",
            f"no module {error.name!r}",
            errors.install_hint("train"),
        ) from error


def training_module(command: str, module: str) -> Any:
    """A module of pvlr_training for a command. Raises MissingPartError if one of its packages is not installed."""
    with training_packages(command):
        return importlib.import_module(f"pvlr_training.{module}")
