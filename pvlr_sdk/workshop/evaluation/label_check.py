"""Labels that are probably wrong, by cleanlab, and what more photos would bring: what ``pvlr check-labels`` prints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ..._util.validation import few
from ...frames.find import check_folder
from ...labels.mining import ALIKE
from ...labels.teaching import failure
from . import metrics
from .labels_csv import LabelTable
from .probe import FOLDS, Features, Floats, Targets, out_of_fold
from .similar import similar

if TYPE_CHECKING:
    from ...tagger import Tagger

_ROWS = 256
"""Photos that are compared with all others at a time."""


@dataclass(frozen=True)
class Suspect:
    """A label of a photo that is probably wrong: ``labelled`` 1 (present) or -1 (absent). ``score``: probability that
    it is present; None: too few photos. ``twin``: a photo that looks alike and is labelled otherwise, or ""."""

    file: str
    label: str
    labelled: int
    score: float | None
    twin: str


@dataclass(frozen=True)
class LabelFacts:
    """Numbers of readable photos of a label, and of its suspects. The average precision is in percent and by
    cross-validation; ``twice``: what to expect of twice as many photos. None: there are too few."""

    label: str
    present: int
    absent: int
    unknown: int
    suspects: int
    average_precision: float | None
    twice: float | None


@dataclass(frozen=True)
class LabelCheck:
    """The suspects of a set, those of near-duplicates that disagree first and the worst first in both, and its labels.
    ``images``: the number of readable photos; ``doubts``: sentences about labels with too few."""

    suspects: list[Suspect]
    labels: list[LabelFacts]
    images: int
    doubts: list[str]
    failed_images: list[dict[str, str]]


@dataclass(frozen=True)
class Judgement:
    """What cleanlab says of N photos and C labels; NaN: a label that is not judged.

    Attributes:
        scores: (N, C) probability that the label is present.
        quality: (N, C) cleanlab's label quality, the probability of the label as it is; NaN: also unknown cells.
        issues: (N, C) bool, the labels that are probably wrong.
        curve: (3, C) average precision, learned from a quarter, half and all of the photos.
    """

    scores: Floats
    quality: Floats
    issues: NDArray[np.bool_]
    curve: Floats


def check_labels(
    tagger: Tagger,
    images: str | Path,
    table: LabelTable,
    names: Sequence[str],
    progress: Callable[[int], None] | None = None,
) -> LabelCheck:
    """Find the labels of a set that are probably wrong.

    Args:
        tagger: of an open plan; only its image features count.
        images: folder that the file names of the table are relative to.
        table: from :func:`.labels_csv.read_labels`, with the C labels ``names``.
        progress: called after each image with the number of images done.

    Raises:
        FrameError: ``images`` is not a folder, or no image can be read; the error of the first one.
        OptionError: the plan is closed, or no label has enough photos.
        MissingPartError: the extra ``[check]`` is not installed.
    """
    with errors.needed("pvlr check-labels", "cleanlab", "check"):
        import cleanlab.filter  # noqa: F401
    check_folder(Path(images), "--images", "the folder of the images")
    read, failed = _features(tagger, [Path(images, file) for file in table.files], progress)
    files = [table.files[row] for row in read]
    features = np.array(list(read.values()))
    targets = table.targets[list(read)]
    judged = judge(features, targets, similar([Path(images, file) for file in files]), names)
    quality = np.nan_to_num(judged.quality, nan=1.0)
    twins = disagreeing(features, targets)
    # Of two that disagree, the worse one is a suspect.
    disputed = (twins >= 0) & (quality <= quality[twins, np.arange(len(names))])
    doubtful = judged.issues | disputed
    order = np.lexsort((quality[doubtful], ~disputed[doubtful]))
    scores = _with_none(judged.scores, 4)
    suspects = [
        Suspect(
            files[row],
            names[column],
            int(targets[row, column]),
            scores[row][column],
            files[twins[row, column]] if disputed[row, column] else "",
        )
        for row, column in np.argwhere(doubtful)[order].tolist()
    ]
    counts = [(targets == value).sum(0).tolist() for value in (1, -1, 0)]
    curves = _with_none(100 * np.stack([judged.curve[-1], twice(judged.curve)]), 1)
    columns = zip(names, *counts, doubtful.sum(0).tolist(), *curves, strict=True)
    facts = [LabelFacts(*column) for column in columns]
    return LabelCheck(suspects, facts, len(files), metrics.doubts(names, targets), failed)


def judge(
    features: Features, targets: Targets, groups: NDArray[np.int64], names: Sequence[str]
) -> Judgement:
    """Judge each label on its known cells, as ``cleanlab.multilabel_classification`` does where all are known.

    Labels that fewer than five groups of photos show, or do not show, are not judged. Raises OptionError if that is so
    of all. ``features``, ``targets`` and ``groups`` are those of :func:`.probe.out_of_fold`.
    """
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores
    from sklearn.linear_model import LogisticRegression

    counts = [[len(np.unique(groups[cells == value])) for value in (1, -1)] for cells in targets.T]
    judged = [column for column, both in enumerate(counts) if min(both) >= FOLDS]
    if not judged:
        got = [f"{name}: {yes} and {no}" for name, (yes, no) in zip(names, counts, strict=True)]
        expected = f"a label that {FOLDS} different photos show and {FOLDS} do not"
        hint = "Label more photos; unknown labels do not count."
        raise errors.OptionError("--labels", expected, few(got), hint)
    raw = out_of_fold(features, targets[:, judged], groups)
    scores = np.full(targets.shape, np.nan)
    quality = np.full(targets.shape, np.nan)
    issues = np.zeros(targets.shape, np.bool_)
    curve = np.full((len(raw), targets.shape[1]), np.nan)
    curve[:, judged] = [metrics.per_class(point, targets[:, judged]) for point in raw]
    for column, score in zip(judged, raw[-1].T[:, :, None], strict=True):
        known = targets[:, column] != 0
        present = (targets[known, column] == 1).astype(int)
        shares = LogisticRegression(C=1e3).fit(score[known], present).predict_proba(score)
        scores[:, column] = shares[:, 1]
        quality[known, column] = get_label_quality_scores(present, shares[known])
        issues[known, column] = find_label_issues(present, shares[known], n_jobs=1)
    return Judgement(scores, quality, issues, curve)


def twice(curve: Floats) -> Floats:
    """The average precision (C,) with twice the photos, if its distance to 1 goes on shrinking as it did: a power law
    through the :attr:`Judgement.curve` (3, C)."""
    quarter, _, full = np.maximum(1 - curve, 1e-9)
    return 1 - full * np.minimum(np.sqrt(full / quarter), 1)


def disagreeing(features: NDArray[np.floating], targets: NDArray[np.int8]) -> NDArray[np.int64]:
    """For each label of a photo the row of the photo (N, C) that looks most alike and is labelled otherwise, or -1."""
    twins = np.full(targets.shape, -1)
    for start in range(0, len(features), _ROWS):
        cosines = features[start : start + _ROWS] @ features.T
        rows, others = np.nonzero(cosines >= ALIKE)
        order = np.argsort(cosines[rows, others], kind="stable")
        rows, others = rows[order] + start, others[order]
        pairs, columns = np.nonzero(targets[rows] * targets[others] == -1)
        twins[rows[pairs], columns] = others[pairs]  # the last one stays, the most alike
    return twins


def _features(
    tagger: Tagger, paths: Sequence[Path], progress: Callable[[int], None] | None
) -> tuple[dict[int, NDArray[np.float32]], list[dict[str, str]]]:
    """The features of the photos that can be read, by row, and the entries of all others."""
    features: dict[int, NDArray[np.float32]] = {}
    unreadable: list[tuple[str, errors.FrameError]] = []
    for row, outcome in enumerate(tagger.predict_stream(paths)):
        if isinstance(outcome, errors.FrameError):
            unreadable.append((str(paths[row]), outcome))
        elif outcome.features is None:
            raise errors.OptionError(
                "PLAN", "an open plan", tagger.info["name"], "See pvlr models."
            )
        else:
            features[row] = outcome.features
        if progress:
            progress(row + 1)
    if unreadable and not features:
        raise unreadable[0][1]
    return features, [failure(*entry) for entry in unreadable]


def _with_none(values: Floats, digits: int) -> Any:
    """The values as lists; None for NaN."""
    rounded = values.round(digits).astype(object)
    rounded[np.isnan(values)] = None
    return rounded.tolist()
