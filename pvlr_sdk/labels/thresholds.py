"""Thresholds chosen from logits of labelled images: by training, teaching and ``pvlr thresholds``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .precision_recall import cumulative_counts

Floats = NDArray[np.float64]

# number of positives at which a label's own threshold weighs as much as the common one
_SHRINK = 20
_SHRINK_PRECISE = 100  # the same for the shift to the operating point precise
_SHRINK_TILES = 50  # the same for what tiles add to it, and for the rule without measurement
_SHRINK_LESS = 200  # the same where tiles add less than the rule

_F1_RANGE = (0.05, 0.95)
_RANGE = (1e-6, 1 - 1e-6)


@dataclass(frozen=True)
class Objective:
    """The objective of a threshold: ``f1``, or ``value`` as the minimum ``precision`` or ``recall``."""

    kind: Literal["f1", "precision", "recall"] = "f1"
    value: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Parse ``f1``, ``precision=0.9`` or ``recall=0.9``; raises OptionError for anything else."""
        kind, separator, number = text.partition("=")
        if text == "f1":
            return cls()
        try:
            value = float(number)
        except ValueError:
            value = 0.0
        if kind not in ("precision", "recall") or not separator or not 0 < value <= 1:
            raise errors.OptionError(
                "--objective",
                "f1, precision=P or recall=R with a number above 0 and up to 1",
                repr(text),
                "An example is precision=0.9.",
            )
        return cls(cast(Literal["precision", "recall"], kind), value)

    def __str__(self) -> str:
        return self.kind if self.kind == "f1" else f"{self.kind}={self.value:g}"


PRECISE = Objective("precision", 0.9)
"""The objective of the operating point ``precise``."""


def choose_thresholds(
    logits: Floats,
    targets: NDArray[np.int8],
    objective: Objective = Objective(),
    fallback: Floats | None = None,
) -> Floats:
    """Thresholds (C,) on the score, for each label.

    *f1*: the best F1. With few positives it is mostly chance, so the threshold is shrunk towards the common one (the
    best overall F1): with n positives, its own weighs n / (n + 20), in logits. The range is 0.05 to 0.95.
    *precision*: the lowest threshold with this precision; if none has it, the one with the highest precision.
    *recall*: the highest threshold with this recall. Both hold exactly on these images, but not necessarily on others
    where a label has few positives.

    Args:
        logits: (N, C).
        targets: (N, C), 1 present, -1 absent, 0 unknown (ignored).
        fallback: (C,) thresholds of labels without a positive image; None for the common threshold.

    Raises:
        OptionError: arrays that are not both (N, C), or a target other than 1, 0, -1.
    """
    logits = np.asarray(logits, np.float64)
    targets = np.asarray(targets)
    positives = (targets == 1).sum(0)
    common = _cut(logits.ravel(), targets.ravel(), objective) if positives.any() else 0.0
    cuts = np.full(logits.shape[1], common)
    for label in np.flatnonzero(positives):
        cut = _cut(logits[:, label], targets[:, label], objective)
        weight = positives[label] / (positives[label] + _SHRINK) if objective.kind == "f1" else 1.0
        cuts[label] = weight * cut + (1 - weight) * common
    chosen: Floats = np.clip(sigmoid(cuts), *(_F1_RANGE if objective.kind == "f1" else _RANGE))
    return chosen if fallback is None else np.where(positives > 0, chosen, fallback)


def precise_thresholds(logits: Floats, targets: NDArray[np.int8], thresholds: Floats) -> Floats:
    """Thresholds (C,) of the operating point ``precise``, none below ``thresholds``: 90 % of all tags are correct.

    Each threshold is a shift above that of ``f1``, in logits. The common shift is the least with that precision over
    the tags of all labels. A label's own shift is mostly chance with few positives, so it is shrunk towards the common
    one: with n positives, its own weighs n / (n + 100). Where no shift has that precision, it is just above the highest
    score without the label.

    Args:
        logits, targets: as for :func:`choose_thresholds`.
        thresholds: (C,), of the operating point ``f1``.
    """
    targets = np.asarray(targets)
    cuts = np.log(thresholds) - np.log1p(-thresholds)
    above = np.asarray(logits, np.float64) - cuts
    positives = (targets == 1).sum(0)
    if not positives.any():
        return thresholds
    common = _precise_cut(above.ravel(), targets.ravel())
    shifts = np.full(len(cuts), common)
    for label in np.flatnonzero(positives):
        shift = _precise_cut(above[:, label], targets[:, label])
        weight = positives[label] / (positives[label] + _SHRINK_PRECISE)
        shifts[label] = weight * shift + (1 - weight) * common
    return np.maximum(np.clip(sigmoid(cuts + shifts), *_RANGE), thresholds)


