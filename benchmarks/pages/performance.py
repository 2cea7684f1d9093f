"""The results of the CPU benchmarks on docs/performance.md, and their charts."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from ..cpu import tables
from .charts import draw_peers

Data = dict[str, Any]


def peers(data: Data, images: Path) -> str:
    draw_peers(data, images / "peers.svg")
    return f"""{_conditions(data)} Plan `{data["conditions"]["plan"]}`, {data["conditions"]["photos"]} images.

![Median time per frame of each peer](images/peers.svg)

{tables.peers(data).markdown()}"""


def folder(data: Data, _: Path) -> str:
    return f"""{_conditions(data)} {data["conditions"]["photos"]} images.

{(chr(10) * 2).join(table.markdown() for table in tables.folder(data).values())}

Growth of memory from the first quarter of the images to the end: {100 * data["memory_growth"]:+.1f} %."""


def cameras(data: Data, _: Path) -> str:
    one, four, c = data["latency"], data["four cameras"], data["conditions"]
    return f"""{c["machine"]}, {c["threads"]} threads, {c["minutes"]:g} minutes.

- One 1080p camera at 60 frames per second, and an engine that takes {one["engine, ms"]:g} ms: results are
  {one["age p50, ms"]:.0f} ms old in the median and {one["age p99, ms"]:.0f} ms at p99. Two inferences and a frame
  interval are {one["limit for p99: two inferences and a frame interval, ms"]:.0f} ms.
- Four cameras at 60 frames per second: together {four["ratio"]:.3f} of the throughput of `predict_batch` alone. The
  slowest camera got {four["smallest share, relative to an equal one"]:.3f} of an equal share."""


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
