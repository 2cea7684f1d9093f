"""``pvlr train``, ``export`` and ``report``: commands of pvlr_training, which the extra [train] installs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from .. import errors
from ..bundle.schema import ATTENTIONS, PRECISIONS
from . import options
from .completion import words
from .packages import training_module, training_packages

_MAX_LABELS = 128


def train(
    data: Annotated[
        Path, typer.Argument(metavar="IMAGES|CONFIG.yaml", help="A folder of images, or a configuration file.")
    ],
    rest: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="LABELS|KEY=VALUE",
            help="Labels of the images; then settings (KEY=VALUE).",
            show_default="the label file in IMAGES, or its subfolders",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="DIR", help="Folder of the run.", show_default="runs/ and the name"),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A first look: a small network, at most 300 images.")] = False,
    budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Time limit of the whole command, such as 30m, 90s or 2h.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue an interrupted run.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything without training.")] = False,
) -> None:
    """Train a model on labelled images.

    With a folder of images, writes a plan whose thresholds come from the held-out
    images (the split val, or a fifth of the images), and a report. LABELS is a
    CSV with one column per label or a column of tags, COCO JSON, or an export of
    Label Studio or CVAT. The default is the label file in IMAGES; without one,
    each subfolder is a label.

    With a CONFIG.yaml, writes the trained model; export it with `pvlr export`.
    Needs the extra \\[train].

    \b
    [bold]Examples[/bold]
    pvlr train photos/ labels.csv
    pvlr train photos/ --quick
    pvlr train photos/ labels.csv --budget 30m --out runs/longer
    pvlr train my-photos.yaml --dry-run
    pvlr train my-photos.yaml train.finetune.epochs=8 --resume
    """
    overrides = [item for item in rest or [] if "=" in item and not Path(item).exists()]
    files = [Path(item) for item in rest or [] if item not in overrides]
    from_images = data.suffix.lower() not in (".yaml", ".yml")
    minutes = _minutes(budget)
    unused = {"LABELS": files, "--quick": quick, "--budget": budget} if not from_images else {"--dry-run": dry_run}
    if wrong := next((option for option, given in unused.items() if given), None):
        first, other, hint = "a folder", "CONFIG.yaml", "Omit it, or write a configuration."
        if not from_images:
            first, other, hint = "CONFIG.yaml", "a folder of images", "Set the keys of the configuration instead."
        raise errors.OptionError(wrong, expected=f"{other} as the first argument", got=first, hint=hint)
    if len(files) > 1:
        got = f"{len(files)}: {', '.join(map(str, files))}"
        hint = "Join them into one file; settings are written KEY=VALUE."
        raise errors.OptionError("LABELS", expected="one label file", got=got, hint=hint)
    module = training_module("pipeline" if from_images else "train")
    try:
        if not from_images:
            folder = module.train(data, overrides, out=out, resume=resume, dry_run=dry_run)
            if not dry_run:
                print(folder)
            return
        labels = files[0] if files else None
        with training_packages("train"):
            outcome = module.train_images(data, labels, overrides, out=out, quick=quick, budget=minutes, resume=resume)
    except KeyboardInterrupt:
        from .screen import note

        note(training_module("state").interrupted(out or module.default_folder(data)))
        raise typer.Exit(130) from None
    _print_outcome(outcome)


def _minutes(budget: str | None) -> float | None:
    if budget is None:
        return None
    units = {"s": 1 / 60, "m": 1.0, "h": 60.0}
    match = re.fullmatch(r"([0-9]+(?:[.][0-9]+)?) *([smh]?)[a-z]*", budget.strip())
    if match is None or float(match[1]) <= 0:
        hint = "For example --budget 30m."
        raise errors.OptionError("--budget", expected="a time such as 30m, 90s or 2h", got=repr(budget), hint=hint)
    return float(match[1]) * units[match[2] or "m"]


def _print_outcome(outcome: Any) -> None:
    from .screen import decimal, print_facts

    measured, folder = outcome.measured, outcome.folder
    count = len(measured.per_class)
    low, high = measured.mAP_interval or (None, None)
    print_facts(
        f"{folder}: {count} label{'s' * (count != 1)}",
        [
            ("mAP", f"{decimal(measured.mAP)} on {measured.images} held-out images"),
            ("95 % interval", f"{decimal(low)} to {decimal(high)}"),
            ("precision, recall", f"{decimal(measured.OP)}, {decimal(measured.OR)} at the thresholds"),
            ("same tags as fp32", f"{100 * outcome.agreement.tag_sets:.1f} % of {outcome.agreement.photos} images"),
            ("plan", f"{outcome.plan} ({measured.precision})"),
            ("report", outcome.page),
            *(("warning", doubt) for doubt in measured.doubts),
            ("next", f"pvlr tag photo.jpg --plan {outcome.plan}"),
        ],
    )


def export(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|MODEL.onnx",
            help="The folder that `pvlr train` wrote, a network that `pvlr export` wrote, or a CPU plan in fp32.",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="DIR", help="Folder for networks and label banks.", show_default="next to the input"
        ),
    ] = None,
    size: options.Size = None,
    precision: Annotated[
        str,
        typer.Option(
            help="Precision of the network: fp32, or for TensorRT fp16, bf16, int8.", autocompletion=words(*PRECISIONS)
        ),
    ] = "fp32",
    attention: Annotated[
        str,
        typer.Option(
            help="native (ONNX operators) or fused (one node, for the TensorRT plugin).",
            autocompletion=words(*ATTENTIONS),
        ),
    ] = "native",
    open_labels: Annotated[
        bool,
        typer.Option("--open", help="Make the label bank an input that can change while the plan runs."),
    ] = False,
    max_labels: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Room for labels in an open network.", show_default=f"{_MAX_LABELS}"),
    ] = None,
    knowledge: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Photos without labels: also write a knowledge file for an open network."),
    ] = None,
    calibration_images: options.CalibrationImages = None,
    labels: options.OptionalLabels = None,
    split: options.Split = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="Minimum share of images with the same tags as fp32; below it no network is written.",
            show_default="0.98; 0.9 for int8",
        ),
    ] = None,
) -> None:
    """Export a trained model as an ONNX network.

    Writes the network and its label bank, ready for `pvlr build`. A RUN needs the
    extra \\[train]; int8, or converting a MODEL.onnx, needs \\[int8]. Keep fp32
    for a CPU: `pvlr build` selects the precision. TensorRT uses the precision of
    the network. A converted network is compared with fp32 before it is written.

    --size exports the network of a RUN for another input size than that of
    training, as model-SIZE.onnx. Choose its thresholds with `pvlr thresholds`
    after the build.

    \b
    [bold]Examples[/bold]
    pvlr export runs/my-photos
    pvlr export runs/my-photos --precision fp16
    pvlr export runs/my-photos --size 224
    pvlr export runs/my-photos --open --max-labels 128
    pvlr export runs/my-photos --open --knowledge photos/
    pvlr export model.onnx --precision int8 --calibration-images photos/
    """
    from ..compile.export import export_as
    from ..compile.onnx.quantize import check_nncf
    from ..errors import check_choice
    from .build import images_for
    from .screen import note
    from .sizes import parse_sizes, run_folder

    check_choice("--precision", precision, PRECISIONS)
    check_choice("--attention", attention, ATTENTIONS)
    if precision == "int8":
        check_nncf()
    if out is not None and out.suffix == ".onnx":
        raise errors.OptionError(
            "--out", expected="a folder", got=f"{out}", hint="The folder contains the network as model.onnx."
        )
    sizes = parse_sizes(size)
    if len(sizes) > 1:
        raise errors.OptionError("--size", expected="one size", got=f"{size!r}", hint="Export each size by itself.")
    if sizes:
        run = run_folder(run)
    given = {"--max-labels": max_labels, "--knowledge": knowledge}
    if not open_labels and (unused := next((option for option, value in given.items() if value is not None), None)):
        raise errors.OptionError(unused, expected="--open", got="a closed network", hint="Add --open.")
    if open_labels and (run.suffix in (".onnx", ".plan") or (precision, attention) != ("fp32", "native")):
        got = f"{run} in {precision} with {attention} attention"
        hint = "Name the folder that pvlr train wrote, and omit --precision and --attention."
        raise errors.OptionError("--open", expected="a RUN in fp32 with native attention", got=got, hint=hint)
    if run.suffix in (".onnx", ".plan"):
        network = run
        if (precision, attention) == ("fp32", "native"):
            raise errors.OptionError(
                "--precision",
                expected="another precision, or --attention fused, for a network that is exported already",
                got="fp32 and native attention",
                hint=f"To build a plan from it, run pvlr build {run}.",
            )
    else:
        folder = run.parent if run.is_file() else run  # also takes RUN/model.safetensors
        room = (max_labels or _MAX_LABELS) if open_labels else None
        network = training_module("export").export(folder, out or folder, *sizes, max_labels=room)
        print(network)
        if knowledge is not None:
            print(training_module("concepts").learn(folder, network, knowledge, *sizes))
    if (precision, attention) == ("fp32", "native"):
        return
    images = images_for(calibration_images, labels, split, network.with_suffix(".labels.safetensors"))
    path, agreement = export_as(
        network,
        out or network.parent,
        precision=precision,
        attention=attention,
        calibration_images=images,
        min_agreement=min_agreement,
    )
    print(path)
    share = f"same tags as fp32 on {100 * agreement.tag_sets:.1f} % of {agreement.photos} images"
    accuracy = "" if agreement.mAP is None else f", mAP {agreement.mAP:.2f} (fp32 {agreement.mAP_fp32:.2f})"
    note(f"{precision}: {share}, largest logit difference {agreement.largest_logit_difference:.3f}{accuracy}")


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders that `pvlr train` wrote.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="HTML", help="The page to write.")] = Path("report.html"),
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the images to measure on; needs --labels.")
    ] = None,
    labels: Annotated[Path | None, typer.Option(metavar="CSV", help="Labels of each image; needs --images.")] = None,
    split: Annotated[
        str | None, typer.Option(metavar="NAME", help="Measure on this split, of the CSV or of the run's own data.")
    ] = None,
    mistakes: Annotated[
        int, typer.Option(metavar="N", help="Images to show per kind of mistake; 0 shows no images.")
    ] = 12,
    as_json: options.Json = False,
) -> None:
    """Write an HTML report about trained runs.

    Shows accuracy per label, precision-recall and learning curves, confusions and
    the worst mistakes. Each run is measured on the images held out of its
    training, and the results are cached next to it. The page is self-contained.
    Needs the extra \\[train].

    \b
    [bold]Examples[/bold]
    pvlr report runs/my-photos
    pvlr report runs/a runs/b -o compared.html
    pvlr report runs/my-photos --mistakes 0 --json > report.json
    """
    page = training_module("report").report(runs, out, images=images, labels=labels, split=split, mistakes=mistakes)
    if as_json:
        from .screen import print_json

        print_json(page)
    else:
        print(out)
