"""How old is an observation, and what do several cameras get from one engine?

    python benchmarks/cameras.py --minutes 10 --threads 2 --json benchmarks/results/cameras.json

Latency: one camera of 60 frames a second in 1920x1080 against an engine that is slowed down to --engine-ms; the age
from capture to tags must stay under two engine times plus one frame time at p99, and the memory flat. Four cameras:
their frames through one engine, in rounds that alternate with predict_batch on such frames in memory; no camera may get
less than 80 % of its share, and together they should reach 95 % of predict_batch. Leave the machine alone meanwhile.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from pvlr_sdk import Camera, Stream, Tagger, open_source
from pvlr_sdk.result import TagResult
from pvlr_sdk.stream import Observation

FPS = 60


class SlowTagger:
    """A tagger whose engine takes ``seconds`` for each frame, one after the other."""

    def __init__(self, tagger: Tagger, seconds: float) -> None:
        self.info, self.predict = tagger.info, tagger.predict
        self._tagger, self._seconds, self._free = tagger, seconds, 0.0

    def submit(self, frame: Any, *, color: str) -> _SlowPending:
        pending = self._tagger.submit(frame, color=color)
        self._free = max(self._free, time.monotonic()) + self._seconds
        return _SlowPending(pending, self._free)


class _SlowPending:
    def __init__(self, pending: Any, done: float) -> None:
        self._pending, self._done = pending, done

    def result(self) -> TagResult:
        time.sleep(max(self._done - time.monotonic(), 0))
        return self._pending.result()


def main(
    plan: Annotated[Path | None, typer.Argument(help="A plan; the bundled one by default.")] = None,
    minutes: Annotated[float, typer.Option(help="How long ages are watched; four cameras take a third of it.")] = 1.0,
    threads: Annotated[int, typer.Option(help="Threads of the engine.")] = 2,
    engine_ms: Annotated[float, typer.Option(help="What the slowed-down engine takes for a frame.")] = 50.0,
    size: Annotated[str, typer.Option(help="Size of the pictures of the four cameras.")] = "640x360",
    fps: Annotated[float, typer.Option(help="Frames a second of each of the four; more than the engine takes.")] = 60.0,
    optimize: Annotated[str, typer.Option(help="For the four cameras: latency or throughput.")] = "latency",
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here as well.")] = None,
) -> None:
    """Measure ages against a slow engine, and four cameras against predict_batch."""
    with Tagger(plan, num_threads=threads) as tagger:
        latency = measure_latency(tagger, engine_ms / 1e3, 60 * minutes)
    with Tagger(plan, num_threads=threads, optimize=optimize) as tagger:
        several = measure_several(tagger, size, fps, 20 * minutes)
        conditions = {
            "plan": tagger.info["name"],
            "precision": tagger.info["precision"],
            "threads": threads,
            "four cameras": optimize,
            "machine": tagger.info["device"],
            "python": platform.python_version(),
            "minutes": minutes,
            "size": size,
        }
    figures = {"conditions": conditions, "latency": latency, "four cameras": several}
    for name in ("latency", "four cameras"):
        table = Table("", "", title=name)
        for key, value in figures[name].items():
            table.add_row(key, f"{value:.3g}" if isinstance(value, float) else str(value))
        Console().print(table)
    if out:
        out.write_text(json.dumps(figures, indent=1) + "\n")


def measure_latency(tagger: Tagger, engine: float, seconds: float) -> dict[str, Any]:
    """Ages in ms with a 1080p source that is faster than the engine."""
    ages: list[float] = []
    memory: list[int] = []
    slow: Any = SlowTagger(tagger, engine)
    with Stream(slow, [Camera("a", f"test://?size=1920x1080&fps={FPS}")]) as stream:
        end = time.monotonic() + seconds
        for event in stream:
            if isinstance(event, Observation):
                ages.append(1e3 * event.age)
                memory.append(int(Path("/proc/self/statm").read_text().split()[1]))
            if time.monotonic() > end:
                break
        stats = stream.stats()["a"]
    quarter = len(memory) // 4
    growth = np.median(memory[-quarter:]) / np.median(memory[quarter : 2 * quarter]) - 1
    return {
        "engine, ms": 1e3 * engine,
        "age p50, ms": float(np.percentile(ages, 50)),
        "age p99, ms": float(np.percentile(ages, 99)),
        "age max, ms": max(ages),
        "bound on p99: two engine times and a frame, ms": 2e3 * engine + 1e3 / FPS,
        "engine busy, of its time": stats.tagged * engine / seconds,
        "memory growth, second to last quarter, %": 100 * float(growth),
        "captured": stats.captured,
        "tagged": stats.tagged,
        "dropped": stats.dropped,
    }


def measure_several(tagger: Tagger, size: str, fps: float, seconds: float, cameras: int = 4) -> dict[str, Any]:
    """Frames a second of four cameras together, and of predict_batch alone, in alternating rounds."""
    source = open_source(f"test://?size={size}&fps=1000")
    frames = [source.read().pixels for _ in range(64)]
    rounds = max(2, round(seconds / 10))
    share = seconds / rounds / 2
    tagger.predict_batch(frames)  # warm
    counts: Counter[str] = Counter()
    alone, together = [], []
    for _ in range(rounds):
        began, done = time.monotonic(), 0
        while time.monotonic() < began + share:
            done += len(tagger.predict_batch(frames))
        alone.append(done / (time.monotonic() - began))
        watched = [Camera(f"camera {n}", f"test://?size={size}&fps={fps:g}&seed={n}") for n in range(cameras)]
        with Stream(tagger, watched) as stream:
            for _ in range(2 * cameras):  # all of them are there
                next(stream)
            began, before = time.monotonic(), counts.total()
            while time.monotonic() < began + share:
                event = next(stream)
                if isinstance(event, Observation):
                    counts[event.camera] += 1
            together.append((counts.total() - before) / (time.monotonic() - began))
    fair = counts.total() / cameras
    return {
        "predict_batch, frames/s": float(np.median(alone)),
        "four cameras, frames/s": float(np.median(together)),
        "ratio": float(np.median(np.array(together) / np.array(alone))),
        "offered by the cameras, frames/s": cameras * fps,
        "smallest share of a fair one": min(counts.values()) / fair,
    }


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    typer.run(main)
