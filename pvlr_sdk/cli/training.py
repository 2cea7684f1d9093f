"""``pvlr train`` and ``export``: thin doors to pvlr_training, which only the extra [train] installs."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import errors


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="train", no_args_is_help=True)(train)
    app.command(name="export", no_args_is_help=True)(export)


def train(
    config: Annotated[Path, typer.Argument(metavar="CONFIG.yaml", help="What to train, on what, and how.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings that replace those of the file."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="The run's folder; by default runs/ and the model's name."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run stopped or was killed.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and train nothing.")] = False,
) -> None:
    """Train a model on labelled photos (needs the extra \\[train]).

    \b
    [bold]Examples[/bold]
    pvlr train my-photos.yaml --dry-run
    pvlr train my-photos.yaml train.finetune.epochs=8
    pvlr train my-photos.yaml --resume
    """
    print(_training("train").train(config, overrides or [], out=out, resume=resume, dry_run=dry_run))


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder that `pvlr train` wrote.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Where model.onnx and its label bank go; by default RUN."),
    ] = None,
) -> None:
    """Write a trained model as ONNX network and label bank, ready for `pvlr build` (needs the extra \\[train]).

    \b
    [bold]Examples[/bold]
    pvlr export runs/my-photos
    pvlr build runs/my-photos/model.onnx --out engine.plan
    """
    if out is not None and out.suffix == ".onnx":
        raise errors.OptionError("--out", expected="a folder", got=f"{out}", hint="The network there is model.onnx.")
    folder = run.parent if run.is_file() else run  # also takes RUN/model.safetensors
    print(_training("export").export(folder, out or folder))


def _training(module: str) -> Any:
    try:
        return importlib.import_module(f"pvlr_training.{module}")
    except ModuleNotFoundError as error:
        raise errors.MissingPartError(
            f"pvlr {module}",
            expected="the training part of the SDK",
            got=f"no module {error.name!r}",
            hint='Install it with pip install "pvlr-sdk[train]", or pip install ".[train]" in the repository.',
        ) from error
