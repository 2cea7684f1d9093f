"""Measures a compiled plan on labelled photos: what ``pvlr eval`` prints."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import errors, metrics
from .labels_csv import LabelTable

if TYPE_CHECKING:
    from .tagger import Tagger


@dataclass(frozen=True)
class EvalReport:
    """How well a plan tags. All measures are in percent; None where there is nothing to measure.

    Attributes:
        mAP: mean over the classes of the area under the precision-recall curve.
        mAP_11pt: the same with VOC 2007's eleven-point average precision.
        images: how many photos the measures are about.
        per_class: average precision of each label that the labels file has a column for.
        CP, CR, CF1, OP, OR, OF1: precision, recall and F1 of the tags at the plan's thresholds (or the given one).
        CP_top3, ...: the same of the three tags of each photo that have the highest scores.
        missing_labels: labels of the model without a column in the labels file; not measured.
        extra_columns: columns of the labels file that are no label of the model; not measured.
        failed_images: photos that could not be tagged, with the reason; they take no part in the measures.
        seconds: how long it took, reading the photos included.
        model: the model's name.
        precision: what the plan ran in on this machine: ``fp32``, ``bf16``, ...
    """

    mAP: float | None  # noqa: N815 - the field's name for it
    mAP_11pt: float | None  # noqa: N815
    images: int
    per_class: dict[str, float | None]
    CP: float | None
    CR: float | None
    CF1: float | None
    OP: float | None
    OR: float | None
    OF1: float | None
    CP_top3: float | None
    CR_top3: float | None
    CF1_top3: float | None
    OP_top3: float | None
    OR_top3: float | None
    OF1_top3: float | None
    missing_labels: list[str]
    extra_columns: list[str]
    failed_images: list[dict[str, str]]
    seconds: float
    model: str
    precision: str

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values, measures rounded to three decimals."""
        return {name: _rounded(value) for name, value in asdict(self).items()}


def evaluate(
    tagger: Tagger, images: str | Path, table: LabelTable, progress: Callable[[int], None] | None = None
) -> EvalReport:
    """Tags every photo of ``table`` and compares with its targets.

    Args:
        tagger: made without ``top_k``, which would cut its tag sets.
        images: the folder that the table's file names are relative to.
        table: from :func:`pvlr_sdk.labels_csv.read_labels` with the tagger's labels as ``names``.
        progress: called after each photo with the number of photos done.

    Raises:
        ImageNotFoundError: ``images`` is no folder.
        OptionError: the table was made for other labels.
        FrameError: not one photo could be tagged (the first photo's error).
    """
    start = time.perf_counter()
    photos = tag_photos(tagger, images, table, progress)
    done = photos.done
    targets = table.targets[done]
    average = metrics.per_class("ap", photos.logits[done], targets)
    tagged = photos.tagged[done]
    f1 = metrics.f1_scores(tagged, targets)
    top3 = metrics.f1_scores(metrics.top_k(photos.logits[done], 3, tagged), targets)
    return EvalReport(
        mAP=_percent(metrics.nan_mean(average)),
        mAP_11pt=_percent(metrics.nan_mean(metrics.per_class("ap_11pt", photos.logits[done], targets))),
        images=int(done.sum()),
        per_class={
            label: _percent(value)
            for label, value in zip(tagger.labels, average, strict=True)
            if label not in table.missing
        },
        **{name: _percent(value) for name, value in f1.items()},
        **{f"{name}_top3": _percent(value) for name, value in top3.items()},
        missing_labels=table.missing,
        extra_columns=table.extra,
        failed_images=photos.failed,
        seconds=time.perf_counter() - start,
        model=tagger.info["name"],
        precision=tagger.info["precision"],
    )


@dataclass(frozen=True)
class TaggedPhotos:
    """What a plan says of N photos; rows of photos that could not be tagged are 0 and not ``done``.

    Attributes:
        logits, scores: (N, C) float64 and float32.
        tagged: (N, C) bool, which labels were tags.
        done: (N,) bool.
        failed: the photos that could not be tagged, with the reason.
    """

    logits: NDArray[np.float64]
    scores: NDArray[np.float32]
    tagged: NDArray[np.bool_]
    done: NDArray[np.bool_]
    failed: list[dict[str, str]]


def tag_photos(
    tagger: Tagger, images: str | Path, table: LabelTable, progress: Callable[[int], None] | None = None
) -> TaggedPhotos:
    """Tags every photo of ``table``. Arguments and errors as for :func:`evaluate`."""
    folder = Path(images)
    _check(tagger, folder, table)
    column = {label: index for index, label in enumerate(tagger.labels)}
    shape = table.targets.shape
    photos = TaggedPhotos(
        np.zeros(shape), np.zeros(shape, np.float32), np.zeros(shape, np.bool_), np.zeros(shape[0], np.bool_), []
    )
    first_error: errors.FrameError | None = None

    outcomes = tagger.predict_stream(folder / file for file in table.files)
    for row, outcome in enumerate(outcomes):
        if isinstance(outcome, errors.FrameError):
            reason = {"error": type(outcome).__name__, "message": str(outcome)}
            photos.failed.append({"file": table.files[row], **reason})
            first_error = first_error or outcome
        else:
            # Logits too, not scores alone: a sigmoid rounds the surest ones to equal values.
            photos.logits[row], photos.scores[row] = outcome.logits, outcome.scores
            photos.tagged[row, [column[tag.label] for tag in outcome]] = True
            photos.done[row] = True
        if progress:
            progress(row + 1)
    if first_error and not photos.done.any():
        raise first_error
    return photos


def _check(tagger: Tagger, folder: Path, table: LabelTable) -> None:
    if not os.path.isdir(folder):
        raise errors.ImageNotFoundError(
            str(folder), expected="the folder of the photos", got="no such folder", hint="Check --images."
        )
    if table.targets.shape != (len(table.files), len(tagger.labels)):
        raise errors.OptionError(
            "table",
            expected=f"targets for {len(tagger.labels)} labels",
            got=f"an array {table.targets.shape}",
            hint="Read the labels file with names=tagger.labels.",
        )


def _percent(fraction: float) -> float | None:
    return None if math.isnan(fraction) else 100.0 * fraction


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return round(value, 3) if isinstance(value, float) else value
