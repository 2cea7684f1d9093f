"""All measurements of ``pvlr bench``, in one report of plain JSON values."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from .... import errors
from ....frames import images
from ....inference import golden
from ....tagger import Tagger
from ..precisions import precisions
from . import machine, sampling

FORMAT = 1
CONCURRENCY = (1, 2, 4, 8)
BATCHES = (1, 8, 32)
STAGES = ("decode", "preprocess", "inference", "head", "total")
_TAIL = 2.0
"""A p99 above this multiple of p50 shows that other work ran at the same time."""


def bench(
    plan: str | os.PathLike[str] | None = None,
    *,
    image: str | os.PathLike[str] | None = None,
    seconds: float = 10.0,
    progress: Callable[[], None] | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Measure a plan on this machine.

    Args:
        plan: the plan; None for the bundled model.
        image: the image to tag; None for a synthetic JPEG of 1920 x 1080.
        seconds: maximum time for the latencies; warming up and each throughput take a fifth of it.
        progress: called after each of :func:`steps` steps.
        options: ``device``, ``num_threads`` and ``precision`` of the tagger.

    Returns:
        ``machine``, ``plan``, ``latency_ms`` (min to p99.9 per stage; ``frame`` is ``total`` without ``decode``),
        ``throughput`` (images per second), ``precisions`` (of :func:`..precisions.precisions`),
        ``start_ms``, ``peak_memory_mb``, ``warnings`` and ``samples_ms``, the totals in the order of the
        calls.

    Raises: the errors of :class:`Tagger`, and FrameError for the image.
    """
    if not seconds > 0:
        raise errors.OptionError("seconds", "more than 0", str(seconds), "10 is the default.")
    step = progress or (lambda: None)
    data = images.read(image) if image is not None else synthetic_jpeg()
    before = machine.state()
    began = time.perf_counter()
    with Tagger(plan, **options) as tagger:
        loaded = time.perf_counter()
        tagger.predict(data)
        first = time.perf_counter()
        step()
        times = _latency(tagger, data, seconds)
        step()
        info = tagger.info
        size = tagger.predict(data).frame_size
    throughput = _throughput(plan, data, seconds / 5, step, options)
    peak_memory_mb = machine.peak_memory_mb()  # before the plan is loaded in every precision
    compared = precisions(plan, options.get("num_threads"))
    step()
    return {
        "format": FORMAT,
        "machine": {**machine.describe(info["device"]), info["backend"]: info["version"]},
        "plan": {
            name: info[name]
            for name in ("name", "plan", "sha256", "precision", "threads", "labels")
        },
        "picture": {"height": size[0], "width": size[1], "bytes": len(data)},
        "start_ms": {
            "load": round(1e3 * (loaded - began), 2),
            "first_frame": round(1e3 * (first - loaded), 2),
            "from_cache": info["from_cache"],
        },
        "latency_ms": {stage: sampling.summary(values) for stage, values in times.items()},
        "throughput": throughput,
        "precisions": compared,
        "peak_memory_mb": peak_memory_mb,
        "warnings": warnings(times, before, machine.state(), info["threads"]),
        "samples_ms": [round(float(value), 4) for value in times["total"]],
    }


def steps() -> int:
    """Number of calls of ``progress`` by ``bench``."""
    return 3 + 2 * len(CONCURRENCY) + len(BATCHES)


def synthetic_jpeg(width: int = 1920, height: int = 1080) -> bytes:
    """A JPEG with large shapes and fine grain, about as large in bytes as one of a camera."""
    import cv2

    smooth = cv2.resize(
        golden.default_frame(), (width, height), interpolation=cv2.INTER_CUBIC
    ).astype(np.int16)
    grain = np.random.default_rng(0).normal(0, 6, (height, width, 1)).astype(np.int16)
    pixels = np.clip(smooth + grain, 0, 255).astype(np.uint8)
    return bytes(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1])


def warnings(
    times: dict[str, sampling.Times], before: dict[str, Any], after: dict[str, Any], threads: int
) -> list[str]:
    """Reasons why the results may be unreliable; empty if there are none."""
    total = times["total"]
    texts = []
    if before["load"] is not None and before["load"] > 0.3 * threads:
        texts.append(f"the machine was busy before the start (load {before['load']:.1f})")
    if sampling.drift(total) > 0.05:
        texts.append(
            f"the median drifted by {100 * sampling.drift(total):.0f} % from the first half to the second"
        )
    tail = float(np.percentile(total, 99) / np.median(total))
    if tail > _TAIL:
        texts.append(f"p99 is {tail:.1f} times p50: other work used the cores at times")
    if before["throttled"] is not None and after["throttled"] > before["throttled"]:
        texts.append("the CPU was throttled for heat")
    if before["clock_mhz"] and abs(after["clock_mhz"] / before["clock_mhz"] - 1) > 0.1:
        texts.append(
            f"the clock went from {before['clock_mhz']:.0f} to {after['clock_mhz']:.0f} MHz"
        )
    return texts


def _latency(tagger: Tagger, data: bytes, seconds: float) -> dict[str, sampling.Times]:
    def call() -> dict[str, float]:
        result = tagger.predict(data)
        _ = result.tags  # every user reads them, so their cost belongs to the frame
        return {**result.timing, "frame": result.timing["total"] - result.timing["decode"]}

    fewest = 200 if seconds >= 1 else 20
    sampling.repeat_for(seconds / 5, call)  # caches fill, clocks rise and pages are mapped
    return sampling.sample(call, seconds=seconds, least=fewest)


def _throughput(
    plan: str | os.PathLike[str] | None,
    data: bytes,
    seconds: float,
    step: Callable[[], None],
    options: dict[str, Any],
) -> dict[str, Any]:
    """Images per second of concurrent callers and of batches, including decoding."""
    rates: dict[str, Any] = {}
    for goal in ("latency", "throughput"):
        with Tagger(plan, optimize=goal, **options) as tagger:
            callers = {}
            for count in CONCURRENCY:
                callers[str(count)] = round(_callers(tagger, data, count, seconds), 2)
                step()
            rates[f"callers, optimize={goal}"] = callers
            if goal == "throughput":
                batches = {}
                for size in BATCHES:
                    batches[str(size)] = round(_batches(tagger, data, size, seconds), 2)
                    step()
                rates["predict_batch"] = batches
    return rates


def _callers(tagger: Tagger, data: bytes, count: int, seconds: float) -> float:
    with ThreadPoolExecutor(count) as pool:
        began = time.perf_counter()
        work = [
            pool.submit(sampling.repeat_for, seconds, lambda: tagger.predict(data))
            for _ in range(count)
        ]
        done = sum(future.result() for future in work)
        return done / (time.perf_counter() - began)


def _batches(tagger: Tagger, data: bytes, size: int, seconds: float) -> float:
    began = time.perf_counter()
    done = sampling.repeat_for(seconds, lambda: tagger.predict_batch([data] * size))
    return done * size / (time.perf_counter() - began)
