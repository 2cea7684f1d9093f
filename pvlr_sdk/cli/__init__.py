"""The command ``pvlr``. Each command imports what it needs when it runs, so that ``pvlr --help`` is instant."""

from __future__ import annotations

import sys

import typer

from .. import __version__, errors
from . import bench, bundles, calibrate, evaluate, machine, serve, tag, training, verify, watch

EPILOG = "Exit status: 0 all went well, 2 something is wrong (one message on stderr says what), 130 interrupted."

app = typer.Typer(
    name="pvlr",
    help="Tag photos and videos, and build the plans that do it.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pvlr {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


for module in (tag, watch, serve, bundles, evaluate, verify, calibrate, bench, machine, training):
    module.register(app)


def main() -> None:
    """Run the command line: the entry point of ``pvlr``."""
    for stream in (sys.stdout, sys.stderr):
        # A file name that the terminal's encoding lacks must not end a run over a thousand photos, and whoever reads
        # from a pipe wants each line when it is known.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        app(prog_name="pvlr")
    except errors.PvlrError as error:
        from .screen import complain

        complain(error)
        sys.exit(2)
