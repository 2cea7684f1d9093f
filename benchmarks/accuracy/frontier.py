"""mAP against milliseconds: every model in every precision, in one run, and the models that no other beats in both.

    python -m benchmarks.accuracy.frontier pvlr-lite0-coco80 int8.plan --json benchmarks/results/frontier.json
    python -m benchmarks.pages accuracy                       # the chart, docs/images/frontier.svg

Each plan is measured in fp32 and, where the processor computes in it, bf16; an int8 plan (pvlr build) as it is. The mAP
is that of ``pvlr eval``. The times are those of ``predict`` on one frame in memory, all models taking turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Annotated, Any

import numpy as np
import typer

from pvlr_sdk import Tagger

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
    "pvlr-lite0-voc20",
    "pvlr-lite2-voc20",
    "pvlr-lite2-voc20-448",
)

Point = dict[str, Any]
"""A model in a precision: ``model``, ``precision``, ``sha256``, ``mAP`` in percent, ``median_ms``, ``frontier``."""


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
    folder = data_folder(data)
    with ExitStack() as stack:
        taggers = [stack.enter_context(one) for plan in plans or SHIPPED for one in open_all(plan, threads)]
        points: list[Point] = []
        for tagger in taggers:
            images, table = read_split(folder, dataset, split, tagger.labels, share)
            info, score = tagger.info, measure(tagger, (images / file for file in table.files), table.targets)
            points.append(
                {"model": info["name"], "precision": info["precision"], "sha256": info["sha256"], "mAP": score}
            )
            print(f"{info['name']} {info['precision']}: mAP {score:.2f} on {len(table.files)} images", flush=True)
        frame = read_image(SAMPLES[0])
        cases = {str(number): partial(tagger.predict, frame) for number, tagger in enumerate(taggers)}
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
            point["precision"],
            f"{point['median_ms']:.2f}",
            f"{point['mAP']:.2f}",
            "yes" if point["frontier"] else "",
        ]
        for point in sorted(points, key=lambda point: point["median_ms"])
    ]
    return Table(title, ["Model", "Precision", "ms, median", "mAP", "Frontier"], rows)


if __name__ == "__main__":
    run(main)
