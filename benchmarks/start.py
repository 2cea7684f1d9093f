"""How long until a tagger is ready, and how much memory does it hold? Each sample is a process of its own.

    python benchmarks/start.py [--samples 5]

Prints medians of: import, Tagger() with a cold and a warm cache, resident memory after 200 frames of 1080p, and the
command `pvlr tag photo.jpg` from its start to its end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from common import conditions, print_table, write_json

_PHOTO = Path(__file__).parents[1] / "docs" / "images" / "astronaut.jpg"
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
        cold = _sample()  # its command finds the cache warm already
        warm = [_sample() for _ in range(samples)]
    rows = {name: {"cold": cold[name], "warm, median": median(sample[name] for sample in warm)} for name in cold}
    columns = ["", "cold cache", "warm cache, median"]
    table = [[name, f"{row['cold']:.3f}", f"{row['warm, median']:.3f}"] for name, row in rows.items()]
    print_table(f"the bundled model, {samples} warm starts", columns, table)
    write_json(out, {"conditions": {**conditions(), "starts": samples}, "figures": rows})


def _sample() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", _SAMPLE], capture_output=True, text=True, check=True)
    command = [sys.executable, "-c", "from pvlr_sdk.cli import main; main()", "tag", str(_PHOTO)]
    began = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return {**json.loads(done.stdout), "pvlr tag photo.jpg, s": time.perf_counter() - began}


if __name__ == "__main__":
    typer.run(main)
