"""mAP under what cameras do to images: the twelve corruptions of training/data/corruptions.py, at three strengths.

    python -m benchmarks.accuracy.corruptions --plan pvlr-lite0-coco80 --share 0.2 --json corruptions.json

Each image is corrupted before preprocessing, always the same way for a seed, whatever the share. Training uses random
strengths from 0.1 to 0.8 (data.camera). A run with --json that was interrupted continues where it was.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from pvlr_sdk import Tagger, errors
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
    read_image,
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
        setup = {
            "model": {key: tagger.info[key] for key in ("name", "sha256", "precision")},
            "images": describe_split(dataset, split, share, table),
            "seed": seed,
            "strengths": list(STRENGTHS),
        }
        scores = resume(out, setup)
        missing = [case for case in cases() if case not in scores]
        with Progress(TextColumn("{task.description:<18}"), BarColumn(), TimeRemainingColumn()) as progress:
            bar = progress.add_task("", total=len(missing) * len(table.files))
            for case in missing:
                progress.update(bar, description=case)
                frames = corrupted(folder, table.files, case, seed, lambda: progress.advance(bar))
                scores[case] = measure(tagger, frames, table.targets)
                save(out, {**setup, "scores": scores, **drops(scores), "conditions": conditions(threads)})
    corruptions_table(scores, f"mAP, {tagger.info['name']}, {dataset} {split}, {len(table.files)} images").print(
        width=80
    )


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
        image = read_image(folder / file)
        if name:
            rng = np.random.default_rng([seed, zlib.crc32(file.encode()), zlib.crc32(case.encode())])
            image = CORRUPTIONS[name](image, strength, rng)
        yield image
        progress()


def drops(scores: Scores) -> dict[str, Any]:
    """The mean mAP over the corruptions at each strength, and by how much it is below that of clean images.

    None for a strength that is not complete.
    """
    means: dict[str, float | None] = {}
    for strength in STRENGTHS:
        found = [scores.get(f"{name} {strength:g}", np.nan) for name in CORRUPTIONS]
        mean = float(np.mean(found))
        means[f"{strength:g}"] = None if np.isnan(mean) else round(mean, 2)
    drop = {key: None if mean is None else round(scores[CLEAN] - mean, 2) for key, mean in means.items()}
    return {"mean": means, "mean_drop": drop, "complete": None not in means.values()}


def resume(path: Path | None, setup: dict[str, Any]) -> Scores:
    """The scores of an earlier run in a file, if there is one. Raises OptionError if it measured something else."""
    if path is None or not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())
        scores = {case: float(found["scores"][case]) for case in cases() if case in found["scores"]}
        different = [key for key in setup if found.get(key) != setup[key]]
    except (ValueError, TypeError, KeyError, AttributeError, OSError):
        different = ["contents"]
    if different:
        expected = "a new file, or one of a run with the same plan and options"
        got = f"{path} with other {' and '.join(different)}"
        raise errors.OptionError("--json", expected=expected, got=got, hint="Remove it, or give another.")
    return scores


def corruptions_table(scores: Scores, title: str) -> Table:
    """A line per corruption, a column per strength, and the means; the clean mAP is the first line."""
    rows = [[CLEAN, f"{scores[CLEAN]:.2f}", *[""] * (len(STRENGTHS) - 1)]]
    rows += [[name, *(f"{scores[f'{name} {strength:g}']:.2f}" for strength in STRENGTHS)] for name in CORRUPTIONS]
    for label, values in (("mean", drops(scores)["mean"]), ("mean drop", drops(scores)["mean_drop"])):
        rows.append([label, *(f"{value:.2f}" for value in values.values())])
    return Table(title, ["Corruption", *(f"strength {strength:g}" for strength in STRENGTHS)], rows)


if __name__ == "__main__":
    run(main)
