"""Write the tables of the pages in docs/ that show benchmarks/results.

    python -m benchmarks.pages [performance] [accuracy] [camera_accuracy]

A page is edited by hand; only what is between ``<!-- results: NAME -->`` and ``<!-- end of results -->`` is written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from .accuracy.cameras.report import each, failures, overview
from .common import DOCS, RESULTS, Table, run
from .cpu.peers import table as peers_table
from .cpu.rivals import table as rivals_table

BUNDLED = "pvlr-lite2-open"
PAGES = ("performance", "accuracy", "camera_accuracy")
_PART = re.compile(r"(<!-- results: (\w+) -->\n\n).*?(\n\n<!-- end of results -->)", re.DOTALL)

Data = dict[str, Any]


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Of {', '.join(PAGES)}. Default: all.")
    ] = None,
    results: Annotated[Path, typer.Option(help="Folder of the results.")] = RESULTS,
    docs: Annotated[Path, typer.Option(help="Folder of the pages.")] = DOCS,
) -> None:
    """Write pages from the results."""
    for name in names or PAGES:
        if name not in PAGES:
            raise typer.BadParameter(f"unknown page {name}; the pages are {', '.join(PAGES)}")
        file = docs / f"{name}.md"
        file.write_text(page(file, results))
        print(f"wrote {file}")


def page(file: Path, results: Path) -> str:
    """The text of a page with the results in a folder."""
    return _PART.sub(lambda part: part[1] + PARTS[part[2]](results) + part[3], file.read_text())


def peers(data: Data) -> str:
    return f"""{_conditions(data)} Plan `{data["conditions"]["plan"]}`, {data["conditions"]["photos"]} images.

{peers_table(data).markdown()}"""


def rivals(data: Data) -> str:
    return f"""{_conditions(data)} In {data["conditions"]["precision"]}, the network alone.

{rivals_table(data).markdown()}"""


def cameras(data: Data) -> str:
    one = data["latency"]
    four = data["four cameras"]
    c = data["conditions"]
    return f"""{c["machine"]}, {c["threads"]} threads, {c["minutes"]:g} minutes.

- One 1080p camera at 60 frames per second, and an engine that takes {one["engine, ms"]:g} ms: results are
  {one["age p50, ms"]:.0f} ms old in the median and {one["age p99, ms"]:.0f} ms at p99. Two inferences and a frame
  interval are {one["limit for p99: two inferences and a frame interval, ms"]:.0f} ms.
- Four cameras at 60 frames per second: together {four["ratio"]:.3f} of the throughput of `predict_batch` alone. The
  slowest camera got {four["smallest share, relative to an equal one"]:.3f} of an equal share."""


def shipped(results: Path) -> str:
    """The output of ``pvlr eval --json`` for the shipped plans."""
    rows = []
    for path in sorted(results.glob("eval-*.json"), reverse=True):
        report = json.loads(path.read_text())
        data = path.stem.split("-on-")[1].replace("_", " ")  # eval-<plan>-on-<data>.json
        scores = [f"{report[key]:.2f}" for key in ("mAP", "mAP_11pt", "CF1", "OF1")]
        scores.append(f"{report['ECE']:.2f}" if "ECE" in report else "-")
        rows.append([f"`{report['model']}`", f"{data}, {report['images']:,}", *scores])
    return Table(
        "", ["Model", "Images", "mAP", "mAP, 11 points", "CF1", "OF1", "ECE"], rows
    ).markdown()


def _conditions(data: Data) -> str:
    c = data["conditions"]
    versions = ", ".join(f"{name} {version}" for name, version in c["versions"].items())
    machine = f"{c['machine']}, {c['cores']} cores, {c['threads']} threads per engine"
    return f"{machine}, {c['system']}, {c['date']}; {versions}."


def _one(name: str, text: Callable[[Data], str], results: Path) -> str:
    path = results / f"{name}.json"
    return text(json.loads(path.read_text())) if path.exists() else "Not measured."


def _models(name: str, table: Callable[[Any], Table], results: Path) -> str:
    reports = [
        json.loads(path.read_text())
        for path in sorted(results.glob(f"{name}-*.json"), reverse=True)
    ]
    return table(reports).markdown() if reports else "Not measured."


def _bundled(table: Callable[[Data], Table], results: Path) -> str:
    """Of the bundled model, with the tiles of the defaults and without."""
    parts = []
    for tiles in ("", "-1x1"):
        text = _one(f"sequences-{BUNDLED}{tiles}", lambda data: table(data).markdown(), results)
        parts.append(f"`{BUNDLED}`, {'without tiles' if tiles else 'tiles auto'}:\n\n{text}")
    return "\n\n".join(parts)


PARTS: dict[str, Callable[[Path], str]] = {
    "peers": partial(_one, "peers", peers),
    "rivals": partial(_one, "rivals", rivals),
    "cameras": partial(_one, "cameras", cameras),
    "shipped": shipped,
    "clips": partial(_models, "clips", overview),
    "sequences": partial(_models, "sequences", overview),
    "sequences_each": partial(_bundled, each),
    "sequences_failures": partial(_bundled, failures),
}
"""By name: the text of a part of a page for the folder of the results."""


if __name__ == "__main__":
    run(main)
