"""Puts a report together: measures the runs, then writes the page."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pvlr_sdk.errors import OptionError
from pvlr_sdk.files import write_files

from .figures import figures
from .mistakes import picture, worst_mistakes
from .page import render
from .photos import PhotoSet, choose_photos
from .predictions import Predictions, predict
from .runs import Run, read_runs
from .settings import settings


def report(
    runs: Sequence[Path],
    out: Path,
    *,
    images: Path | None = None,
    labels: Path | None = None,
    split: str | None = None,
    mistakes: int = 12,
    console: Console | None = None,
) -> dict[str, Any]:
    """Measure runs on photos and write one HTML page about them; returns the page's data without its pictures.

    The page needs nothing but itself. Each run is measured on the photos that it held out of its own training, unless
    ``split`` or ``images`` and ``labels`` say otherwise (see :func:`choose_photos`).

    Args:
        runs: folders that ``pvlr train`` wrote.
        out: the HTML file.
        mistakes: how many photos of each kind of mistake the page shows a run; 0 leaves photos out.

    Raises:
        OptionError, CheckpointError, LabelsFileError, FrameError, OutputError: what is wrong with the arguments, the
            runs, the labels, the photos, the output.
    """
    if mistakes < 0:
        raise OptionError("--mistakes", expected="0 or more", got=str(mistakes), hint="0 leaves photos out.")
    found = read_runs(runs)
    sets = [choose_photos(run, images, labels, split) for run in found]
    with _bar(console or Console(stderr=True)) as bar:
        predictions = []
        for run, photos in zip(found, sets, strict=True):
            task = bar.add_task(run.name, total=len(photos.paths))
            predictions.append(predict(run, photos.paths, lambda n, task=task: bar.advance(task, n)))
            bar.update(task, completed=len(photos.paths))
    pictures: dict[Path, str | None] = {}
    rows = [_run(*one, mistakes, pictures) for one in zip(found, sets, predictions, strict=True)]
    data = {
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "same_photos": all(one.paths == sets[0].paths for one in sets),
        "labels": list(dict.fromkeys(label for run in found for label in run.labels)),
        "settings": settings(found),
        "runs": rows,
    }
    write_files({out: render({**data, "pictures": list(pictures.values())}).encode()})
    return data


def _run(
    run: Run, photos: PhotoSet, predictions: Predictions, mistakes: int, pictures: dict[Path, str | None]
) -> dict[str, Any]:
    """One run's part of the page's data; adds the photos that it shows to ``pictures``."""
    done = np.flatnonzero(predictions.done)
    measured = predictions.logits[done].astype(np.float64), photos.targets[done], run.thresholds
    worst = worst_mistakes(run.labels, *measured, mistakes)
    for mistake in worst:
        path = photos.paths[done[mistake.pop("photo")]]
        if path not in pictures:
            pictures[path] = picture(path)
        mistake |= {"file": path.name, "picture": list(pictures).index(path)}
    return {
        "name": run.name,
        "photos": len(done),
        "measured_on": photos.description,
        "failed": [path.name for path, is_done in zip(photos.paths, predictions.done, strict=True) if not is_done],
        "parameters": run.parameters,
        "seconds": run.seconds,
        **figures(run.labels, *measured),
        "log": run.log,
        "mistakes": worst,
    }


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
