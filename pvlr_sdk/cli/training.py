"""``pvlr train``, ``export`` and ``report``: thin doors to pvlr_training, which only the extra [train] installs."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import errors
from .options import JsonOption


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="train", no_args_is_help=True)(train)
    app.command(name="export", no_args_is_help=True)(export)
    app.command(name="report", no_args_is_help=True)(report)


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
    folder = _training("train").train(config, overrides or [], out=out, resume=resume, dry_run=dry_run)
    if not dry_run:
        print(folder)


def export(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|MODEL.onnx",
            help="The folder that `pvlr train` wrote, or what `export` made of it, or a CPU's plan in fp32.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Where the networks and label banks go; by default beside RUN."
        ),
    ] = None,
    precision: Annotated[
        str, typer.Option(help="What the graph computes in: fp32 or, for TensorRT, fp16, bf16, int8.")
    ] = "fp32",
    attention: Annotated[
        str, typer.Option(help="native: ONNX operators; fused: one node for TensorRT's plugin.")
    ] = "native",
    calibrate: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Some hundred typical photos: int8 needs them, and they show what it costs."),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(metavar="CSV", help="What those photos show, as for `pvlr eval`: measures the mAP as well."),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only the rows of this split of the CSV.")] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="The share of photos that must keep the tags of fp32; by default 0.98, int8 0.9."
        ),
    ] = None,
) -> None:
    """Write a trained model as ONNX network and label bank, ready for `pvlr build`.

    A RUN needs the extra \\[train]; a MODEL.onnx in fp32 can be written in another precision without it. For a CPU
    leave it in fp32, `pvlr build` chooses the precision itself; TensorRT takes it from the network. What is not in fp32
    is held against fp32 before it is written.

    \b
    [bold]Examples[/bold]
    pvlr export runs/my-photos
    pvlr export runs/my-photos --precision fp16
    pvlr export model.onnx --precision int8 --calibrate photos/
    """
    from ..backends import check_choice
    from ..graph import ATTENTIONS, PRECISIONS, export_as
    from .bundles import photos_for
    from .screen import note

    check_choice("--precision", precision, PRECISIONS)
    check_choice("--attention", attention, ATTENTIONS)
    if out is not None and out.suffix == ".onnx":
        raise errors.OptionError("--out", expected="a folder", got=f"{out}", hint="The network there is model.onnx.")
    if run.suffix in (".onnx", ".plan"):
        network = run
        if (precision, attention) == ("fp32", "native"):
            raise errors.OptionError(
                "--precision",
                expected="another one than it has, or --attention fused, for a network that is exported already",
                got="fp32 and native attention",
                hint=f"pvlr build {run} takes it as it is.",
            )
    else:
        folder = run.parent if run.is_file() else run  # also takes RUN/model.safetensors
        network = _training("export").export(folder, out or folder)
        print(network)
    if (precision, attention) == ("fp32", "native"):
        return
    photos = photos_for(calibrate, truth, split, network.with_suffix(".labels.safetensors"))
    path, agreement = export_as(
        network,
        out or network.parent,
        precision=precision,
        attention=attention,
        photos=photos,
        min_agreement=min_agreement,
    )
    print(path)
    share = f"the tags of fp32 on {100 * agreement.tag_sets:.1f} % of {agreement.photos} pictures"
    accuracy = "" if agreement.mAP is None else f", mAP {agreement.mAP:.2f} (fp32 {agreement.mAP_fp32:.2f})"
    note(f"{precision}: {share}, largest logit difference {agreement.largest_logit_difference:.3f}{accuracy}")


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `pvlr train` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="HTML", help="The page.")] = Path("report.html"),
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Measure on these photos (with --labels).", show_default=False)
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Which labels are in which photo.", show_default=False)
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Measure on this split: of the CSV, or else of the run's own data.")
    ] = None,
    mistakes: Annotated[
        int, typer.Option(metavar="N", help="Photos of each kind of mistake to show; 0 leaves photos out.")
    ] = 12,
    as_json: JsonOption = False,
) -> None:
    """Write one HTML page about trained runs (needs the extra \\[train]).

    How good they are for each label, their precision-recall and learning curves, what they confuse, their worst
    mistakes. Each run is measured on the photos that it held out of its training; what it says of them is kept beside
    it, so that the next report is instant. The page loads nothing from anywhere; its photos are inside it.

    \b
    [bold]Examples[/bold]
    pvlr report runs/my-photos
    pvlr report runs/a runs/b -o compared.html --images photos/ --labels labels.csv --split val
    pvlr report runs/my-photos --mistakes 0 --json > figures.json
    """
    page = _training("report").report(runs, out, images=images, labels=labels, split=split, mistakes=mistakes)
    if as_json:
        from .screen import print_json

        print_json(page)
    else:
        print(out)


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
