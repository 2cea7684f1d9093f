"""Time until a tagger is ready, and its memory; each sample is a process of its own.

    python -m benchmarks.cpu.start [--samples 5]

Reports import, Tagger() with a cold and a warm cache, resident memory after 200 frames of 1080p, and the whole command
`pvlr tag photo.jpg`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from statistics import median
from typing import Annotated, Any

import typer

from ..common import DOCS, Json, conditions, run, save
from . import tables

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
    samples: Annotated[int, typer.Option(help="Processes with a warm cache, after one with a cold cache.")] = 5,
    out: Json = None,
) -> None:
    """Time the start of a process that tags."""
    with tempfile.TemporaryDirectory() as cache:
        os.environ["PVLR_CACHE_DIR"] = cache
        cold = _sample()  # its command already finds the cache warm
        warm = [_sample() for _ in range(samples)]
    rows = {name: {"cold": cold[name], "warm, median": median(sample[name] for sample in warm)} for name in cold}
    data = {"conditions": {**conditions(), "starts": samples}, "figures": rows}
    tables.start(data).print()
    save(out, data)


def _sample() -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", _SAMPLE], capture_output=True, text=True, check=True)
    image = str(DOCS / "images" / "astronaut.jpg")
    began = time.perf_counter()
    command = [sys.executable, "-c", "from pvlr_sdk.cli import main; main()", "tag", image]
    subprocess.run(command, capture_output=True, check=True)
    return {**json.loads(done.stdout), "pvlr tag photo.jpg, s": time.perf_counter() - began}


if __name__ == "__main__":
    run(main)
