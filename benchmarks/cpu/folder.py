"""Throughput for a folder of images, compared with a simple loop and with inference alone.

    python -m benchmarks.cpu.folder [--images images/] [--count 2000]

Without --images, copies of the sample images are used. With --images, the images are tagged as they are and as baseline
JPEGs, the format of cameras: JPEGs from the web are often progressive and take three times as long to decode. OpenVINO
alone, at its best batch size and number of streams, is measured again after each way to tag the folder; ``pvlr bench``
times the stages of one image. Images of 12 megapixels are decoded at full and reduced size. Needs the extra [batch].
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import typer

from pvlr_sdk import Tagger
from pvlr_sdk.backends import runtimes
from pvlr_sdk.batch import Job
from pvlr_sdk.batch.shards import Input
from pvlr_sdk.bundle.bundle import Bundle
from pvlr_sdk.errors import FrameError
from pvlr_sdk.models.find import default_plan, load_bundle

from ..common import Json, Plan, Threads, conditions, find_images, make_images, resident_bytes, run, save
from . import tables
from .engine import compile_network
from .tables import ALONE, SIMPLE, STREAM

openvino = runtimes.openvino()


def main(
    plan: Plan = None,
    images: Annotated[Path | None, typer.Option(help="A folder of images.")] = None,
    count: Annotated[int, typer.Option(help="Number of images.")] = 2000,
    large: Annotated[int, typer.Option(help="Number of images of 12 megapixels.")] = 48,
    seconds: Annotated[float, typer.Option(help="Duration of each measurement of inference alone.")] = 3.0,
    threads: Threads = 2,
    out: Json = None,
) -> None:
    """Tag a folder in several ways."""
    plan = plan or default_plan()
    cv2.setNumThreads(threads)
    alone = inference_alone(load_bundle(plan), threads, seconds)
    best = max(alone, key=lambda setting: alone[setting])
    memory: dict[str, list[float]] = {}
    rates: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if images:
            chosen = find_images(images)[:count]
            sets = {
                "as they are": copy(chosen, folder / "linked", baseline=False),
                "baseline JPEGs": copy(chosen, folder / "baseline", baseline=True),
            }
        else:
            sets = {"sample images": make_images(folder / "small", count)}
        for name, files in sets.items():
            memory[name] = []
            rates[name] = rate_each(plan, files, threads, seconds, best, memory[name])
        reduced = reduced_jpeg(plan, threads, make_images(folder / "large", large, 3000))
    data = {
        "conditions": {**conditions(threads), "photos": len(files)},
        "images_per_second": rates,
        "inference_alone": alone,
        "reduced_jpeg": reduced,
        "memory_growth": max(map(growth, memory.values())),
    }
    for table in (*tables.folder(data).values(), tables.reduced_jpeg(data)):
        table.print()
    print(f"memory at the end, compared with after the first quarter of the images: {data['memory_growth']:+.2%}")
    save(out, data)


def rate_each(
    plan: Path, files: list[Path], threads: int, seconds: float, best: str, memory: list[float]
) -> dict[str, float]:
    """Images per second of each way to tag these files; inference alone is measured again after each of them."""
    bundle, tagger = load_bundle(plan), Tagger(plan, num_threads=threads)
    fast = Tagger(plan, num_threads=threads, optimize="throughput")
    program = [sys.executable, "-c", "from pvlr_sdk.cli import main; main()", "tag", str(files[0].parent)]
    command = [*program, "--plan", str(plan), "--threads", str(threads), "--json"]
    quiet: dict[str, Any] = {"capture_output": True, "check": True}

    def stream() -> int:
        done = 0
        for outcome in fast.predict_stream(files):
            done += not isinstance(outcome, FrameError)
            memory.append(resident_bytes())
        return done

    def dataset() -> int:
        with tempfile.TemporaryDirectory() as out:
            return Job(Input(str(files[0].parent)), out, plan, machine={"num_threads": threads}).run().tagged

    ways: dict[str, Callable[[], int]] = {
        SIMPLE: lambda: sum(len(tagger.predict(cv2.imread(str(path)))) >= 0 for path in files),
        "predict_batch, optimize=latency": lambda: len(tagger.predict_batch(files)),
        STREAM: stream,
        "pvlr tag, including its start": lambda: subprocess.run(command, **quiet).stdout.count(b"\n"),
        "pvlr batch, including its start": dataset,
    }
    alone, rates = [], {}
    for way, work in ways.items():
        began = time.perf_counter()
        done = work()
        rates[way] = len(files) / (time.perf_counter() - began)
        assert done == len(files), f"{way}: {done} of {len(files)} images were tagged"
        alone.append(inference_alone(bundle, threads, seconds, only=best)[best])
    return {ALONE: float(np.median(alone)), **rates}


def copy(files: list[Path], folder: Path, *, baseline: bool) -> list[Path]:
    """A folder of just these images: links to them, or baseline JPEGs."""
    folder.mkdir()
    paths = [folder / f"{number:05}{'.jpg' if baseline else path.suffix}" for number, path in enumerate(files)]
    for source, path in zip(files, paths, strict=True):
        if baseline:
            cv2.imwrite(str(path), cv2.imread(str(source)), [cv2.IMWRITE_JPEG_QUALITY, 90])
        else:
            path.symlink_to(source.resolve())
    return paths


def inference_alone(bundle: Bundle, threads: int, seconds: float, only: str | None = None) -> dict[str, float]:
    """Images per second of the network alone, by number of streams and batch size, or of the setting ``only``."""
    figures = {}
    settings = {f"{streams} x {size}": (streams, size) for streams in sorted({1, threads}) for size in (1, 2, 4, 8)}
    for name in [only] if only else settings:
        streams, size = settings[name]
        compiled = compile_network(bundle.payload, threads, batch=size, streams=streams)
        queue = openvino.AsyncInferQueue(compiled, streams)
        for _ in range(2 * streams):
            queue.start_async()
        queue.wait_all()
        done, began = 0, time.perf_counter()
        while time.perf_counter() < began + seconds:
            queue.start_async()
            done += size
        queue.wait_all()
        figures[name] = done / (time.perf_counter() - began)
    return figures


def reduced_jpeg(plan: Path, threads: int, files: list[Path]) -> dict[str, float]:
    """Speedup of --fast-jpeg on large images, and the change of the logits."""
    results, seconds = {}, {}
    for fast in (False, True):
        with Tagger(plan, num_threads=threads, optimize="throughput", reduced_jpeg=fast) as tagger:
            tagger.predict(files[0])
            began = time.perf_counter()
            results[fast] = tagger.predict_batch(files)
            seconds[fast] = time.perf_counter() - began
    full, reduced = (np.stack([result.logits for result in results[fast]]) for fast in (False, True))
    same = [{t.label for t in a} == {t.label for t in b} for a, b in zip(results[False], results[True], strict=True)]
    return {
        "images/s, full-size decoding": len(files) / seconds[False],
        "images/s, --fast-jpeg": len(files) / seconds[True],
        "mean logit difference": float(np.abs(reduced - full).mean()),
        "largest logit difference": float(np.abs(reduced - full).max()),
        "share of images with the same tags": float(np.mean(same)),
    }


def growth(memory: list[float]) -> float:
    """Growth of memory from the first quarter to the end, as a share."""
    return memory[-1] / memory[len(memory) // 4] - 1 if memory[-1] else 0.0


if __name__ == "__main__":
    run(main)
