"""How long until a tagger is ready, and how much memory does it hold? Each sample is a process of its own.

    python benchmarks/start.py [--samples 5]

Prints medians of: import, Tagger() with a cold and a warm cache, resident memory after 200 frames of 1080p.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

_SAMPLE = """
import json, time
began = time.perf_counter()
import pvlr_sdk
imported = time.perf_counter()
tagger = pvlr_sdk.Tagger()
ready = time.perf_counter()
import numpy as np
frame = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3), np.uint8)
for _ in range(200):
    tagger.predict(frame)
pages = int(open("/proc/self/statm").read().split()[1])
print(json.dumps({"import, s": imported - began, "Tagger(), s": ready - imported, "resident, MB": pages * 4096 / 1e6}))
"""


def main(
    samples: Annotated[int, typer.Option(help="Processes with a warm cache, after a cold one.")] = 5,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here as well.")] = None,
) -> None:
    """Time the start of a process that tags."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["PVLR_CACHE_DIR"] = cache
        cold = _sample()
        warm = [_sample() for _ in range(samples)]
    rows = {name: {"cold": cold[name], "warm, median": median(sample[name] for sample in warm)} for name in cold}
    table = Table(title=f"the bundled model, {samples} warm starts")
    for column in ("", "cold cache", "warm cache, median"):
        table.add_column(column, justify="right" if column else "left")
    for name, row in rows.items():
        table.add_row(name, f"{row['cold']:.3f}", f"{row['warm, median']:.3f}")
    Console().print(table)
    if out:
        out.write_text(json.dumps(rows, indent=1) + "\n")


def _sample() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", _SAMPLE], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


if __name__ == "__main__":
    typer.run(main)
