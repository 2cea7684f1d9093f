"""Repeats every figure of docs/performance.md on this machine, and writes the page: python -m benchmarks

    python -m benchmarks [--checkpoint runs/pvlr-lite2-coco80] [--images photos/] [--short]

About eight minutes on two cores with nothing else running. --checkpoint (the run behind the bundled plan) adds PyTorch
and int8; without --images the sample photos that come with the repository take their place. --short only shows that
everything works: its figures mean nothing, and it leaves the page alone.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

FOLDER = Path(__file__).parent


def main(
    checkpoint: Annotated[Path | None, typer.Option(help="The run behind the bundled plan, with model.onnx.")] = None,
    images: Annotated[Path | None, typer.Option(help="Photos: for int8, the peers' results, and the folder.")] = None,
    short: Annotated[bool, typer.Option(help="A test run.")] = False,
    out: Annotated[Path, typer.Option(help="Where the JSON goes.")] = FOLDER / "results",
) -> None:
    """Run all benchmarks, one after the other."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        plan = _int8(checkpoint, images, Path(folder)) if checkpoint and images else None
        int8 = ["--int8", str(plan)] if plan else []
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
            "peers": [*trained, *int8, *photos],
            "layers": [*int8, *([] if short else ["--dense"])],
            "scaling": [],
            "folder": photos,
            "preprocess": [],
            "start": [],
        }
        for name, options in arguments.items():
            _run(name, [*options, *(few[name] if short else []), "--json", str(out / f"{name}.json")])
    if not short:
        _run("report", [])
    print(f"{(time.perf_counter() - began) / 60:.1f} minutes")


def _int8(checkpoint: Path, images: Path, folder: Path) -> Path:
    """A quantised plan of the same model, with its gate's figures printed."""
    from pvlr_sdk.build import build
    from pvlr_sdk.precision import Photos

    manifest = build(
        checkpoint / "model.onnx",
        folder / "int8.plan",
        precision="int8",
        photos=Photos.below(images),
        min_agreement=0.0,
    )
    print("int8, held against fp32:", manifest.measured["precisions"]["int8"])
    return folder / "int8.plan"


def _run(script: str, options: list[str]) -> None:
    print(f"== {script}", flush=True)
    subprocess.run([sys.executable, str(FOLDER / f"{script}.py"), *options], check=True)


if __name__ == "__main__":
    typer.run(main)
