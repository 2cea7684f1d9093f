"""Measures the runs and renders the page."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from numpy.typing import NDArray
from rich.console import Console

from pvlr_sdk._util.files import write_files
from pvlr_sdk.errors import OptionError

from ..logs import open_progress
from .images import ImageSelection, choose_images, predict
from .metrics import RECALLS, run_metrics
from .mistakes import thumbnail, worst_mistakes
from .runs import Run, compare_settings, read_runs

_FOLDER = resources.files(__package__)
_STATES = {
    "right": ("✓", "correct"),
    "missed": ("\N{MINUS SIGN}", "missed"),
    "added": ("+", "added, not present"),
    "unknown": ("?", "not labelled"),
}
"""Of a tag: its sign, and what it means."""


def report(
    runs: Sequence[Path],
    out: Path,
    *,
    images: Path | None = None,
    labels: Path | None = None,
    split: str | None = None,
    mistakes: int = 12,
    notes: Sequence[str] = (),
    console: Console | None = None,
) -> dict[str, Any]:
    """Measure runs and write one self-contained HTML page about them; returns the page's data without the images.

    Each run is measured on its held-out images, unless ``split`` or ``images`` and ``labels`` select others (see
    :func:`choose_images`).

    Args:
        runs: folders that ``pvlr train`` wrote.
        out: the HTML file.
        mistakes: the number of images per run and kind of mistake; 0 shows no images.
        notes: further sentences for the summary.

    Raises:
        OptionError, CheckpointError, LabelsFileError, FrameError, OutputError: invalid arguments, runs, labels, images
            or output.
    """
    if mistakes < 0:
        raise OptionError("--mistakes", "0 or more", str(mistakes), "0 shows no images.")
    found = read_runs(runs)
    sets = [choose_images(run, images, labels, split) for run in found]
    with open_progress(console or Console(stderr=True)) as bar:
        predictions = []
        for run, chosen in zip(found, sets, strict=True):
            task = bar.add_task(run.name, total=len(chosen.paths), details="")
            predictions.append(
                predict(run, chosen.paths, lambda n, task=task: bar.advance(task, n))
            )
            bar.update(task, completed=len(chosen.paths))
    pictures: dict[Path, str | None] = {}
    rows = [_run(*one, mistakes, pictures) for one in zip(found, sets, predictions, strict=True)]
    data = {
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "same_images": all(one.paths == sets[0].paths for one in sets),
        "labels": list(dict.fromkeys(label for run in found for label in run.labels)),
        "settings": compare_settings(found),
        "notes": list(notes),
        "runs": rows,
    }
    write_files({out: render(data, list(pictures.values())).encode()})
    return data


def _run(
    run: Run,
    chosen: ImageSelection,
    predictions: tuple[NDArray[np.float64], NDArray[np.bool_]],
    mistakes: int,
    pictures: dict[Path, str | None],
) -> dict[str, Any]:
    """One run's part of the page's data; adds the images that it shows to ``pictures``."""
    logits, decoded = predictions
    done = np.flatnonzero(decoded)
    measured = logits[done], chosen.targets[done], run.thresholds
    worst = worst_mistakes(run.labels, *measured, mistakes)
    for mistake in worst:
        path = chosen.paths[done[mistake.pop("row")]]
        if path not in pictures:
            pictures[path] = thumbnail(path)
        mistake |= {"file": path.name, "picture": list(pictures).index(path)}
    return {
        "name": run.name,
        "images": len(done),
        "measured_on": chosen.description,
        "failed": [
            path.name for path, is_done in zip(chosen.paths, decoded, strict=True) if not is_done
        ],
        "parameters": run.parameters,
        "seconds": run.seconds,
        **run_metrics(run.labels, *measured, run.prevalence),
        "mistakes": worst,
    }


def render(data: dict[str, Any], pictures: Sequence[str | None]) -> str:
    """The whole page as text, without a script.

    Names of labels, files and runs are untrusted: the template escapes them, and the page's content security policy
    allows no scripts.
    """
    style, template = (
        (_FOLDER / name).read_text(encoding="utf-8").strip()
        for name in ("style.css", "template.html")
    )
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(template).render(
        **data,
        pictures=pictures,
        states=_STATES,
        recalls=RECALLS,
        rows=_rows(data["labels"], data["runs"]),
        style=style,
        style_hash=f"sha256-{digest}",
    )


def _rows(
    labels: Sequence[str], runs: Sequence[dict[str, Any]]
) -> list[tuple[str, list[dict[str, Any]]]]:
    """For each label, its metrics in the runs that have it; the lowest mean average precision first, unknown ones
    last."""
    found: dict[str, list[dict[str, Any]]] = {label: [] for label in labels}
    for index, run in enumerate(runs):
        for one in run["classes"]:
            found[one["label"]].append({**one, "run": index})

    def mean(row: tuple[str, list[dict[str, Any]]]) -> float:
        known = [one["ap"] for one in row[1] if one["ap"] is not None]
        return sum(known) / len(known) if known else 2

    return sorted(found.items(), key=mean)
