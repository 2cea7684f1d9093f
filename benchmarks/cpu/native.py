"""Tagging a frame in C++ through libpvlr, compared with Tagger.predict in Python.

    python -m benchmarks.cpu.native [PLAN] [--threads 2] [--prefix /usr/local]

A 1080p BGR frame in memory, until its tags are there. The two processes take turns. The exit status is 1 if the median
of libpvlr is above that of Python. Without --prefix, where libpvlr is installed, it is built first, which takes a
minute (docs/cpp.md lists what the build needs).
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer

from pvlr_sdk import Tagger
from pvlr_sdk.models.find import default_plan

from ..common import ROOT, SAMPLES, Json, Plan, Table, Threads, conditions, run, save, summarise

WIDTH, HEIGHT = 1920, 1080
PYTHON, NATIVE = "Tagger.predict", "libpvlr"


def main(
    plan: Plan = None,
    threads: Threads = 2,
    prefix: Annotated[Path | None, typer.Option(help="Where libpvlr is installed. Default: build it.")] = None,
    rounds: Annotated[int, typer.Option(help="Turns of each.")] = 40,
    calls: Annotated[int, typer.Option(help="Frames of a turn.")] = 10,
    out: Json = None,
) -> int:
    """Time libpvlr and Tagger.predict, and print the ratio of their medians."""
    plan = plan or default_plan()
    frame = cv2.resize(cv2.imread(str(SAMPLES[0])), (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    samples: dict[str, list[float]] = {PYTHON: [], NATIVE: []}
    with tempfile.TemporaryDirectory() as folder, Tagger(plan, num_threads=threads, allow_unsigned=True) as tagger:
        pixels = Path(folder) / "frame.bgr"
        pixels.write_bytes(frame.tobytes())
        program = compile_program(prefix or build_library(Path(folder)), Path(folder))
        command = [program, plan, str(threads), pixels, str(WIDTH), str(HEIGHT)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            scores = np.float32(process.stdout.readline().split())
            difference = float(np.abs(tagger.predict(frame).scores - scores).max())
            for number in range(rounds + 1):
                print(calls, file=process.stdin, flush=True)
                native = [float(value) for value in process.stdout.readline().split()]
                python = [predict_ms(tagger, frame) for _ in range(calls)]
                if number > 0:  # the first is a warm-up
                    samples[NATIVE] += native
                    samples[PYTHON] += python
            process.stdin.close()
    figures = summarise(samples)
    ratio = figures[NATIVE]["median_ms"] / figures[PYTHON]["median_ms"]
    rows = [[name, *(f"{row[key]:.3f}" for key in ("median_ms", "p99_ms", "min_ms"))] for name, row in figures.items()]
    Table(f"A 1080p BGR frame, {threads} threads", ["", "Median, ms", "p99, ms", "Min, ms"], rows).print()
    print(f"C++ / Python: {ratio:.3f}; largest difference of a score: {difference:g}")
    data = {"conditions": conditions(threads), "figures": figures, "ratio": round(ratio, 4)}
    save(out, {**data, "largest_score_difference": difference})
    return int(ratio > 1 and rounds * calls >= 100)  # fewer only test the script


def predict_ms(tagger: Tagger, frame: np.ndarray) -> float:
    """Milliseconds until the tags of a frame are there."""
    began = time.perf_counter()
    tagger.predict(frame)
    return 1e3 * (time.perf_counter() - began)


def build_library(folder: Path) -> Path:
    """Build and install libpvlr below a folder."""
    prefix, build = folder / "prefix", folder / "build"
    options = ["-DPVLR_RUNTIME=ON", "-DPVLR_PYTHON=OFF", "-DCMAKE_INSTALL_LIBDIR=lib"]
    options += [f"-DCMAKE_INSTALL_PREFIX={prefix}", f"-DPython3_EXECUTABLE={sys.executable}"]
    for arguments in (["-S", ROOT, "-B", build, *options], ["--build", build], ["--install", build]):
        subprocess.run(["cmake", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)
    return prefix


def compile_program(prefix: Path, folder: Path) -> Path:
    """Compile native.cpp with an installed libpvlr."""
    program, libraries = folder / "native", prefix / "lib"
    source = Path(__file__).with_suffix(".cpp")
    link = [f"-L{libraries}", f"-Wl,-rpath,{libraries}", "-lpvlr"]
    subprocess.run(["c++", "-O2", "-std=c++17", f"-I{prefix / 'include'}", source, *link, "-o", program], check=True)
    return program


if __name__ == "__main__":
    run(main)
