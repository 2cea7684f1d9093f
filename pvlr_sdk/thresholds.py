"""The score from which on a label is a tag, chosen on labelled photos. Training and ``pvlr calibrate`` share this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from numpy.typing import NDArray

from . import errors
from .metrics import cumulative_counts

Floats = NDArray[np.float64]

_SHRINK = 20  # positives at which a label's own threshold weighs as much as the common one

_F1_RANGE = (0.05, 0.95)
_RANGE = (1e-6, 1 - 1e-6)


@dataclass(frozen=True)
class Objective:
    """What thresholds are chosen for: ``f1``, or ``value`` as the least ``precision`` or ``recall``."""

    kind: Literal["f1", "precision", "recall"] = "f1"
    value: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Objective:
        """``f1``, ``precision=0.9`` or ``recall=0.9``; raises OptionError for anything else."""
        kind, separator, number = text.partition("=")
        if text == "f1":
            return cls()
        try:
            value = float(number)
        except ValueError:
            value = 0.0
        if kind not in ("precision", "recall") or not separator or not 0 < value <= 1:
            raise errors.OptionError(
                "objective",
                expected="f1, precision=P or recall=R with a number above 0 and up to 1",
                got=repr(text),
                hint="For example precision=0.9.",
            )
        return cls(cast(Literal["precision", "recall"], kind), value)

    def __str__(self) -> str:
        return self.kind if self.kind == "f1" else f"{self.kind}={self.value:g}"


def choose_thresholds(
    logits: Floats,
    targets: NDArray[np.int8],
    objective: Objective = Objective(),
    fallback: Floats | None = None,
) -> Floats:
    """Thresholds (C,) on the score, for each label on its own.

    *f1*: the best F1. With few positives that is mostly chance, so it is drawn towards the common threshold (the best
    overall F1) as far as positives are lacking: its own weighs n / (n + 20), in logits. From 0.05 to 0.95.
    *precision*: the lowest threshold whose tags are right often enough; if none is, the one that is right most often.
    *recall*: the highest threshold that finds enough of the photos. Both hold on these photos exactly, and promise
    little about others where a label has few positives.

    Args:
        logits: (N, C).
        targets: (N, C), 1 present, -1 absent, 0 unknown (left out).
        fallback: (C,) thresholds of labels without a positive photo; None: the common one, for all labels at once.

    Raises:
        OptionError: arrays that are not both (N, C), or a target other than 1, 0, -1.
    """
    logits, targets = np.asarray(logits, np.float64), np.asarray(targets)
    positives = (targets == 1).sum(0)
    common = _cut(logits.ravel(), targets.ravel(), objective) if positives.any() else 0.0
    cuts = np.full(logits.shape[1], common)
    for label in np.flatnonzero(positives):
        own = _cut(logits[:, label], targets[:, label], objective)
        weight = positives[label] / (positives[label] + _SHRINK) if objective.kind == "f1" else 1.0
        cuts[label] = weight * own + (1 - weight) * common
    chosen: Floats = np.clip(sigmoid(cuts), *(_F1_RANGE if objective.kind == "f1" else _RANGE))
    return chosen if fallback is None else np.where(positives > 0, chosen, fallback)


def _cut(logits: Floats, targets: NDArray[np.int8], objective: Objective) -> float:
    """The logit, midway between two neighbours, that serves the objective; there must be a positive."""
    levels, hits, tagged = cumulative_counts(logits, targets)
    precision, recall = hits / tagged, hits / hits[-1]
    if objective.kind == "f1":
        best = int((2 * hits / (tagged + hits[-1])).argmax())
    elif objective.kind == "recall":
        best = int((recall >= objective.value).argmax())
    else:
        # The last one is the lowest threshold, which finds the most.
        best = int(np.flatnonzero(precision >= min(objective.value, precision.max()))[-1])
    below = levels[best + 1] if best + 1 < len(levels) else levels[best] - 0.1
    return float((levels[best] + below) / 2)


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)) in float64, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * x))
