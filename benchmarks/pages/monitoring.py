"""docs/images/monitoring.svg: the answers of a real Prometheus to the queries of the dashboard, during a real run.

    python -m benchmarks.pages.monitoring --minutes 3   # needs the program prometheus, the extras cameras, bench

Three cameras: two patterns, and one that loses its connection every few seconds. This is no screenshot of Grafana.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from ..common import DOCS, run
from ..cpu.soak import mjpeg_camera

_WATCH, _PROMETHEUS = 19464, 19090


def main(
    minutes: Annotated[float, typer.Option(help="Duration of the run.")] = 3.0,
    out: Annotated[Path, typer.Option(help="The picture.")] = DOCS / "images/monitoring.svg",
) -> None:
    """Watch cameras, let Prometheus read the metrics, and draw the time series of the dashboard."""
    board = json.loads((DOCS / "grafana/pvlr.json").read_text())
    panels = [panel for panel in board["panels"] if panel["type"] == "timeseries"]
    with tempfile.TemporaryDirectory() as folder, mjpeg_camera(4) as address, _running(Path(folder), address):
        began = time.time()
        time.sleep(60 * minutes)
        answers = [[_ask(target, began + 10) for target in panel["targets"]] for panel in panels]
    _draw(panels, answers, out)
    print(f"wrote {out}")


@contextmanager
def _running(folder: Path, address: str) -> Iterator[None]:
    scrape = [{"job_name": "pvlr", "static_configs": [{"targets": [f"127.0.0.1:{_WATCH}"]}]}]
    (folder / "prometheus.yml").write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": scrape}))
    cameras = ["door=test://?fps=8&size=640x360", "yard=test://?fps=4&size=640x360&seed=1", f"gate=http://{address}/"]
    watch = ["-c", "from pvlr_sdk.cli import main; main()", "watch", *cameras, "--config", f"{folder}/site.yaml"]
    (folder / "site.yaml").write_text(f"threads: 1\nmetrics: {{port: {_WATCH}}}\n")
    store = [f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data"]
    events = ["--threshold", "0.01", "--min-duration", "0.1", "--events", os.devnull]
    commands = [
        [sys.executable, *watch, *events],
        ["prometheus", *store, f"--web.listen-address=127.0.0.1:{_PROMETHEUS}"],
    ]
    processes = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for command in commands]
    try:
        yield
        assert all(process.poll() is None for process in processes), "a process ended early"
    finally:
        for process in processes:
            process.terminate()
            process.wait()


def _ask(target: dict[str, Any], began: float) -> list[tuple[str, list[float], list[float]]]:
    """Name, seconds and values of each series."""
    query = target["expr"].replace("$__rate_interval", "15s").replace("$camera", ".*")
    values = urllib.parse.urlencode({"query": query, "start": began, "end": time.time(), "step": 5})
    with urllib.request.urlopen(f"http://127.0.0.1:{_PROMETHEUS}/api/v1/query_range?{values}") as answer:
        found = json.load(answer)["data"]["result"]
    series = []
    for one in found:
        name = target["legendFormat"]
        for label, value in one["metric"].items():
            name = name.replace(f"{{{{{label}}}}}", value)
        points = [(moment - began, float(value)) for moment, value in one["values"]]
        series.append((name, *map(list, zip(*points, strict=True))))
    return series


def _draw(panels: list[dict[str, Any]], answers: list[list[Any]], out: Path) -> None:
    import matplotlib

    matplotlib.use("agg")
    matplotlib.rcParams.update({"svg.hashsalt": "pvlr", "svg.fonttype": "none", "font.size": 8})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(-(-len(panels) // 2), 2, figsize=(11, 2.2 * -(-len(panels) // 2)), squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.axis("off")
    scale = {"s": (1e3, "ms"), "bytes": (1e-6, "MB"), "cps": (1, "per second")}
    for axis, panel, targets in zip(axes.flat, panels, answers, strict=False):
        factor, unit = scale.get(panel["fieldConfig"]["defaults"]["unit"], (1, ""))
        for name, seconds, values in (series for target in targets for series in target):
            axis.plot(seconds, [factor * value for value in values], label=name, linewidth=1)
        axis.set_title(f"{panel['title']} ({unit})" if unit else panel["title"], loc="left", fontsize=9)
        axis.set_ylim(0, 1.1 * axis.dataLim.y1 or 1)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=6, loc="upper left", bbox_to_anchor=(1, 1))
    figure.tight_layout()
    figure.savefig(out, metadata={"Date": None})


if __name__ == "__main__":
    run(main)
