"""All benchmarks of docs/performance.md on this machine, one after the other; writes the page.

    python -m benchmarks [--checkpoint runs/pvlr-lite2-coco80] [--images images/] [--short]

Takes about eight minutes on two idle cores. --checkpoint adds PyTorch and replaces the shipped plan by one built from
that run. Without --images the sample images are used: enough to time int8, but too few to judge its accuracy.
--short only tests the scripts: its results are meaningless, and the page stays as it is.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from pvlr_sdk.compile.build import build
from pvlr_sdk.compile.calibration import CalibrationImages
from pvlr_sdk.models.find import find_plan

from .common import CLOSED, RESULTS, make_images, run


def main(
    checkpoint: Annotated[Path | None, typer.Option(help="A run of pvlr train, for PyTorch.")] = None,
    images: Annotated[Path | None, typer.Option(help="Images for int8, for the scores and for the folder.")] = None,
    short: Annotated[bool, typer.Option(help="Test run.")] = False,
    out: Annotated[Path, typer.Option(help="Folder of the results.")] = RESULTS,
) -> None:
    """Run all benchmarks of docs/performance.md and write the page."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        plan = _plan(checkpoint, Path(folder)) if checkpoint else find_plan(CLOSED)
        int8 = ["--int8", str(_int8(plan, images, 40 if short else 400, Path(folder)))]
        given = ["--images", str(images)] if images else []
        trained = ["--checkpoint", str(checkpoint)] if checkpoint else []
        for name, options, few in (
            ("peers", [str(plan), *trained, *int8, *given], ["--rounds", "1", "--count", "3"]),
            ("scaling", [], ["--short", "--rounds", "1"]),
            ("folder", [str(plan), *given], ["--count", "6", "--large", "2", "--seconds", "0.2"]),
            ("preprocess", [], ["--rounds", "1"]),
            ("start", [], ["--samples", "1"]),
        ):
            _run(f"cpu.{name}", *options, *(few if short else []), "--json", str(out / f"{name}.json"))
    if not short:
        _run("pages", "performance")
    print(f"{(time.perf_counter() - began) / 60:.1f} minutes")


def _plan(checkpoint: Path, folder: Path) -> Path:
    """The network of a run as a plan."""
    from pvlr_training.export import export

    plan = folder / "engine.plan"
    build(export(checkpoint, folder), plan)
    return plan


def _int8(source: Path, images: Path | None, count: int, folder: Path) -> Path:
    """The network of a plan as an int8 plan; prints its agreement with fp32."""
    frames = CalibrationImages.below(images) if images else CalibrationImages(make_images(folder / "images", count))
    plan = folder / "int8.plan"
    manifest = build(source, plan, precision="int8", calibration_images=frames, min_agreement=0.0)
    print("int8, compared with fp32:", manifest.measured["precisions"]["int8"])
    return plan


def _run(module: str, *options: str) -> None:
    print(f"== {module}", flush=True)
    subprocess.run([sys.executable, "-m", f"benchmarks.{module}", *options], check=True)


if __name__ == "__main__":
    run(main)
