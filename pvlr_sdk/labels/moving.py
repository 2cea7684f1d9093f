"""Moves the vector of a label away from a picture that was tagged by mistake, and back again."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..bundle.label_bank import LabelBank
from .edit import forget, rebuilt, scalars_of
from .fit import Floats

_RIDGE = 0.1
"""The prior precision of the move, for features of unit length; between 0.02 and 0.1 the events of cameras hardly
change."""
_RIGHT = 10.0
_OTHERS = 0.1
"""What a picture that shows the label counts, and another one, compared with the wrong one."""
_MOST = 20
"""Moves of a label that can be undone: each keeps 3.4 kB in the label bank."""


def away_from(wrong: Floats, right: Floats, others: Floats) -> Floats:
    """The change (D,) of a label's weights that lowers its logit by 1 in a picture, and hardly changes it in others.

    Args:
        wrong: (D,) of unit length, the features of the picture.
        right: (N, D), of pictures that show the label.
        others: (M, D), of pictures that may show it.
    """
    features = np.concatenate([wrong[None], right, others])
    counts = np.concatenate([[1.0], np.full(len(right), _RIGHT), np.full(len(others), _OTHERS)])
    target = np.zeros(len(features))
    target[0] = -1
    kernel = features @ features.T + np.diag(_RIDGE / counts)
    change = features.T @ np.linalg.solve(kernel, target)
    return np.asarray(change / -(change @ wrong))


def move(bank: LabelBank, label: str, change: Floats, features: str, event: str) -> LabelBank:
    """The bank with a change (D,) added to the weights of a label, which keeps its thresholds.

    Args:
        bank: of an open plan.
        label: any label of it.
        change: of :func:`away_from`, times the logits by which the score is to fall.
        features: the name of the plan's features.
        event: what is kept as the reason.

    Raises:
        UnknownLabelError: the bank does not have the label.
        LabelBankError: a weight would be too large.
    """
    row = bank.index(label)
    arrays = bank.arrays()
    if arrays["weights"].shape[1] != len(change):
        arrays["weights"] = np.zeros((len(bank), len(change)), np.float16)
    before = arrays["weights"][row].copy()
    arrays["weights"][row] = (before + change).astype(np.float16)
    source = dict(bank.taught.get(label, {"before": scalars_of(arrays, row)}))
    step = {"event": event, "weights": base64.b64encode(before.tobytes()).decode()}
    source["moves"] = [*_moves(source), step][-_MOST:]
    text = {**bank.text, "features": features}
    return rebuilt(bank, bank.names, arrays, text, {**bank.taught, label: source})


def move_back(bank: LabelBank, label: str) -> LabelBank:
    """The bank without the last move of a label.

    Raises:
        UnknownLabelError: the bank does not have the label.
        OptionError: the label was not moved, or has been taught since.
        LabelBankError: its provenance is damaged.
    """
    row = bank.index(label)
    source = dict(bank.taught.get(label, {}))
    moves = _moves(source)
    if not moves:
        raise errors.OptionError(
            "label",
            "a label with a correction",
            f"{label!r}, which has none",
            "Only the corrections since the label was last taught can be undone, the newest 20.",
        )
    arrays = bank.arrays()
    weights = _weights(moves[-1], arrays["weights"].shape[1])
    arrays["weights"][row] = weights
    source["moves"] = moves[:-1]
    if not source["moves"]:
        del source["moves"]
    if list(source) == ["before"] and not weights.any():  # never taught otherwise
        return forget(bank, [label])
    return rebuilt(bank, bank.names, arrays, bank.text, {**bank.taught, label: source})


def last_move(bank: LabelBank, label: str) -> str | None:
    """The event of the last move of a label; None: it was not moved."""
    moves = _moves(bank.taught.get(label, {}))
    return str(moves[-1].get("event")) if moves else None


def learned(bank: LabelBank) -> list[str]:
    """The labels from words and photos, without labels of the plan that were only moved."""
    return [label for label, source in bank.taught.items() if source.keys() - {"before", "moves"}]


def _moves(source: dict[str, Any]) -> list[dict[str, Any]]:
    """The moves of a provenance, which may be anything."""
    moves = source.get("moves", [])
    return [step for step in moves if isinstance(step, dict)] if isinstance(moves, list) else []


def _weights(step: dict[str, Any], width: int) -> NDArray[np.float16]:
    try:
        weights = np.frombuffer(base64.b64decode(step["weights"], validate=True), np.float16)
        if weights.shape == (width,):
            return weights
    except (KeyError, TypeError, ValueError, binascii.Error):
        pass
    raise errors.LabelBankError(
        "bank", "the weights before a correction", "another provenance", "Forget the label."
    )
