"""The results of the CPU benchmarks on docs/performance.md, and their charts."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ..cpu import tables
from ..cpu.tables import ALONE, ENGINE, SIMPLE, STREAM
from .charts import draw_peers

Data = dict[str, Any]


def peers(data: Data, images: Path) -> str:
    draw_peers(data, images / "peers.svg")
    return f"""{_conditions(data)} Plan `{data["conditions"]["plan"]}`, {data["conditions"]["photos"]} images.

![Median time per frame of each peer](images/peers.svg)

{tables.peers(data).markdown()}"""


def folder(data: Data, _: Path) -> str:
    measured = tables.folder(data)
    *_, last = measured
    return f"""{_conditions(data)} {data["conditions"]["photos"]} images.

{(chr(10) * 2).join(table.markdown() for table in measured.values())}

{_breakdown(last, data)}

Growth of memory from the first quarter of the images to the end: {100 * data["memory_growth"]:+.1f} %."""


def cameras(data: Data, _: Path) -> str:
    one, four, c = data["latency"], data["four cameras"], data["conditions"]
    return f"""{c["machine"]}, {c["threads"]} threads, {c["minutes"]:g} minutes.

- One 1080p camera at 60 frames per second, and an engine that takes {one["engine, ms"]:g} ms: results are
  {one["age p50, ms"]:.0f} ms old in the median and {one["age p99, ms"]:.0f} ms at p99. Two inferences and a frame
  interval are {one["limit for p99: two inferences and a frame interval, ms"]:.0f} ms. Memory grew by
  {one["memory growth, second to last quarter, %"]:.1f} %.
- Four cameras at 60 frames per second: together {four["ratio"]:.3f} of the throughput of `predict_batch` alone. The
  slowest camera got {four["smallest share, relative to an equal one"]:.3f} of an equal share."""


def _breakdown(name: str, data: Data) -> str:
    """The losses between OpenVINO alone and ``predict_stream``, for one set of images."""
    rates, threads = data["images_per_second"][name], data["conditions"]["threads"]
    engine, stream = rates[ENGINE], rates[STREAM]
    text = f"""Where the rest of the time goes ({name}): the first block in fp32, which preserves the tags
([accuracy.md](accuracy.md)), costs {100 * (1 - engine / rates[ALONE]):.0f} % of OpenVINO's rate; reading, decoding and
preprocessing on the same cores cost {100 * (1 - stream / engine):.0f} % of the remainder. With one
image at a time, each inference uses all threads, so that even the engine alone is only {engine / rates[SIMPLE]:.2f}
times as fast."""
    if beside := data.get("beside_inference_ms", {}).get(name):
        bound = 1 / (1 / engine + sum(beside.values()) / 1000 / threads)
        decode, rest = beside["read and decode"], beside["preprocess"]
        text += f""" Reading
and decoding an image takes {decode:.2f} ms of one thread and preprocessing it {rest:.2f} ms: at no other cost the same
cores would tag {bound:.0f} images per second, and `predict_stream` reaches {100 * stream / bound:.0f} % of that."""
    return text


def _conditions(data: Data) -> str:
    c = data["conditions"]
    versions = ", ".join(f"{name} {version}" for name, version in c["versions"].items())
    machine = f"{c['machine']}, {c['cores']} cores, {c['threads']} threads per engine"
    return f"{machine}, {c['system']}, {c['date']}; {versions}."


def _section(name: str, text: Callable[[Data, Path], str], results: Path, images: Path) -> str:
    path = results / f"{name}.json"
    return text(json.loads(path.read_text()), images) if path.exists() else "Not measured."


PARTS = {
    "peers": partial(_section, "peers", peers),
    "folder": partial(_section, "folder", folder),
    "fast_jpeg": partial(_section, "folder", lambda data, _: tables.reduced_jpeg(data).markdown()),
    "preprocess": partial(_section, "preprocess", lambda data, _: tables.preprocess(data).markdown()),
    "cameras": partial(_section, "cameras", cameras),
}
"""By name: the text of a part of the page for the folders of the results and of the charts."""
