"""mAP under what cameras do to images: the twelve corruptions of training/data/corruptions.py, at three strengths.

    python -m benchmarks.accuracy.corruptions --plan pvlr-lite0-coco80 --share 0.2 --json corruptions.json

Each image is corrupted before preprocessing, always the same way for a seed, whatever the share. Training uses random
strengths from 0.1 to 0.8 (data.camera).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from pvlr_sdk import Tagger
from pvlr_sdk.frames.bgr import load_bgr
from pvlr_training.data.corruptions import CORRUPTIONS

from ..common import Json, Table, conditions, run, save
from .data import (
    Data,
    Dataset,
    Plan,
    Share,
    Split,
    Threads,
    check_outputs,
    data_folder,
    describe_split,
    measure,
    read_split,
)

STRENGTHS = (0.3, 0.6, 0.9)
CLEAN = "clean"

Image = NDArray[np.uint8]
Scores = dict[str, float]
"""mAP in percent, by the name of a case: ``clean``, or a corruption and its strength."""


def main(
    plan: Plan = None,
    data: Data = None,
    dataset: Dataset = "voc",
    split: Split = "testdev",
    share: Share = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the corruptions.")] = 0,
    threads: Threads = None,
    out: Json = None,
) -> None:
    """Measure the mAP under each corruption and without any."""
    check_outputs(out)
    with Tagger(plan, num_threads=threads) as tagger:
        folder, table = read_split(data_folder(data), dataset, split, tagger.labels, share)
        scores: Scores = {}
        with Progress(TextColumn("{task.description:<18}"), BarColumn(), TimeRemainingColumn()) as progress:
            bar = progress.add_task("", total=len(cases()) * len(table.files))
            for case in cases():
                progress.update(bar, description=case)
                frames = corrupted(folder, table.files, case, seed, lambda: progress.advance(bar))
                scores[case] = measure(tagger, frames, table.targets)
        model = {key: tagger.info[key] for key in ("name", "sha256", "precision")}
    images = describe_split(dataset, split, share, table)
    setup = {"model": model, "images": images, "seed": seed, "strengths": list(STRENGTHS)}
    report = {**setup, "scores": scores, **drops(scores), "conditions": conditions(threads)}
    corruptions_table([report]).print(width=80)
    save(out, report)


def cases() -> dict[str, tuple[str, float]]:
    """By name of the case: the corruption and its strength; ``clean`` is first and has no corruption."""
    corrupted = {f"{name} {strength:g}": (name, strength) for name in CORRUPTIONS for strength in STRENGTHS}
    return {CLEAN: ("", 0.0), **corrupted}


def corrupted(
    folder: Path, files: list[str], case: str, seed: int, progress: Callable[[], object] = lambda: None
) -> Iterator[Image]:
    """The images of a case. The random numbers of each depend on the seed, its name and the case alone."""
    name, strength = cases()[case]
    for file in files:
        image = load_bgr(folder / file)
        if name:
            rng = np.random.default_rng([seed, zlib.crc32(file.encode()), zlib.crc32(case.encode())])
            image = CORRUPTIONS[name](image, strength, rng)
        yield image
        progress()


def drops(scores: Scores) -> dict[str, dict[str, float]]:
    """The mean mAP over the corruptions at each strength, and by how much it is below that of clean images."""
    means = {
        f"{strength:g}": round(float(np.mean([scores[f"{name} {strength:g}"] for name in CORRUPTIONS])), 2)
        for strength in STRENGTHS
    }
    drop = {strength: round(scores[CLEAN] - mean, 2) for strength, mean in means.items()}
    return {"mean": means, "mean_drop": drop}


def corruptions_table(reports: Sequence[dict[str, Any]]) -> Table:
    """A line per corruption and a column per model, with the mAP at each strength; and the means."""

    def cells(values: list[Scores]) -> list[str]:
        return [" / ".join(f"{value[f'{strength:g}']:.1f}" for strength in STRENGTHS) for value in values]

    rows = [["none", *(f"{report['scores'][CLEAN]:.1f}" for report in reports)]]
    for name in CORRUPTIONS:
        each = [{f"{s:g}": report["scores"][f"{name} {s:g}"] for s in STRENGTHS} for report in reports]
        rows.append([name, *cells(each)])
    rows += [[key.replace("_", " "), *cells([report[key] for report in reports])] for key in ("mean", "mean_drop")]
    columns = [f"{report['model']['name']}, {report['images']['count']} images" for report in reports]
    strengths = " / ".join(f"{strength:g}" for strength in STRENGTHS)
    return Table("mAP", [f"Corruption, at strength {strengths}", *columns], rows)


if __name__ == "__main__":
    run(main)
