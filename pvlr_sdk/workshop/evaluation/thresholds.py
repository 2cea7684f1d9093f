"""Thresholds of a plan, chosen on labelled images: ``pvlr thresholds``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ...frames.tiles import Layout, layout_name
from ...labels.intervals import reweighted
from ...labels.thresholds import (
    Objective,
    choose_thresholds,
    precise_thresholds,
    sigmoid,
    tile_thresholds,
)
from .evaluate import tag_images
from .labels_csv import LabelTable
from .metrics import f1_scores
from .prevalence import find_prevalence

if TYPE_CHECKING:
    from ...bundle.bundle import Bundle
    from ...bundle.label_bank import LabelBank


@dataclass(frozen=True)
class LabelThreshold:
    """Old and new threshold of a label, its number of positive images, and precision and recall of the new threshold on
    these images (in percent; None if there is nothing to measure); ``precise`` is the new threshold of the operating
    point ``precise``, with its precision and recall. Without positives the thresholds do not change."""

    label: str
    before: float
    after: float
    positives: int
    precision: float | None
    recall: float | None
    precise: float
    precise_precision: float | None
    precise_recall: float | None


@dataclass(frozen=True)
class ThresholdsReport:
    """The change of a plan's thresholds.

    Attributes:
        objective: ``f1``, ``precision=P`` or ``recall=R``; with tiles, ``precision without tiles``.
        images: number of images that the thresholds were chosen on.
        before, after: CP, CR, CF1, OP, OR, OF1 in percent on these images, at the old and the new thresholds.
        precise: the same at the new thresholds of the operating point ``precise``.
        labels: the labels, in the order of the model.
        missed: labels for which no threshold meets the objective.
        failed_images: images that could not be tagged, with the reason.
        prevalence: the share of images with each label that they were chosen for; None: as in these images.
        written: whether the new thresholds were written to the plan.
        tiles: the layout that the thresholds are for, such as ``3x2``; None: for frames without tiles.
    """

    objective: str
    images: int
    before: dict[str, float | None]
    after: dict[str, float | None]
    precise: dict[str, float | None]
    labels: list[LabelThreshold]
    missed: list[str]
    failed_images: list[dict[str, str]]
    prevalence: dict[str, float] | None
    written: bool
    tiles: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report as plain JSON values."""
        return asdict(self)


def set_thresholds(
    plan: str | os.PathLike[str],
    images: str | Path,
    table: LabelTable,
    objective: Objective,
    *,
    prevalence: str | None = None,
    tiles: Layout | None = None,
    write: bool = True,
    progress: Callable[[int], None] | None = None,
    **options: Any,
) -> ThresholdsReport:
    """Choose the thresholds of each label on the images of ``table``, and write them to the manifest and label bank.

    Those of the operating point ``f1`` follow ``objective``, those of ``precise`` are :func:`precise_thresholds`.
    Nothing else in the bundle changes. Labels without a positive image keep their thresholds.

    With ``tiles``, the thresholds of that layout are chosen instead and written to the manifest: ``f1`` by
    :func:`tile_thresholds`, ``precise`` at twice its odds. Those for frames without tiles stay; in the report they are
    the old ones, on the images without tiles.

    Args:
        images: folder that the file names of the table are relative to.
        table: from :func:`.labels_csv.read_labels` with the labels of the plan as ``names``.
        prevalence: how frequent labels are where the plan is used, as for :func:`.evaluate.evaluate`; precision and
            recall are reported on the images as they are.
        tiles: (columns, rows), with the objective ``f1`` and without ``prevalence``.
        write: False to report only.
        progress: called after each image with the number of images done.
        options: ``device``, ``num_threads`` and ``precision`` of the tagger.

    Raises:
        BundleError, OptionError, ImageNotFoundError, FrameError: as :class:`Tagger` and ``evaluate``.
        LabelsFileError: no image has a positive label.
        OutputError: the files cannot be written; the old thresholds remain.
    """
    from ...models.find import load_bundle
    from ...tagger import Tagger

    if tiles and (objective != Objective() or prevalence is not None):
        raise errors.OptionError(
            "tiles",
            "no objective and no prevalence",
            "one of them",
            "Thresholds for tiles keep the precision without tiles.",
        )
    bundle = load_bundle(plan)
    with Tagger(plan, optimize="throughput", tiles=tiles, **options) as tagger:
        results = tag_images(tagger, images, table, progress)
        logits = results.logits[results.done]
        targets = table.targets[results.done]
        shares = None
        if prevalence is not None:
            shares = find_prevalence(prevalence, tagger, logits, targets)
    if not (targets == 1).any():
        raise errors.LabelsFileError(
            "labels",
            "images with at least one of the plan's labels",
            f"{len(targets)} images without one",
            "Check the split and the label map.",
        )
    scores = results.scores[results.done]
    whole = results.whole[results.done]
    old = _Points.of_bank(bundle.labels)
    if tiles:
        new = _choose_for_tiles(tiles, whole, logits, targets, old)
    else:
        new = _choose(objective, logits, targets, shares, old)
    labels = _label_thresholds(bundle.labels.names, old, new, scores, targets)
    if write:
        _write(bundle, old, new, labels, tiles)
    return ThresholdsReport(
        objective="precision without tiles" if tiles else str(objective),
        images=len(targets),
        before=_percentages(f1_scores(sigmoid(whole).astype(np.float32) >= old.f1, targets)),
        after=_percentages(f1_scores(scores >= new.f1, targets)),
        precise=_percentages(f1_scores(scores >= new.precise, targets)),
        labels=labels,
        missed=[label.label for label in labels if _missed(label, objective)],
        failed_images=results.failed,
        prevalence=_by_name(bundle.labels.names, shares),
        written=write,
        tiles=layout_name(tiles) if tiles else None,
    )


