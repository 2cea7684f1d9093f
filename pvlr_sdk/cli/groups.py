"""How ``pvlr`` parses and documents its commands: flags without a type, and an error for each name of version 0.1."""

from __future__ import annotations

import re
from typing import Any

from typer.core import TyperCommand, TyperGroup

from .. import errors

_RENAMED = {  # a pattern on the command line, one argument per line -> the old and the new name
    r"calibrate$": ("pvlr calibrate", "pvlr thresholds"),
    r"(build|export)$.*^--calibrate(=|$)": ("--calibrate", "--calibration-images"),
    r"(build|export)$.*^--truth(=|$)": ("--truth", "--labels"),
    r"build$.*^--labels[=\n][^\n]*\.safetensors$": ("--labels", "--bank for a label bank"),
}


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
        """Parse the arguments of the command line."""
        params = [param for param in self.get_params(ctx) if re.fullmatch(r"\[.*\]", param.metavar or "")]
        optional = {name for param in params for name in param.opts}
        for place, arg in enumerate(args):
            if arg in optional and all(following.startswith("-") for following in args[place + 1 : place + 2]):
                args[place] = f"{arg}="
        return super().parse_args(ctx, args)


class Group(_PlainFlags, TyperGroup):
    """A command with subcommands."""


class Commands(Group):
    """All commands."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command.

        Raises:
            OptionError: the command or an option was renamed.
        """
        if args[:2] == ["export", "triton"]:
            args = ["export-triton", *args[2:]]
        for pattern, (old, new) in _RENAMED.items():
            if re.match(pattern, "\n".join(args), re.MULTILINE | re.DOTALL):
                raise errors.OptionError(old, expected=new, got="the old name", hint="Version 0.2.0 renamed it.")
        return super().resolve_command(ctx, args)
