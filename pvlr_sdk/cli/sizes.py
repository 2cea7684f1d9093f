"""``--size`` of ``pvlr export`` and ``pvlr build``: networks of one run at several input sizes."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from .. import errors
from .commands import training_module

_LOSS = 0.3
"""The mAP in percent that a smaller input may lose."""
_LARGEST = 8192


def parse_sizes(text: str | None) -> list[tuple[int, int]]:
    """``224,320x192`` as (width, height) in pixels; raises OptionError for anything else."""
    sizes = []
    for part in [] if text is None else text.split(","):
        match = re.fullmatch(r"([0-9]{1,5})(?:x([0-9]{1,5}))?", part.strip())
        size = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if not 0 < min(size) <= max(size) <= _LARGEST or size in sizes:
            expected = f"different sizes N or WxH of 1 to {_LARGEST} pixels"
            raise errors.OptionError("--size", expected=expected, got=repr(text), hint="An example is --size 192,224.")
        sizes.append(size)
    return sizes


def run_folder(run: Path) -> Path:
    """The folder of a finished training run, whose weights fit any size.

    Raises:
        OptionError: it is something else, such as an exported network.
    """
    folder = run.parent if run.name == "model.safetensors" else run
    if not (folder / "model.safetensors").is_file():
        got = f"{run}, a network of one size" if run.suffix in (".onnx", ".plan") else str(run)
        hint = "Name the run that it was exported from: pvlr export RUN --size 224."
        raise errors.OptionError("--size", expected="the folder of a finished training run", got=got, hint=hint)
    return folder


def build_sizes(
    run: Path,
    sizes: Sequence[tuple[int, int]],
    make: Callable[[Path, Path], None],
    out: Path | None,
    images: Path | None,
    labels: Path | None,
) -> Iterator[Path]:
    """Export a run at each size and build a plan of it with ``make(network, plan)``; yields the plans.

    Raises:
        OptionError: the options do not belong together, or the run or a size is invalid.
        MissingPartError: the extra [train] is not installed.
        as :func:`pvlr_training.export.export` and ``make``.
    """
    many, hint = f"{len(sizes)} sizes", "Without --out, each plan has its own name."
    if not sizes:
        raise errors.OptionError("--images", expected="--size with it", got="no --size", hint="Add --size 192,224.")
    if images is not None and labels is None:
        raise errors.OptionError("--images", expected="--labels with it", got="no --labels", hint="Add --labels CSV.")
    if len(sizes) > 1 and images is None:
        expected = "one size, or --images as well"
        raise errors.OptionError("--size", expected=expected, got=many, hint="Add --images DIR --labels CSV.")
    if len(sizes) > 1 and out is not None:
        raise errors.OptionError("--out", expected="one plan", got=many, hint=hint)
    folder = run_folder(run)
    for size in sizes:
        network = training_module("build", "export").export(folder, folder, size)
        plan = out or folder / f"{network.stem.replace('model', 'engine', 1)}.plan"
        make(network, plan)
        yield plan


def suggested(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The plan with the smallest input whose mAP is at most 0.3 below the best; None: nothing was measured."""
    measured = [row for row in rows if row["mAP"] is not None]
    least = max((row["mAP"] for row in measured), default=0.0) - _LOSS
    good = [row for row in measured if row["mAP"] >= least]
    return str(min(good, key=lambda row: row["width"] * row["height"])["plan"]) if good else None


def compare_sizes(plans: Iterable[Path], images: Path, labels: Path, split: str | None, as_json: bool) -> None:
    """Measure plans on labelled images as ``pvlr eval`` does, and print the mAP of each and the smallest good one."""
    from ..evaluation.evaluate import evaluate
    from ..evaluation.labels_csv import read_labels
    from ..tagger import Tagger
    from .screen import Screen, decimal, print_facts, print_json, report_failed

    rows: list[dict[str, Any]] = []
    for plan in plans:
        with Tagger(plan, optimize="throughput", allow_unsigned=True) as tagger:
            table, size = read_labels(labels, split, tagger.labels), tagger.info["input"]
            with Screen(len(table.files), "Evaluating") as screen:
                report = evaluate(tagger, images, table, screen.step)
        shown = {"width": size["width"], "height": size["height"], "plan": str(plan)}
        rows.append({**shown, "mAP": report.mAP, "ms_per_image": 1000 * report.seconds / report.images})
    smallest = suggested(rows)
    if as_json:
        print_json({"images": report.images, "sizes": rows, "suggested": smallest})
    else:
        facts = [
            (f"{row['width']} x {row['height']}", f"{decimal(row['mAP'])}  ({row['ms_per_image']:.1f} ms per image)")
            for row in rows
        ]
        suggestion = smallest and f"{smallest}, the smallest that loses at most {_LOSS}"
        print_facts(f"mAP on {report.images} images, in percent", [*facts, ("suggested", suggestion)])
    if report_failed(report.failed_images, len(table.files)):
        raise typer.Exit(2)
