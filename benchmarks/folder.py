"""How many photos of a folder a second, against a simple loop and against what inference alone can do?

    python benchmarks/folder.py [--images photos/] [--count 2000] [--json FILE]

Without --images, the sample photos are written again and again, --side pixels high. With it, the photos are tagged as
they are and written again as baseline JPEGs, which is what cameras make: the web's are often progressive, and take
three times as long to decode. Measured: inference alone at best, of several batch sizes and streams, and again after
each of the others; our engine alone, as predict_stream uses it; the loop that one writes first (read, predict);
predict_batch; predict_stream of a tagger optimised for throughput, with its memory; and the command pvlr tag, its start
included. What a photo costs beside the inference is timed on one thread: it says what the cores could do at most.
Then, on photos of 12 megapixels, JPEGs decoded at full and at reduced size: how much faster, and how far the scores
move.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import openvino
import typer
from common import conditions, print_table, write_json

from pvlr_sdk import Tagger
from pvlr_sdk.backends import Slot
from pvlr_sdk.backends.openvino import supports_bf16
from pvlr_sdk.bundle import Bundle, default_plan
from pvlr_sdk.errors import FrameError
from pvlr_sdk.frames import load_frame
from pvlr_sdk.preprocess import Preprocessor

ALONE = "raw inference alone, best batch and streams"
OURS = "our engine alone"
STREAM = "predict_stream, optimize=throughput"
SIMPLE = "read and predict, one after the other"

_SAMPLES = sorted((Path(__file__).parents[1] / "docs" / "images").glob("*.jpg"))


def main(
    plan: Annotated[Path | None, typer.Argument(help="A plan; the bundled one by default.")] = None,
    images: Annotated[Path | None, typer.Option(help="A folder of photos.")] = None,
    count: Annotated[int, typer.Option(help="How many photos.")] = 2000,
    large: Annotated[int, typer.Option(help="How many photos of 12 megapixels.")] = 48,
    side: Annotated[int, typer.Option(help="The shorter side of the photos that are made.")] = 375,
    seconds: Annotated[float, typer.Option(help="How long inference alone is measured, at each setting.")] = 3.0,
    threads: Annotated[int, typer.Option(help="Threads for everyone.")] = 2,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here as well.")] = None,
) -> None:
    """Tag a folder in several ways."""
    plan = plan or default_plan()
    cv2.setNumThreads(threads)
    alone = inference_alone(Bundle.open(plan), threads, seconds)
    best = max(alone, key=lambda setting: alone[setting])
    memory: dict[str, list[float]] = {}
    rates: dict[str, dict[str, float]] = {}
    beside: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if images:
            chosen = photos(images, count)
            sets = {
                "as they are": link(chosen, folder / "linked"),
                "baseline JPEGs": rewrite(chosen, folder / "baseline"),
            }
        else:
            sets = {"sample photos": make_photos(folder / "small", count, side)}
        for name, files in sets.items():
            memory[name] = []
            rates[name] = rate_each(plan, files, threads, seconds, best, memory[name])
            beside[name] = beside_inference(plan, files[:200])
        reduced = reduced_jpeg(plan, threads, make_photos(folder / "large", large, 3000))
    for name, figures in rates.items():
        print_table(
            f"{Bundle.open(plan).manifest.name}, {threads} threads, {count} photos at most: {name}",
            ["", "images/s", "/ raw inference alone", "/ our engine alone", "/ simple loop"],
            [
                [way, f"{v:.1f}", *(f"{v / figures[base]:.2f}" for base in (ALONE, OURS, SIMPLE))]
                for way, v in figures.items()
            ],
        )
    for name, costs in beside.items():
        print_table(f"beside inference, one thread: {name}", ["", "ms"], [[k, f"{v:.3f}"] for k, v in costs.items()])
    print_table("inference alone", ["streams x batch", "images/s"], [[k, f"{v:.1f}"] for k, v in alone.items()])
    print_table("photos of 12 megapixels", ["", ""], [[name, f"{value:.3f}"] for name, value in reduced.items()])
    slope = max(map(growth, memory.values()))
    print(f"memory at the end against after the first quarter of the photos: {slope:+.2%}")
    data = {
        "images_per_second": rates,
        "beside_inference_ms": beside,
        "inference_alone": alone,
        "reduced_jpeg": reduced,
        "memory_growth": slope,
    }
    write_json(out, {"conditions": {**conditions(threads), "photos": len(files)}, **data})


def rate_each(
    plan: Path, files: list[Path], threads: int, seconds: float, best: str, memory: list[float]
) -> dict[str, float]:
    """Images a second of each way to tag these files; inference alone is the median of several measurements between."""
    bundle = Bundle.open(plan)
    ways = {
        SIMPLE: simple_loop(plan, threads),
        "predict_batch, optimize=latency": batch(plan, threads),
        STREAM: stream(plan, threads, memory),
        "pvlr tag, its start included": command(plan, threads),
    }
    alone, rates = [], {}
    for way, work in ways.items():
        rates[way] = rate(files, work)
        alone.append(inference_alone(bundle, threads, seconds, only=best)[best])
    return {ALONE: float(np.median(alone)), OURS: engine_alone(plan, threads, seconds), **rates}


def photos(folder: Path, count: int) -> list[Path]:
    """The first photos of a folder."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))[:count]


