"""The data that benchmarks of accuracy measure on, below $PVLR_DATA."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from pvlr_sdk import errors

Plan = Annotated[
    str | None, typer.Option(help="Plan, or the name of a model. Default: the bundled model.")
]
Data = Annotated[Path | None, typer.Option(help="Folder with video/. Default: $PVLR_DATA.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads of the engine. Default: all cores.")
]


def data_folder(given: Path | None) -> Path:
    """The folder of the data sets. Raises OptionError if there is none."""
    folder = given or os.environ.get("PVLR_DATA")
    if not folder or not Path(folder).is_dir():
        raise errors.OptionError(
            "--data",
            "a folder with video/",
            repr(str(folder)) if folder else "none",
            "Give --data, or set PVLR_DATA.",
        )
    return Path(folder)


def check_outputs(*paths: Path | None) -> None:
    """Before a long run: the folders of its files exist. Raises OptionError."""
    for path in paths:
        if path and not path.absolute().parent.is_dir():
            raise errors.OptionError(
                str(path), "a file in a folder that exists", "no such folder", "Create it first."
            )
