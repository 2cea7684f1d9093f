"""Repeats every figure of docs/performance.md on this machine, and writes the page: python -m benchmarks

    python -m benchmarks [--checkpoint runs/pvlr-lite2-coco80] [--images photos/] [--short]

About eight minutes on two cores with nothing else running. --checkpoint adds PyTorch, and a plan built from that run
takes the bundled one's place. Without --images the sample photos are used: enough to time int8, too few kinds of
picture to judge it by.
--short only shows that everything works: its figures mean nothing, and it leaves the page alone.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from pvlr_sdk.build import build
from pvlr_sdk.bundle import default_plan
from pvlr_sdk.precision import Photos

FOLDER = Path(__file__).parent


def main(
    checkpoint: Annotated[Path | None, typer.Option(help="A run of pvlr train, for PyTorch.")] = None,
    images: Annotated[Path | None, typer.Option(help="Photos: for int8, the peers' results, and the folder.")] = None,
    short: Annotated[bool, typer.Option(help="A test run.")] = False,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = FOLDER / "results",
) -> None:
    """Run all benchmarks, one after the other."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        plan = _plan(checkpoint, Path(folder)) if checkpoint else default_plan()
        int8 = ["--int8", str(_int8(plan, images, 40 if short else 400, Path(folder)))]
        photos = ["--images", str(images)] if images else []
        trained = ["--checkpoint", str(checkpoint)] if checkpoint else []
        few = {
            "peers": ["--rounds", "1", "--count", "3"],
            "layers": ["--runs", "5"],
            "scaling": ["--short", "--rounds", "1"],
            "folder": ["--count", "6", "--large", "2", "--seconds", "0.2"],
            "preprocess": ["--rounds", "1"],
            "start": ["--samples", "1"],
        }
        arguments = {
            "peers": [str(plan), *trained, *int8, *photos],
            "layers": [str(plan), *int8, *([] if short else ["--dense"])],
            "scaling": [],
            "folder": [str(plan), *photos],
            "preprocess": [],
            "start": [],
        }
        for name, options in arguments.items():
            _run(name, [*options, *(few[name] if short else []), "--json", str(out / f"{name}.json")])
    if not short:
        _run("report", [])
    print(f"{(time.perf_counter() - began) / 60:.1f} minutes")


def _plan(checkpoint: Path, folder: Path) -> Path:
    """The run's network as a plan."""
    from pvlr_training.export import export

    plan = folder / "engine.plan"
    build(export(checkpoint, folder), plan)
    return plan


def _int8(source: Path, images: Path | None, count: int, folder: Path) -> Path:
    """The plan's network as a quantised plan, with its gate's figures printed."""
    sys.path.insert(0, str(FOLDER))
    from folder import make_photos

    frames = Photos.below(images) if images else Photos(make_photos(folder / "photos", count, 375))
    plan = folder / "int8.plan"
    manifest = build(source, plan, precision="int8", photos=frames, min_agreement=0.0)
    print("int8, held against fp32:", manifest.measured["precisions"]["int8"])
    return plan


def _run(script: str, options: list[str]) -> None:
    print(f"== {script}", flush=True)
    subprocess.run([sys.executable, str(FOLDER / f"{script}.py"), *options], check=True)


if __name__ == "__main__":
    typer.run(main)
