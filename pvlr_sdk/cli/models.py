"""``pvlr models``: the models that can be used by name."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any

import typer
from typer import Argument

from . import options
from .commands import Command, Group

if TYPE_CHECKING:
    from ..models.catalogue import Model

app = typer.Typer(cls=Group, invoke_without_command=True, rich_markup_mode="rich")


@app.callback()
def models(context: typer.Context, as_json: options.Json = False) -> None:
    """List the models that can be used by name, or download one.

    The name of a model that is here works wherever a plan is expected. The mAP is
    in percent, measured on images that the model was not trained on.

    \b
    [bold]Examples[/bold]
    pvlr models
    pvlr models --json
    pvlr tag photo.jpg --plan pvlr-lite0-open
    """
    if context.invoked_subcommand is not None:
        return
    from ..models.catalogue import catalogue, locate, models_url
    from .screen import note, print_json

    rows = [(model, *(locate(model) or ("absent", None))) for model in catalogue().models]
    if as_json:
        print_json(
            [
                {
                    **model.model_dump(mode="json"),
                    "bytes": model.bytes,
                    "where": where,
                    "plan": plan and str(plan),
                }
                for model, where, plan in rows
            ]
        )
        return
    _print([(model, where) for model, where, _ in rows])
    if any(where == "absent" for _, where, _ in rows):
        note(
            "pvlr models fetch NAME downloads an absent model."
            if models_url()
            else "an absent model is in models/ of a clone of the repository: give that path"
        )


@app.command(cls=Command, no_args_is_help=True)
def fetch(
    names: list[str] = Argument(
        ..., metavar="NAME", help="Models to download.", autocompletion=options.models
    ),
) -> None:
    """Download models into the cache of this user, and print their plans.

    The size and SHA-256 of every file are verified before it is written. A model
    that is installed already is not downloaded again. PVLR_MODELS_URL is the
    address to download from, which this version has no default of; PVLR_CACHE_DIR
    is the folder.

    \b
    [bold]Example[/bold]
    PVLR_MODELS_URL=https://example.org/models pvlr models fetch pvlr-lite0-open
    """
    from ..models.catalogue import catalogue
    from ..models.fetch import fetch as download

    sizes = {model.name: model.bytes for model in catalogue().models}
    for name in names:
        if not sys.stderr.isatty():
            print(download(name))
            continue
        from rich import progress
        from rich.console import Console

        columns = (
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(None),
            progress.DownloadColumn(),
            progress.TimeRemainingColumn(),
        )
        with progress.Progress(
            *columns, console=Console(stderr=True), transient=True, redirect_stdout=False
        ) as bar:
            task = bar.add_task(name, total=sizes.get(name))
            plan = download(name, partial(bar.advance, task))
        print(plan)


def _print(rows: list[tuple[Model, str]]) -> None:
    from rich.table import Table

    from .screen import console

    timed = any(model.ms is not None for model, _ in rows)
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    right: dict[str, Any] = {"justify": "right", "no_wrap": True}
    table.add_column("Model", no_wrap=True)
    for heading in ("Labels", "Input", "MB", "mAP", *(["ms"] if timed else [])):
        table.add_column(heading, **right)
    for heading in ("Trained on", "Licence", "Where"):
        table.add_column(heading)
    for model, where in rows:
        width, height = model.input
        table.add_row(
            model.name,
            f"{model.labels} {model.label_set}",
            f"{width}" if width == height else f"{width}x{height}",
            f"{model.bytes / 1e6:.1f}",
            f"{model.accuracy[0].mAP:.1f}",
            *(["-" if model.ms is None else f"{model.ms:.1f}"] if timed else []),
            model.trained_on,
            model.licence,
            where,
        )
    console().print(table)