def link(files: list[Path], folder: Path) -> list[Path]:
    """A folder with just these files."""
    folder.mkdir()
    links = [folder / f"{number:05}{path.suffix}" for number, path in enumerate(files)]
    for path, name in zip(files, links, strict=True):
        name.symlink_to(path.resolve())
    return links


def rewrite(files: list[Path], folder: Path) -> list[Path]:
    """The same pictures as baseline JPEGs."""
    folder.mkdir()
    paths = [folder / f"{number:05}.jpg" for number in range(len(files))]
    for source, path in zip(files, paths, strict=True):
        cv2.imwrite(str(path), cv2.imread(str(source)), [cv2.IMWRITE_JPEG_QUALITY, 90])
    return paths


def make_photos(folder: Path, count: int, side: int) -> list[Path]:
    """The sample photos at another size, 4:3, each a little different so that none compresses like another."""
    folder.mkdir(parents=True)
    bases = [
        cv2.resize(cv2.imread(str(path)), (side * 4 // 3, side), interpolation=cv2.INTER_CUBIC) for path in _SAMPLES
    ]
    paths = []
    for number in range(count):
        base = np.roll(bases[number % len(bases)], 7 * number, axis=1)
        paths.append(folder / f"{number:05}.jpg")
        cv2.imwrite(str(paths[-1]), base, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return paths


def rate(files: list[Path], work: Callable[[list[Path]], int]) -> float:
    """Images a second."""
    began = time.perf_counter()
    done = work(files)
    assert done == len(files), f"{done} of {len(files)} were tagged"
    return len(files) / (time.perf_counter() - began)


def simple_loop(plan: Path, threads: int) -> Callable[[list[Path]], int]:
    tagger = Tagger(plan, num_threads=threads)
    return lambda files: sum(len(tagger.predict(cv2.imread(str(path)))) >= 0 for path in files)


def batch(plan: Path, threads: int) -> Callable[[list[Path]], int]:
    tagger = Tagger(plan, num_threads=threads)
    return lambda files: len(tagger.predict_batch(files))


def stream(plan: Path, threads: int, memory: list[float]) -> Callable[[list[Path]], int]:
    tagger = Tagger(plan, num_threads=threads, optimize="throughput")

    def run(files: list[Path]) -> int:
        done = 0
        for outcome in tagger.predict_stream(files):
            done += not isinstance(outcome, FrameError)
            memory.append(resident_mb())
        return done

    return run


def command(plan: Path, threads: int) -> Callable[[list[Path]], int]:
    def run(files: list[Path]) -> int:
        arguments = ["tag", str(files[0].parent), "--plan", str(plan), "--threads", str(threads), "--json"]
        program = "from pvlr_sdk.cli import main; main()"
        done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, check=True)
        return done.stdout.count(b"\n")

    return run


def inference_alone(bundle: Bundle, threads: int, seconds: float, only: str | None = None) -> dict[str, float]:
    """Images a second of the network alone, by streams and batch size, or of ``only`` one such setting."""
    core = openvino.Core()
    spec = bundle.manifest.input
    figures = {}
    for streams in sorted({1, threads}):
        for size in (1, 2, 4, 8):
            if only not in (None, f"{streams} x {size}"):
                continue
            model = core.read_model(bundle.payload)
            model.reshape([size, 3, spec.height, spec.width])
            hint = "bf16" if supports_bf16(core) else "f32"
            options = {"NUM_STREAMS": streams, "INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads}
            queue = openvino.AsyncInferQueue(core.compile_model(model, "CPU", options), streams)
            for _ in range(2 * streams):
                queue.start_async()
            queue.wait_all()
            done, began = 0, time.perf_counter()
            while time.perf_counter() < began + seconds:
                queue.start_async()
                done += size
            queue.wait_all()
            figures[f"{streams} x {size}"] = done / (time.perf_counter() - began)
    return figures


def engine_alone(plan: Path, threads: int, seconds: float) -> float:
    """Images a second of the engine that predict_stream uses and of as many threads, without decoding.

    Frame by frame or as many together as it takes, whichever is faster.
    """
    tagger = Tagger(plan, num_threads=threads, optimize="throughput")
    backend = tagger._ready()

    def work(slots: Sequence[Slot]) -> int:
        done, end = 0, time.perf_counter() + seconds
        while time.perf_counter() < end:
            for slot in slots:
                slot.start()
            for slot in slots:
                slot.wait()
            done += len(slots)
        return done

    callers = range(backend.parallel + 1)
    with ThreadPoolExecutor(len(callers)) as pool:
        alone = sum(pool.map(work, [[backend.acquire()] for _ in callers]))
        together = sum(pool.map(work, [backend.acquire_group() for _ in callers]))
    return max(alone, together) / seconds


def beside_inference(plan: Path, files: list[Path]) -> dict[str, float]:
    """Milliseconds of one thread for what a photo needs beside the inference, medians; nobody else at work."""
    preprocess = Preprocessor(Bundle.open(plan).manifest.input)
    out = preprocess(load_frame(files[0]).pixels, "bgr")
    times = []
    for file in files:
        began = time.perf_counter()
        frame = load_frame(file)
        decoded = time.perf_counter()
        preprocess(frame.pixels, frame.order, out)
        times.append([decoded - began, time.perf_counter() - decoded])
    decode, rest = 1e3 * np.median(times, axis=0)
    return {"read and decode": float(decode), "preprocess": float(rest)}


def reduced_jpeg(plan: Path, threads: int, files: list[Path]) -> dict[str, float]:
    """What --fast-jpeg gains on large photos, and what it changes."""
    results = {}
    seconds = {}
    for fast in (False, True):
        with Tagger(plan, num_threads=threads, optimize="throughput", reduced_jpeg=fast) as tagger:
            tagger.predict(files[0])
            began = time.perf_counter()
            results[fast] = tagger.predict_batch(files)
            seconds[fast] = time.perf_counter() - began
    logits = {fast: np.stack([result.logits for result in results[fast]]) for fast in results}
    same = [{t.label for t in a} == {t.label for t in b} for a, b in zip(results[False], results[True], strict=True)]
    return {
        "images/s, decoded at full size": len(files) / seconds[False],
        "images/s, --fast-jpeg": len(files) / seconds[True],
        "mean logit difference": float(np.abs(logits[True] - logits[False]).mean()),
        "largest logit difference": float(np.abs(logits[True] - logits[False]).max()),
        "share of photos with the same tags": float(np.mean(same)),
    }


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1]) if Path("/proc/self/statm").exists() else 0
    return pages * 4096 / 1e6


def growth(memory: list[float]) -> float:
    """How much more memory is held at the end than after the first quarter, as a share."""
    return memory[-1] / memory[len(memory) // 4] - 1 if memory[-1] else 0.0


if __name__ == "__main__":
    typer.run(main)
