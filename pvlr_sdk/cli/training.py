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
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and train nothing.")] = False,
) -> None:
    """Train a model on labelled photos (needs the extra \\[train]).

    \b
    [bold]Examples[/bold]
    pvlr train my-photos.yaml --dry-run
    pvlr train my-photos.yaml epochs=10 batch_size=16
    """
    _training("train").train(config, overrides or [], resume, dry_run)


def export(
    checkpoint: Annotated[Path, typer.Argument(metavar="CHECKPOINT", help="What `pvlr train` wrote.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="MODEL.onnx", help="By default model.onnx beside the checkpoint."),
    ] = None,
) -> None:
    """Write a trained model as ONNX network and label bank, ready for `pvlr build` (needs the extra \\[train]).

    \b
    [bold]Examples[/bold]
    pvlr export runs/my-photos/best.safetensors --out model.onnx
    pvlr build model.onnx --out engine.plan
    """
    written = _training("export").export(checkpoint, out or checkpoint.with_name("model.onnx"))
    print(written)


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