def tile_thresholds(
    whole: Floats, tiled: Floats, targets: NDArray[np.int8], thresholds: Floats, tiles: int
) -> Floats:
    """Thresholds (C,) for frames with tiles: as many of the tags are correct as without tiles at ``thresholds``.

    A label's logit rises by the least shift with that precision on these images, or stays. With few positives the shift
    is mostly chance, and too high: recall is lost. So it is shrunk towards that of
    :func:`pvlr_sdk.result.tags.corrected_thresholds`, the logarithm of the fourth root of n for n scores; a smaller one
    more, since images of single objects have fewer false tags in tiles than wide frames.

    Args:
        whole, tiled: (N, C), logits of the images without and with tiles.
        targets: as for :func:`choose_thresholds`; at least one is 1.
        thresholds: (C,), on the score.
        tiles: their number.
    """
    cuts = np.log(thresholds) - np.log1p(-thresholds)
    whole = whole - cuts
    tiled = tiled - cuts
    rule = 0.25 * np.log(1 + tiles)
    positives = (targets == 1).sum(0)
    shifts = np.full(len(cuts), rule)
    for label in np.flatnonzero(positives):
        shift = _shift(whole[:, label], tiled[:, label], targets[:, label], rule)
        weight = positives[label] / (
            positives[label] + (_SHRINK_TILES if shift >= rule else _SHRINK_LESS)
        )
        shifts[label] = weight * shift + (1 - weight) * rule
    return np.clip(sigmoid(cuts + shifts), *_RANGE)


def _shift(whole: Floats, tiled: Floats, targets: NDArray[np.int8], otherwise: float) -> float:
    """The least logit at which tags with tiles are as precise as those at 0 without; ``otherwise``: there are none.

    And half a standard error more precise: the least of many is lucky, and would be worse on other images.
    """
    before, after = (targets[(logits >= 0) & (targets != 0)] == 1 for logits in (whole, tiled))
    if not len(before):
        return otherwise
    precision = before.mean() + 0.5 * before.std() / np.sqrt(len(before))
    precise = not len(after) or after.mean() >= precision
    return 0.0 if precise else max(0.0, _cut(tiled, targets, Objective("precision", precision)))


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)) in float64, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def _cut(logits: Floats, targets: NDArray[np.int8], objective: Objective) -> float:
    """The logit, midway between two neighbours, that meets the objective; there must be a positive."""
    levels, hits, tagged = cumulative_counts(logits, targets)
    precision = hits / tagged
    recall = hits / hits[-1]
    if objective.kind == "f1":
        best = int((2 * hits / (tagged + hits[-1])).argmax())
    elif objective.kind == "recall":
        best = int((recall >= objective.value).argmax())
    else:
        # The last one is the lowest threshold, which has the highest recall.
        best = int(np.flatnonzero(precision >= min(objective.value, precision.max()))[-1])
    below = levels[best + 1] if best + 1 < len(levels) else levels[best] - 0.1
    return float((levels[best] + below) / 2)


def _precise_cut(logits: Floats, targets: NDArray[np.int8]) -> float:
    """The lowest logit with the precision of :data:`PRECISE`, or one without false tags; there must be a positive."""
    _, hits, tagged = cumulative_counts(logits, targets)
    if (hits / tagged >= PRECISE.value).any():
        return _cut(logits, targets, PRECISE)
    return float(logits[targets == -1].max() + 0.1)
