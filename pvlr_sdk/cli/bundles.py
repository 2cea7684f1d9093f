"""``pvlr build``, ``info`` and ``labels``: make a plan, and look into one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import errors
from .options import JsonOption, PlanArgument

if TYPE_CHECKING:
    from ..bundle import Bundle
    from ..precision import Photos

_TENSORRT = "TensorRT"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command(name="build", no_args_is_help=True)(build)
    app.command(name="info")(info)
    app.command(name="labels")(labels)


def build(
    onnx: Annotated[Path, typer.Argument(metavar="MODEL.onnx", help="The network that `pvlr export` wrote.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="PLAN", help="The plan to write; by default engine.plan beside the model."),
    ] = None,
    bank: Annotated[
        Path | None,
        typer.Option(
            "--labels", metavar="FILE", help="The label bank; by default MODEL.labels.safetensors beside the model."
        ),
    ] = None,
    device: Annotated[str, typer.Option(help="What the plan is for: cpu, or tensorrt for this machine's GPU.")] = "cpu",
    precision: Annotated[
        str, typer.Option(help="What it runs in: auto, fp32, bf16 or int8; with TensorRT fp16 too.")
    ] = "auto",
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
            help="The share of photos that must keep the tags of fp32, or no plan: 0.9, or 0.98 for TensorRT in fp16."
        ),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            metavar="LEAST:USUAL:MOST",
            help="Batches that the plan takes; by default 1:1:8, with --dla 1.",
            rich_help_panel=_TENSORRT,
        ),
    ] = None,
    attention: Annotated[
        str,
        typer.Option(
            help="native, fused (our plugin), or auto: the faster one that keeps the tags.", rich_help_panel=_TENSORRT
        ),
    ] = "auto",
    workspace: Annotated[
        int | None,
        typer.Option(metavar="MIB", help="Scratch memory of a layer; by default any.", rich_help_panel=_TENSORRT),
    ] = None,
    hardware: Annotated[
        str,
        typer.Option(
            help="GPUs it runs on: this model, all of its compute capability, or ampere+.", rich_help_panel=_TENSORRT
        ),
    ] = "this",
    version_compatible: Annotated[
        bool,
        typer.Option(
            "--version-compatible",
            help="Newer TensorRT runs it too, with this one's lean runtime.",
            rich_help_panel=_TENSORRT,
        ),
    ] = False,
    dla: Annotated[
        int | None,
        typer.Option(metavar="CORE", help="Use this DLA core of a Jetson; int8 or fp16.", rich_help_panel=_TENSORRT),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Keep all of TensorRT's messages in the log.", rich_help_panel=_TENSORRT)
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Build a plan from an exported network and its label bank.

    Writes three files: the plan, its manifest (.json) and its label bank (.labels.safetensors). Keep them together.

    A plan for TensorRT is for the GPU that it is built on; TensorRT's log goes beside it, as .build.log. Ctrl-C leaves
    nothing behind.

    With --calibrate, every precision is held against fp32 on photos that the quantisation did not see; auto then takes
    the fastest on this machine that passes. int8 needs the extra \\[int8].

    \b
    [bold]Examples[/bold]
    pvlr build model.onnx
    pvlr build model.onnx --out plans/engine.plan --precision fp32
    pvlr build model.onnx --precision int8 --calibrate photos/
    pvlr build model.onnx --calibrate photos/ --truth labels.csv --split train
    pvlr build model.onnx --device tensorrt --batch 1:1:8 --calibrate photos/
    """
    from ..build import build as build_plan
    from ..tensorrt.options import Batch, BuildOptions
    from .phases import Phases
    from .screen import print_json

    photos = photos_for(calibrate, truth, split, bank or onnx.with_suffix(".labels.safetensors"))
    plan = out or onnx.with_name("engine.plan")
    batches = Batch.parse(batch or ("1:1:8" if dla is None else "1"))
    options = BuildOptions(batches, attention, workspace, hardware, version_compatible, dla, verbose)
    with Phases() as phases:
        build_plan(
            onnx,
            plan,
            device=device,
            precision=precision,
            labels=bank,
            photos=photos,
            min_agreement=min_agreement,
            options=options,
            watcher=phases,
        )
    _print_info(_facts(plan), print_json if as_json else None)


