"""mAP against milliseconds: every model in every precision, in one run, and the models that no other beats in both.

    python -m benchmarks.accuracy.frontier pvlr-lite0-coco80 engine.plan --json frontier.json
    python -m benchmarks.accuracy train linear csra                    # rival heads, in runs/accuracy
    python -m benchmarks.accuracy.frontier --run runs/final --size 224,288 --run runs/accuracy/csra-0 --int8

Each plan is measured in fp32 and, where the processor computes in it, bf16; with --int8, also quantised with photos of
VOC's train split. Runs are exported first. The mAP is that of ``pvlr eval``. The times are those of ``predict`` on one
frame in memory, all models taking turns.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Annotated, Any

import numpy as np
import typer

from pvlr_sdk import Tagger, errors
from pvlr_sdk.cli.sizes import parse_sizes, run_folder
from pvlr_sdk.compile.build import build
from pvlr_sdk.compile.calibration import CalibrationImages
from pvlr_sdk.models.find import load_bundle

from ..common import SAMPLES, Json, Table, conditions, interleaved, run, save
from .data import (
    Data,
    Dataset,
    Share,
    Split,
    Threads,
    check_outputs,
    data_folder,
    describe_split,
    measure,
    read_image,
    read_split,
)

SHIPPED = (
    "pvlr-lite0-coco80",
    "pvlr-lite2-coco80",
    "pvlr-lite2-coco80-448",
)

Point = dict[str, Any]
"""A model in a precision: ``model``, ``input`` (its width), ``precision``, ``sha256``, ``mAP`` in percent,
``median_ms``, ``frontier``."""


def main(
    plans: Annotated[
        list[str] | None, typer.Argument(help="Plans, or names of models. Default: those shipped.")
    ] = None,
    runs: Annotated[
        list[Path] | None, typer.Option("--run", help="Also the folder of a trained run; repeatable.")
    ] = None,
    size: Annotated[str | None, typer.Option(help="Input sizes of the first run, such as 192,224.")] = None,
    int8: Annotated[bool, typer.Option("--int8", help="Also quantise each of them.")] = False,
    data: Data = None,
    dataset: Dataset = "voc",
    split: Split = "testdev",
    share: Share = 1.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds of five calls of each model.")] = 40,
    threads: Threads = None,
    out: Json = None,
) -> None:
    """Measure models in each precision and find the frontier."""
    check_outputs(out)
    sizes, folder = parse_sizes(size), data_folder(data)
    if sizes and not runs:
        raise errors.OptionError("--size", expected="--run as well", got="--size alone", hint="A plan has one size.")
    with ExitStack() as stack:
        made = Path(stack.enter_context(TemporaryDirectory()))
        models: list[tuple[str | None, str]] = [(None, plan) for plan in plans or SHIPPED]
        for number, run in enumerate(runs or ()):
            models += [(run_folder(run).name, str(plan)) for plan in exported(run, () if number else sizes, made)]
        cases: dict[str, Any] = {}
        points: list[Point] = []
        frame = read_image(SAMPLES[0])
        for name, plan in models:
            taggers = open_all(plan, threads)
            if int8:
                taggers.append(Tagger(quantised(plan, folder, made), num_threads=threads))
            for tagger in map(stack.enter_context, taggers):
                images, table = read_split(folder, dataset, split, tagger.labels, share)
                info, score = tagger.info, measure(tagger, (images / file for file in table.files), table.targets)
                points.append(
                    {
                        "model": name or info["name"],
                        "input": info["input"]["width"],
                        "precision": info["precision"],
                        "sha256": info["sha256"],
                        "mAP": score,
                    }
                )
                cases[str(len(cases))] = partial(tagger.predict, frame)
                print("{model}, {input}, {precision}: mAP {mAP:.2f}".format(**points[-1]), flush=True)
        for point, times in zip(points, interleaved(cases, rounds).values(), strict=True):
            point["median_ms"] = round(float(np.median(times)), 3)
    mark_frontier(points)
    result = {
        "images": describe_split(dataset, split, share, table),
        "rounds": rounds,
        "points": points,
        "conditions": conditions(threads),
    }
    frontier_table(points, f"mAP on {dataset} {split}, {len(table.files)} images").print(width=80)
    save(out, result)


def exported(run: Path, sizes: Sequence[tuple[int, int]], folder: Path) -> Iterator[Path]:
    """Plans of a trained run at each size, or at that of its training. Raises what ``pvlr export`` and build raise."""
    from pvlr_training.export import export

    trained, own = run_folder(run), Path(mkdtemp(dir=folder))
    for size in sizes or (None,):
        network = export(trained, own, size)
        plan = network.with_suffix(".plan")
        build(network, plan, precision="fp32")
        yield plan


def quantised(plan: str, data: Path, folder: Path) -> Path:
    """The int8 plan of a plan, with ranges from 200 photos of VOC's train split. Raises what :func:`build` raises."""
    source = load_bundle(plan)
    images, table = read_split(data, "voc", "train", source.labels.names)
    path = folder / f"int8-{source.manifest.files['plan'].sha256[:16]}.plan"
    photos = CalibrationImages.listed(images, table).evenly(400)
    build(source.path, path, precision="int8", calibration_images=photos, min_agreement=0.0)  # measured, whatever it is
    return path


def open_all(plan: str, threads: int | None) -> list[Tagger]:
    """The plan in the fastest precision of this machine, and in fp32 if that is bf16. Raises what Tagger raises."""
    fastest = Tagger(plan, num_threads=threads, precision="auto")
    again = fastest.info["precision"] == "bf16" and fastest.info["backend"] == "openvino"
    return [fastest, Tagger(plan, num_threads=threads, precision="fp32")] if again else [fastest]


def mark_frontier(points: Sequence[Point]) -> None:
    """Set ``frontier`` of each point: no other one is at least as fast and as accurate, and better in one of both."""
    for point in points:
        point["frontier"] = not any(
            other["median_ms"] <= point["median_ms"]
            and other["mAP"] >= point["mAP"]
            and (other["median_ms"], other["mAP"]) != (point["median_ms"], point["mAP"])
            for other in points
        )


def frontier_table(points: Sequence[Point], title: str) -> Table:
    """A line per model and precision, the fastest first."""
    rows = [
        [
            point["model"],
            str(point["input"]),
            point["precision"],
            f"{point['median_ms']:.2f}",
            f"{point['mAP']:.2f}",
            "yes" if point["frontier"] else "",
        ]
        for point in sorted(points, key=lambda point: point["median_ms"])
    ]
    return Table(title, ["Model", "Input", "Precision", "ms, median", "mAP", "Frontier"], rows)


if __name__ == "__main__":
    run(main)
