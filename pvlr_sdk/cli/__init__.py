"""The command ``pvlr``. Each command imports what it needs when it runs, so that ``pvlr --help`` is instant."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable

import typer
from typer import Option

from .. import errors
from .._util.version import __version__
from .bank import app as bank
from .bank import words
from .batch import batch
from .bench import bench
from .build import build
from .check_labels import check_labels
from .commands import Command, Group, flattened
from .deploy import deploy
from .doctor import doctor
from .evaluate import evaluate
from .export import (
    export,
    export_deepstream,
    export_hub,
    export_labels,
    export_openvino,
    export_triton,
)
from .frigate import frigate
from .info import info, labels
from .mine import mine
from .models import app as models
from .names import names
from .precision import precision
from .remember import replay, why
from .search import search
from .serve import serve
from .sign import sign, verify_signature
from .state import state
from .tag import tag
from .teach import teach
from .thresholds import thresholds
from .train import report, train
from .verify import verify
from .watch import watch
from .xmp import xmp

EPILOG = (
    "A label of your own: [bold]--words[/bold] for a common noun, [bold]teach[/bold] for ten photos, "
    "[bold]train[/bold] for hundreds (docs/labels.md says when). "
    "Exit status: 0 success; 1 a measurement misses its limit (verify); 2 an error, with one message on stderr; "
    "130 interrupted."
)
_LABELS = "Labels of your own"
_PLANS = "Models and plans"
_COMMANDS: dict[str, tuple[Callable[..., None], ...]] = {
    "Images and cameras": (tag, batch, watch, serve),
    "Remembered events": (search, why, replay, precision),
    _LABELS: (words, teach, mine, check_labels, names),
    "Train": (train, report, export),
    _PLANS: (build, info, labels, deploy, state, sign, verify_signature),
    "Measure": (doctor, bench, evaluate, verify, thresholds),
    "Other programs": (
        export_labels,
        export_triton,
        export_openvino,
        export_deepstream,
        export_hub,
        xmp,
        frigate,
    ),
}
_NO_OUTPUT = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NEED_NO_ARGUMENT = (serve, info, labels, bench, doctor)

app = typer.Typer(
    name="pvlr",
    cls=Group,
    help="Tag images, videos and cameras, and build the plans that do it.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for panel, commands in _COMMANDS.items():
    for command in commands:
        name = "eval" if command is evaluate else command.__name__.replace("_", "-")
        needed = command not in _NEED_NO_ARGUMENT
        register = app.command(
            name=name, cls=Command, no_args_is_help=needed, rich_help_panel=panel
        )
        register(flattened(command))
app.add_typer(models, name="models", rich_help_panel=_PLANS)
app.add_typer(bank, name="bank", rich_help_panel=_LABELS)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pvlr {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


def main() -> None:
    """Run the command line: the entry point of ``pvlr``."""
    # An image that OpenCV cannot decode is our error, which names the file. It reads this when it is imported.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
    for stream in (sys.stdout, sys.stderr):
        # A file name that the terminal's encoding cannot show must not end a run over thousands of images, and a reader
        # of a pipe needs each line as soon as it is complete.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace", line_buffering=True)
    try:
        try:
            app(prog_name="pvlr")
        finally:
            sys.stdout.flush()
    except errors.PvlrError as error:
        _fail(error)
    except OSError as error:
        if error.errno not in _NO_OUTPUT:
            raise
        # Nothing that is still buffered can be written either: Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        hint = "Free some space, or write to another file; the output is incomplete."
        _fail(errors.OutputError("stdout", "space for the output", os.strerror(error.errno), hint))


def _fail(error: errors.PvlrError) -> None:
    from .screen import complain

    complain(error)
    sys.exit(2)
