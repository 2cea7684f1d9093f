"""Age of results from a camera, and throughput of several cameras that share one engine.

    python -m benchmarks.cpu.cameras --minutes 10

Latency: a 1080p camera of 60 frames per second and an engine slowed down to --engine-ms; at p99 the age from capture to
tags must stay below two inferences plus one frame interval. Four cameras: rounds alternate with predict_batch on such
frames in memory; each must get 80 % of an equal share, and all together 95 % of predict_batch, on an idle machine.
"""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Annotated, Any

import numpy as np
import typer

from pvlr_sdk import Camera, Stream, Tagger, open_source
from pvlr_sdk.cameras.stream import Observation
from pvlr_sdk.result import TagResult

from ..common import Json, Plan, Table, Threads, conditions, run, save

FPS = 60


class SlowTagger:
    """A tagger whose engine takes ``seconds`` for each frame, one after the other."""

    def __init__(self, tagger: Tagger, seconds: float) -> None:
        self.info = tagger.info
        self.predict = tagger.predict
        self._seconds = seconds
        self._engine = ThreadPoolExecutor(1)

    def predict_async(self, frame: Any, *, color: str, **_: Any) -> Future[TagResult]:
        return self._engine.submit(self._predict, frame, color)

    def _predict(self, frame: Any, color: str) -> TagResult:
        end = time.monotonic() + self._seconds
        result = self.predict(frame, color=color)
        time.sleep(max(end - time.monotonic(), 0))
        return result


def main(
    plan: Plan = None,
    minutes: Annotated[
        float, typer.Option(help="Duration of the latency test; the other takes a third.")
    ] = 1.0,
    threads: Threads = 2,
    engine_ms: Annotated[
        float, typer.Option(help="Milliseconds per frame of the slow engine.")
    ] = 50.0,
    size: Annotated[str, typer.Option(help="Frame size of the four cameras.")] = "640x360",
    fps: Annotated[
        float, typer.Option(help="Frames per second of each, above the rate of the engine.")
    ] = 60.0,
    optimize: Annotated[
        str, typer.Option(help="For the four cameras: latency or throughput.")
    ] = "latency",
    out: Json = None,
) -> None:
    """Measure the age of results with a slow engine, and the throughput of four cameras."""
    with Tagger(plan, num_threads=threads) as tagger:
        latency = measure_latency(tagger, engine_ms / 1e3, 60 * minutes)
    with Tagger(plan, num_threads=threads, optimize=optimize) as tagger:
        several = measure_several(tagger, size, fps, 20 * minutes)
        facts = {
            "plan": tagger.info["name"],
            "precision": tagger.info["precision"],
            "four cameras": optimize,
        }
    data = {
        "conditions": {**conditions(threads), **facts, "minutes": minutes, "size": size},
        "latency": latency,
        "four cameras": several,
    }
    for name in ("latency", "four cameras"):
        rows = [
            [key, f"{v:.3g}" if isinstance(v, float) else str(v)] for key, v in data[name].items()
        ]
        Table(name, ["", ""], rows).print()
    save(out, data)


def measure_latency(tagger: Tagger, engine: float, seconds: float) -> dict[str, Any]:
    """Age of results in ms, for a 1080p source that is faster than the engine."""
    ages: list[float] = []
    slow: Any = SlowTagger(tagger, engine)
    with Stream(slow, [Camera("a", f"test://?size=1920x1080&fps={FPS}")]) as stream:
        end = time.monotonic() + seconds
        for event in stream:
            if isinstance(event, Observation):
                ages.append(1e3 * event.age)
            if time.monotonic() > end:
                break
        stats = stream.stats()["a"]
    return {
        "engine, ms": 1e3 * engine,
        "age p50, ms": float(np.percentile(ages, 50)),
        "age p99, ms": float(np.percentile(ages, 99)),
        "age max, ms": max(ages),
        "limit for p99: two inferences and a frame interval, ms": 2e3 * engine + 1e3 / FPS,
        "share of time that the engine is busy": stats.tagged * engine / seconds,
        "captured": stats.captured,
        "tagged": stats.tagged,
        "dropped": stats.dropped,
    }


def measure_several(
    tagger: Tagger, size: str, fps: float, seconds: float, cameras: int = 4
) -> dict[str, Any]:
    """Frames per second of four cameras together, and of predict_batch alone, in alternating rounds."""
    source = open_source(f"test://?size={size}&fps=1000")
    frames = [source.read().pixels for _ in range(64)]
    rounds = max(2, round(seconds / 10))
    share = seconds / rounds / 2
    tagger.predict_batch(frames)  # warm-up
    counts: Counter[str] = Counter()
    alone = []
    together = []
    for _ in range(rounds):
        began = time.monotonic()
        done = 0
        while time.monotonic() < began + share:
            done += len(tagger.predict_batch(frames))
        alone.append(done / (time.monotonic() - began))
        watched = [
            Camera(f"camera {n}", f"test://?size={size}&fps={fps:g}&seed={n}")
            for n in range(cameras)
        ]
        with Stream(tagger, watched) as stream:
            for _ in range(2 * cameras):  # until all of them are connected
                next(stream)
            began = time.monotonic()
            before = counts.total()
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
        "sent by the cameras, frames/s": cameras * fps,
        "smallest share, relative to an equal one": min(counts.values()) / fair,
    }


if __name__ == "__main__":
    run(main, passive=True)
