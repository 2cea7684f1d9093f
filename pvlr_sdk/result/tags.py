"""A tag, and what decides which labels are tags: scores, thresholds and ``top_k``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..bundle.label_bank import find_label


class Tag(NamedTuple):
    """A label with its score. ``margin`` is ``score - threshold``: at least 0 for every label that is reported."""

    label: str
    score: float
    threshold: float
    margin: float


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-logits)) without overflow; in float64 and rounded once, so that libpvlr computes the same bits."""
    small = np.exp(-np.abs(logits.astype(np.float64)))
    scores: NDArray[np.float32] = (np.where(logits >= 0, 1, small) / (1 + small)).astype(np.float32)
    return scores


def thresholds_for(
    deployed: NDArray[np.float32],
    index: Mapping[str, int],
    wanted: float | Mapping[str, float] | None,
) -> NDArray[np.float32]:
    """The (C,) thresholds of a request: the deployed ones, one for all labels, or overrides of some.

    Raises:
        OptionError: a threshold is not a number from 0 to 1.
        UnknownLabelError: a mapping names a label that the model does not have.
    """
    if wanted is None:
        return deployed
    if isinstance(wanted, Mapping):
        changed = deployed.copy()
        for name, value in wanted.items():
            changed[find_label(name, index)] = _checked_threshold(value, f"threshold for {name!r}")
        return changed
    return np.full_like(deployed, _checked_threshold(wanted, "threshold"))


def corrected_thresholds(deployed: NDArray[np.float32], tiles: int) -> NDArray[np.float32]:
    """Thresholds (C,) for a frame with tiles, where none were measured: ``docs/tiles.md``.

    The best of n scores is higher by chance, and half of the result: so the odds of each threshold are multiplied by
    the fourth root of n.
    """
    factor = np.sqrt(np.sqrt(1 + tiles))
    odds = deployed.astype(np.float64) / (1 - deployed.astype(np.float64)) * factor
    corrected: NDArray[np.float32] = (odds / (1 + odds)).astype(np.float32)
    return corrected


def checked_top_k(top_k: int | None) -> int | None:
    """Return ``top_k``. Raises OptionError if it is neither None nor an integer of at least 1."""
    if top_k is not None and (
        isinstance(top_k, bool) or not isinstance(top_k, (int, np.integer)) or top_k < 1
    ):
        raise errors.OptionError(
            "top_k", "an integer of at least 1, or None", repr(top_k), "None keeps all tags."
        )
    return top_k


def _checked_threshold(value: Any, argument: str) -> float:
    number = isinstance(value, (int, float, np.floating, np.integer)) and not isinstance(
        value, bool
    )
    if not number or not 0 <= value <= 1:
        raise errors.OptionError(
            argument, "a number from 0 to 1", repr(value), "Scores are between 0 and 1."
        )
    return float(value)