class _Points(NamedTuple):
    """The thresholds (C,) of both operating points, in float32: as stored, and compared with scores."""

    f1: NDArray[np.float32]
    precise: NDArray[np.float32]

    @classmethod
    def of_bank(cls, bank: LabelBank) -> _Points:
        precise = bank.precise_thresholds
        return cls(bank.thresholds, bank.thresholds if precise is None else precise)


def _choose(
    objective: Objective,
    logits: NDArray[np.float64],
    targets: NDArray[np.int8],
    shares: NDArray[np.float64] | None,
    old: _Points,
) -> _Points:
    """The thresholds for these logits and targets (N, C), where labels have these shares (C,)."""
    sample = (logits, targets) if shares is None else reweighted(logits, targets, shares)
    chosen = choose_thresholds(*sample, objective, old.f1.astype(np.float64))
    positives = (targets == 1).sum(0)
    precise = np.where(positives > 0, precise_thresholds(*sample, chosen), old.precise)
    return _Points(chosen.astype(np.float32), precise.astype(np.float32))


def _choose_for_tiles(
    tiles: Layout,
    whole: NDArray[np.float64],
    logits: NDArray[np.float64],
    targets: NDArray[np.int8],
    old: _Points,
) -> _Points:
    """At ``f1`` as many tags are correct as without tiles; ``precise`` has twice its odds, for all labels.

    On footage of fixed cameras that reports half of the false events of thresholds with which 90 % of the tags of
    labelled frames are correct (docs/camera_accuracy.md): an event is the best of many frames, which are mostly empty.
    ``whole``: the logits without tiles.
    """
    count = tiles[0] * tiles[1]
    chosen = tile_thresholds(whole, logits, targets, old.f1.astype(float), count)
    precise = np.maximum(2 * chosen / (1 + chosen), old.precise)  # none below that without tiles
    return _Points(chosen.astype(np.float32), precise.astype(np.float32))


def _label_thresholds(
    names: Sequence[str],
    old: _Points,
    new: _Points,
    scores: NDArray[np.float32],
    targets: NDArray[np.int8],
) -> list[LabelThreshold]:
    """What changes for each label, with its precision and recall on these scores and targets (N, C)."""
    from ...bundle.bundle import shortest_decimal

    return [
        LabelThreshold(
            name,
            shortest_decimal(old.f1[i]),
            shortest_decimal(new.f1[i]),
            int((targets[:, i] == 1).sum()),
            *_precision_recall(scores[:, i] >= new.f1[i], targets[:, i]),
            shortest_decimal(new.precise[i]),
            *_precision_recall(scores[:, i] >= new.precise[i], targets[:, i]),
        )
        for i, name in enumerate(names)
    ]


def _write(
    bundle: Bundle, old: _Points, new: _Points, labels: list[LabelThreshold], tiles: Layout | None
) -> None:
    """Write the new thresholds to a bundle; those for tiles beside the old ones."""
    from ...bundle.bundle import write_thresholds

    if not tiles:
        write_thresholds(bundle, new.f1, new.precise)
        return
    layout = {
        "f1": tuple(label.after for label in labels),
        "precise": tuple(label.precise for label in labels),
    }
    write_thresholds(bundle, old.f1, old.precise, {layout_name(tiles): layout})


def _by_name(names: Sequence[str], shares: NDArray[np.float64] | None) -> dict[str, float] | None:
    return None if shares is None else dict(zip(names, shares.tolist(), strict=True))


def _missed(label: LabelThreshold, objective: Objective) -> bool:
    """Whether a label with images has no threshold that meets the objective."""
    if objective.kind == "f1" or not label.positives:
        return False
    value = label.precision if objective.kind == "precision" else label.recall
    return value is None or value < 100 * objective.value


def _precision_recall(tagged: Any, target: Any) -> tuple[float | None, float | None]:
    hits = int((tagged & (target == 1)).sum())
    tags = int((tagged & (target != 0)).sum())
    present = int((target == 1).sum())
    return (100 * hits / tags if tags else None), (100 * hits / present if present else None)


def _percentages(fractions: dict[str, float]) -> dict[str, float | None]:
    return {
        name: None if np.isnan(value) else round(100 * value, 3)
        for name, value in fractions.items()
    }
