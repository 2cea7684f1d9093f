"""Images per second of ``pvlr batch`` with each engine, compared with ``predict_stream``, interleaved.

    python -m benchmarks.cpu.batch [PLAN] --images photos/ [--count 2000] [--rounds 3] [--ray] [--address HOST:PORT]

The rate of an engine begins with its first finished shard: starting a cluster and loading models takes seconds, an
archive hours. The core seconds per image are the CPU time of the processes that tag, without the driver of Ray.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from pvlr_sdk import Tagger
from pvlr_sdk.batch import Job, Summary
from pvlr_sdk.batch.job import Engine, here
from pvlr_sdk.batch.on_ray import on_ray
from pvlr_sdk.batch.shards import Input
from pvlr_sdk.models.find import default_plan

from ..common import Json, Plan, Threads, conditions, find_images, run, save
from .folder import copy


def main(
    images: Annotated[Path, typer.Option(help="A folder of images.")],
    plan: Plan = None,
    count: Annotated[int, typer.Option(help="Number of images.")] = 2000,
    rounds: Annotated[int, typer.Option(help="Measurements of each way.")] = 3,
    ray: Annotated[bool, typer.Option("--ray", help="Also measure a Ray cluster.")] = False,
    address: Annotated[str | None, typer.Option(help="Its address; this machine by default.")] = None,
    threads: Threads = 2,
    out: Json = None,
) -> None:
    """Measure each way in turn, several times."""
    plan, found = plan or default_plan(), find_images(images)[:count]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "images")
        files = copy(found, folder, baseline=False)
        fast = Tagger(plan, num_threads=threads, optimize="throughput")

        def stream() -> tuple[float, float]:
            began, cpu = time.perf_counter(), time.process_time()
            assert sum(1 for _ in fast.predict_stream(files)) == len(files)
            seconds = time.perf_counter() - began
            return len(files) / seconds, (time.process_time() - cpu) / len(files)

        ways: dict[str, Callable[[], tuple[float, float]]] = {
            "predict_stream": stream,
            "pvlr batch": lambda: rate(folder, plan, threads, here),
        }
        if ray:
            ways["pvlr batch --engine ray"] = lambda: rate(folder, plan, threads, on_ray(address, threads=1))
        measured: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                measured[name].append(way())
    rows = {}
    for name, pairs in measured.items():
        rates, core_seconds = np.array(pairs).T
        shares = rates / np.array(measured["predict_stream"])[:, 0]
        rows[name] = {
            "images_per_second": round(float(np.median(rates)), 1),
            "share_of_predict_stream": round(float(np.median(shares)), 3),
            "core_ms_per_image": round(1e3 * float(np.median(core_seconds)), 2),
        }
        print(name, rows[name])
    save(out, {"conditions": {**conditions(threads), "images": len(files), "rounds": rounds}, "ways": rows})


def rate(folder: Path, plan: Path, threads: int, engine: Engine) -> tuple[float, float]:
    """Images per second from the first finished shard to the last, and core seconds per image."""
    seen: list[tuple[float, int]] = []

    def note(summary: Summary) -> None:
        seen.append((time.perf_counter(), summary.images))

    with tempfile.TemporaryDirectory() as out:
        options: dict[str, Any] = {"machine": {"num_threads": threads}}
        summary = Job(Input(str(folder), size=100), out, plan, **options).run(engine, note)
    (began, first), (ended, last) = seen[0], seen[-1]
    return (last - first) / (ended - began), 3600 * summary.core_hours / summary.images


if __name__ == "__main__":
    run(main)