def info(plan: PlanArgument = None, as_json: JsonOption = False) -> None:
    """Check a plan's files and say what it is.

    \b
    [bold]Examples[/bold]
    pvlr info
    pvlr info plans/engine.plan --json
    """
    from .screen import print_json

    _print_info(_facts(plan), print_json if as_json else None)


def labels(plan: PlanArgument = None, as_json: JsonOption = False) -> None:
    """List a plan's labels and thresholds.

    In a pipe: one label a line, a tab, its threshold.

    \b
    [bold]Examples[/bold]
    pvlr labels
    pvlr labels engine.plan | cut -f1
    """
    from .screen import print_facts, print_json

    manifest = _open(plan).manifest
    if as_json:
        print_json([{"label": label.name, "threshold": label.threshold} for label in manifest.labels])
    elif sys.stdout.isatty():
        print_facts(manifest.name, ((label.name, f"{label.threshold:.3f}") for label in manifest.labels))
    else:
        for label in manifest.labels:
            print(f"{label.name}\t{label.threshold}")


def photos_for(folder: Path | None, truth: Path | None, split: str | None, bank: Path) -> Photos | None:
    """What --calibrate, --truth and --split name.

    Raises:
        OptionError: --truth without --calibrate.
    """
    if truth is not None and folder is None:
        raise errors.OptionError("--truth", expected="--calibrate too", got="--truth alone", hint="Name the folder.")
    if folder is None:
        return None
    from ..labels import LabelBank
    from ..labels_csv import read_labels
    from ..precision import Photos

    if truth is None:
        return Photos.below(folder)
    return Photos.listed(folder, read_labels(truth, split, LabelBank.load(bank).names))


def _open(plan: Path | None) -> Bundle:
    from ..bundle import Bundle, default_plan

    return Bundle.open(plan or default_plan())


def _facts(plan: Path | None) -> dict[str, Any]:
    """The manifest as JSON values, without the golden picture, and with the plan's path."""
    bundle = _open(plan)
    return {"plan": str(bundle.path), **bundle.manifest.model_dump(mode="json", exclude={"golden"})}


def _print_info(facts: dict[str, Any], as_json: Any) -> None:
    from .screen import print_facts

    if as_json:
        as_json(facts)
        return
    names = [label["name"] for label in facts["labels"]]
    size, grid = facts["input"], facts["attention"]
    rows = [
        ("plan", facts["plan"]),
        ("runs on", f"{facts['backend']}, precision {facts['precision']}"),
        ("input", f"{size['width']} x {size['height']}, {size['resize']}"),
        ("attention", f"{grid['rows']} x {grid['columns']}"),
        ("labels", f"{len(names)}: {', '.join(names[:6])}{', ...' if len(names) > 6 else ''}"),
        *((f"file {role}", f"{file['bytes']:,} bytes, SHA-256 verified") for role, file in facts["files"].items()),
        *((f"built: {key}", value) for key, value in facts["built"].items() if value),
        *((f"measured: {key}", value) for key, value in facts["measured"].items() if key != "precisions"),
        *((f"measured: {key}", _agreement(v)) for key, v in facts["measured"].get("precisions", {}).items()),
    ]
    print_facts(facts["name"], rows)


def _agreement(figures: dict[str, Any]) -> str:
    accuracy = f", mAP {figures['mAP']:.2f}" if "mAP" in figures else ""
    share = f"{100 * figures['tag_sets']:.1f} % of {figures['photos']} photos"
    return f"{figures['inference_ms']:.2f} ms, the tags of fp32 on {share}{accuracy}"
