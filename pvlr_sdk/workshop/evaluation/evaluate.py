"""Accuracy of a plan on labelled images: what ``pvlr eval`` prints."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ...frames.find import check_folder
from ...labels.intervals import count, expected, weights
from . import metrics
from .labels_csv import LabelTable
from .prevalence import find_prevalence
from .similar import similar

if TYPE_CHECKING:
    from ...tagger import Tagger


Interval = tuple[float, float, float] | None
"""A measure in percent and its 95 % interval; None if there is nothing to measure."""


@dataclass(frozen=True)
class EvalReport:
    """Accuracy of a plan. All measures are in percent; None where there is nothing to measure.

    Attributes:
        mAP: mean over the classes of the area under the precision-recall curve.
        mAP_interval: the 95 % interval of the mAP on other images (the last two numbers of ``expected["mAP"]``).
        mAP_11pt: the mAP with VOC 2007's eleven-point average precision.
        images: number of images measured.
        positives: number of images with each label that has a column in the labels file.
        per_class: average precision of each label that has a column in the labels file.
        CP, CR, CF1, OP, OR, OF1: precision, recall and F1 of the tags at the plan's thresholds (or the given one).
        CP_top3, ...: the same for the three highest-scoring tags of each image.
        ECE: expected calibration error of the scores, see :func:`.metrics.calibration_error`.
        missing_labels: labels of the model without a column in the labels file; not measured.
        extra_columns: columns of the labels file without a label in the model; not measured.
        failed_images: images that could not be tagged, with the reason; not measured.
        seconds: duration, including reading the images.
        expected: ``mAP``, ``CP``, ``CR``, ``OP`` and ``OR`` on other images with the same frequency of labels: value
            and 95 % interval, see :func:`pvlr_sdk.labels.intervals.expected`.
        prevalence: the share of images with each measured label, in percent, that was stated or estimated.
        expected_there: ``expected`` where labels are as frequent as ``prevalence``.
        doubts: sentences about figures that mean little, because few images are behind them.
        model: name of the model.
        precision: precision that the plan ran in on this machine: ``fp32``, ``bf16``, ...
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
    ECE: float | None
    missing_labels: list[str]
    extra_columns: list[str]
    failed_images: list[dict[str, str]]
    seconds: float
    model: str
    precision: str
    mAP_interval: tuple[float, float] | None  # noqa: N815
    positives: dict[str, int]
    doubts: list[str]
    expected: dict[str, Interval]
    prevalence: dict[str, float] | None
    expected_there: dict[str, Interval] | None

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values, rounded to three decimals."""
        plain: dict[str, Any] = json.loads(
            json.dumps(asdict(self)), parse_float=lambda text: round(float(text), 3)
        )
        return plain


def evaluate(
    tagger: Tagger,
    images: str | Path,
    table: LabelTable,
    progress: Callable[[int], None] | None = None,
    prevalence: str | None = None,
) -> EvalReport:
    """Tag every image of ``table`` and compare the tags with its targets.

    Args:
        tagger: without ``top_k``, which would truncate its tag sets.
        images: folder that the file names of the table are relative to.
        table: from :func:`.labels_csv.read_labels` with the labels of the tagger as ``names``.
        progress: called after each image with the number of images done.
        prevalence: how frequent labels are where the plan is used: a share, a JSON file or a folder of images without
            labels, see :func:`pvlr_sdk.workshop.evaluation.prevalence.find_prevalence`.

    Raises:
        ImageNotFoundError: ``images`` is not a folder.
        OptionError: the table was made for other labels; ``prevalence`` is invalid.
        FrameError: no image could be tagged; the error of the first one.
    """
    start = time.perf_counter()
    results = tag_images(tagger, images, table, progress)
    done = results.done
    targets = table.targets[done]
    average = metrics.per_class(results.logits[done], targets)
    tagged = results.tagged[done]
    f1 = metrics.f1_scores(tagged, targets)
    arrays = results.logits[done], tagged, targets
    groups = similar(
        [Path(images) / file for file, is_done in zip(table.files, done, strict=True) if is_done]
    )

    def elsewhere(**frequency: Any) -> dict[str, Interval]:
        """What to expect on other images, in percent."""
        intervals = expected(*arrays, groups=groups, **frequency)
        return {name: interval.percent() for name, interval in intervals.items()}

    usual = elsewhere()
    measured = {
        label: index for index, label in enumerate(tagger.labels) if label not in table.missing
    }
    eleven = metrics.per_class(results.logits[done], targets, metrics.average_precision_11pt)
    top3 = metrics.f1_scores(metrics.top_k(results.logits[done], 3, tagged), targets)
    doubts = metrics.doubts(list(measured), targets[:, list(measured.values())])
    shares = None
    at_prevalence = None
    if prevalence is not None:
        shares = find_prevalence(prevalence, tagger, results.logits[done], targets)
        at_prevalence = elsewhere(prevalence=shares)
        if (images_there := count(weights(targets, shares))) < metrics.FEW_IMAGES:
            doubts.append(
                f"at that prevalence, these images count as {images_there:.0f}: add images without labels."
            )
    return EvalReport(
        mAP=_percent(metrics.nan_mean(average)),
        mAP_interval=usual["mAP"] and usual["mAP"][1:],
        mAP_11pt=_percent(metrics.nan_mean(eleven)),
        images=int(done.sum()),
        positives={label: int((targets[:, index] == 1).sum()) for label, index in measured.items()},
        per_class={label: _percent(average[index]) for label, index in measured.items()},
        **{name: _percent(value) for name, value in f1.items()},
        **{f"{name}_top3": _percent(value) for name, value in top3.items()},
        ECE=_percent(metrics.calibration_error(results.scores[done], targets)),
        missing_labels=table.missing,
        extra_columns=table.extra,
        failed_images=results.failed,
        seconds=time.perf_counter() - start,
        doubts=doubts,
        expected=usual,
        prevalence=None
        if shares is None
        else {label: 100 * float(shares[i]) for label, i in measured.items()},
        expected_there=at_prevalence,
        model=tagger.info["name"],
        precision=tagger.info["precision"],
    )


@dataclass(frozen=True)
class TaggedImages:
    """Results of N images; rows of images that could not be tagged are 0 and not ``done``.

    Attributes:
        logits, scores: (N, C) float64 and float32.
        whole: (N, C) float64, the logits of the whole images: ``logits`` without tiles.
        tagged: (N, C) bool, the labels that were tags.
        done: (N,) bool.
        failed: the images that could not be tagged, with the reason.
    """

    logits: NDArray[np.float64]
    scores: NDArray[np.float32]
    whole: NDArray[np.float64]
    tagged: NDArray[np.bool_]
    done: NDArray[np.bool_]
    failed: list[dict[str, str]]


def tag_images(
    tagger: Tagger,
    images: str | Path,
    table: LabelTable,
    progress: Callable[[int], None] | None = None,
) -> TaggedImages:
    """Tag every image of ``table``. Arguments and errors as for :func:`evaluate`."""
    folder = Path(images)
    check_folder(folder, "--images", "the folder of the images")
    if table.targets.shape != (len(table.files), len(tagger.labels)):
        raise errors.OptionError(
            "table",
            f"targets for {len(tagger.labels)} labels",
            f"an array {table.targets.shape}",
            "Read the labels file with names=tagger.labels.",
        )
    column = {label: index for index, label in enumerate(tagger.labels)}
    shape = table.targets.shape
    results = TaggedImages(
        np.zeros(shape),
        np.zeros(shape, np.float32),
        np.zeros(shape),
        np.zeros(shape, np.bool_),
        np.zeros(shape[0], np.bool_),
        [],
    )
    first_error: errors.FrameError | None = None

    outcomes = tagger.predict_stream(folder / file for file in table.files)
    for row, outcome in enumerate(outcomes):
        if isinstance(outcome, errors.FrameError):
            reason = {"error": type(outcome).__name__, "message": str(outcome)}
            results.failed.append({"file": table.files[row], **reason})
            first_error = first_error or outcome
        else:
            # Logits as well as scores: the sigmoid rounds the most confident ones to equal values.
            results.logits[row] = outcome.logits
            results.scores[row] = outcome.scores
            results.whole[row] = outcome.tiles[0].result.logits if outcome.tiles else outcome.logits
            results.tagged[row, [column[tag.label] for tag in outcome]] = True
            results.done[row] = True
        if progress:
            progress(row + 1)
    if first_error and not results.done.any():
        raise first_error
    return results


def _percent(fraction: float) -> float | None:
    return None if math.isnan(fraction) else 100.0 * fraction
