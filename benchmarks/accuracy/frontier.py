"""mAP against milliseconds: every model in every precision, in one run, and the models that no other beats in both.

    python -m benchmarks.accuracy.frontier pvlr-lite0-coco80 engine.plan --json frontier.json

Each plan is measured in fp32 and, where the processor computes in it, bf16; an int8 plan in int8. ``pvlr export`` and
``pvlr build`` write plans of a run, also at other sizes and in int8. The mAP is that of ``pvlr eval``. The times are
those of ``predict`` on one frame in memory, all models taking turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from pvlr_sdk import Tagger
from pvlr_sdk.frames.bgr import load_bgr
from pvlr_sdk.models.catalogue import is_model

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
    read_split,
)

SHIPPED = (
    "pvlr-lite0-coco80",
    "pvlr-lite2-coco80",
    "pvlr-lite2-coco80-448",
)

Point = dict[str, Any]
"""A model in a precision: ``model`` (its name, or the name of the plan's file), ``input`` (its width), ``precision``,
``sha256``, ``mAP`` in percent, ``median_ms``, ``frontier``."""


def main(
    plans: Annotated[
        list[str] | None, typer.Argument(help="Plans, or names of models. Default: those shipped.")
    ] = None,
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
    folder, frame = data_folder(data), load_bgr(SAMPLES[0])
    cases: dict[str, Any] = {}
    points: list[Point] = []
    with ExitStack() as stack:
        for plan in plans or SHIPPED:
            for tagger in map(stack.enter_context, open_all(plan, threads)):
                images, table = read_split(folder, dataset, split, tagger.labels, share)
                info, score = tagger.info, measure(tagger, (images / file for file in table.files), table.targets)
                points.append(
                    {
                        "model": info["name"] if is_model(plan) else Path(plan).stem,
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
