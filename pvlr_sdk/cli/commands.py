"""How ``pvlr`` parses and documents its commands, and the packages of the extras that some commands need."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from itertools import pairwise, zip_longest
from typing import Any, get_type_hints

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
        optional = _names(option for option in options if _may_be_empty(option))
        valued = _names(option for option in options if not option.is_flag) - optional
        args = _with_empty_values(args, optional)
        _check_values(args, valued)
        return super().parse_args(ctx, args)


def _names(options: Iterable[TyperOption]) -> set[str]:
    return {name for option in options for name in option.opts}


def _may_be_empty(option: TyperOption) -> bool:
    return re.fullmatch(r"\[.*\]", option.metavar or "") is not None


def _with_empty_values(args: list[str], optional: set[str]) -> list[str]:
    """The arguments; an option that stands without its value has an empty one."""
    return [
        f"{arg}=" if arg in optional and (following is None or following.startswith("-")) else arg
        for arg, following in zip_longest(args, args[1:])
    ]


def _check_values(args: list[str], valued: set[str]) -> None:
    """Raises OptionError for an empty value, which as a path would be the current folder."""
    pairs = [*pairwise(args), *(arg.partition("=")[::2] for arg in args if "=" in arg)]
    for name, value in pairs:
        if name in valued and not value:
            raise errors.OptionError(
                name, "a value", "an empty string", "Check that the shell variable is set."
            )


class Group(_PlainFlags, TyperGroup):
    """A command with subcommands."""


def flattened(command: Callable[..., None]) -> Callable[..., None]:
    """The command as typer reads it: in place of a parameter whose type is a dataclass, it has the dataclass's fields.

    The command itself receives the dataclass. In this way commands share groups of options.
    """
    groups: dict[str, Any] = {}
    parameters: list[Parameter] = []
    for name, parameter in signature(command, eval_str=True).parameters.items():
        if is_dataclass(parameter.annotation):
            groups[name] = parameter.annotation
            parameters += _fields_of(parameter.annotation)
        else:
            parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))

    @wraps(command)
    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    # typer reads these two.
    run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _fields_of(group: Any) -> list[Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        Parameter(
            field.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]


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
