"""Not this again: a label that is not reported in the picture of an event any more, and the past day with it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ...bundle.fingerprints import fingerprints
from ...bundle.label_bank import LabelBank
from ...labels.fit import Floats
from ...labels.moving import away_from, move
from .reader import Reader, Row

_DAY = 86400.0
"""Seconds before the newest event in which events are compared."""
_EVENTS = 1000
"""Events that are compared: the newest, and those that were answered with yes."""
_OTHERS = 300
"""Pictures of other cameras that are to keep their scores: the newest."""
_MARGINS = (1.2, 0.6, 0.3, 0.1)
"""Logits by which the event comes to lie below its threshold: the first with which no right event goes, else the last.
Chosen on the events of ten cameras."""


@dataclass(frozen=True)
class Correction:
    """A label bank with which an event would not have been reported, and other events of its label.

    Attributes:
        event: the id of the event. ``label``: its label.
        bank: the bank in use, with another vector of the label.
        gone: the other events that would not have been reported either.
        stay: those that would have been reported all the same.
        lost: those of ``gone`` that were answered with yes: they are right.
        right: number of other events that were answered with yes.
        notes: why later events may differ from this.
    """

    event: str
    label: str
    bank: LabelBank
    gone: list[Row]
    stay: list[Row]
    lost: list[Row]
    right: int
    notes: list[str]


@dataclass(frozen=True)
class _Past:
    """Events of a label with their features (N, D), and which of them (N,) were answered with yes."""

    rows: list[Row]
    features: Floats
    is_right: NDArray[np.bool_]


def correct(reader: Reader, row: Row, bank: LabelBank, space: str) -> Correction:
    """Change the vector of an event's label so that the picture of its peak is not reported again.

    The vector changes along the features of the picture, and as little as possible along those of right events and of
    pictures of other cameras. Other events are compared at their peaks, by their recorded features.

    Args:
        reader: the memory.
        row: the event.
        bank: the label bank in use.
        space: the name of the features of the plan in use.

    Raises:
        OptionError: the event has no features of this plan.
        UnknownLabelError: the bank does not have the label any more.
        LabelBankError: the values of the label would be too large.
    """
    label = row.label or ""
    wrong = _features(reader, row, space)
    if wrong is None:
        raise errors.OptionError(
            "event",
            f"an event with features of the plan in use, {space}",
            f"one with {row.space or 'none'}",
            "An event has them a second after its begin, if an open plan tags its camera.",
        )
    past = _past(reader, row, space, len(wrong))
    change = away_from(wrong, past.features[past.is_right], _others(reader, row, space, len(wrong)))
    for margin in _MARGINS:
        drop = max(_height(row), 0.0) + margin
        moved = move(bank, label, drop * change, space, row.event or "")
        is_gone = _is_gone(past, bank, moved, label)
        if not (is_gone & past.is_right).any():
            break
    return Correction(
        event=row.event or "",
        label=label,
        bank=moved,
        gone=_chosen(past.rows, is_gone),
        stay=_chosen(past.rows, ~is_gone),
        lost=_chosen(past.rows, is_gone & past.is_right),
        right=int(past.is_right.sum()),
        notes=_notes([row, *past.rows], bank, label),
    )


def _features(reader: Reader, row: Row, space: str) -> Floats | None:
    """The features (D,) of a moment; None: it has none of this space."""
    if row.space != space:
        return None
    features = reader.features.read(space, row.id)
    return None if features is None else features.astype(np.float64)


def _with_features(
    reader: Reader, rows: list[Row], space: str, width: int
) -> tuple[list[Row], Floats]:
    """The rows that have features, and these (N, D)."""
    kept: list[Row] = []
    matrix: list[Floats] = []
    for row in rows:
        features = _features(reader, row, space)
        if features is not None:
            kept.append(row)
            matrix.append(features)
    return kept, np.array(matrix).reshape(len(kept), width)


def _past(reader: Reader, row: Row, space: str, width: int) -> _Past:
    """The other events of the label in the past day, and all that were answered with yes."""
    answered = "SELECT id FROM answers WHERE event IS NOT NULL AND answer = 'yes'"
    right = {number for (number,) in reader.query(answered)}
    newest = max((start for (start,) in reader.query("SELECT max(start) FROM moments")), default=0)
    events = (
        "SELECT id FROM moments WHERE kind = 'event' AND label = ? AND space = ? AND id <> ? "
        f"AND (start >= ? OR id IN ({answered}))"
    )
    wanted = f"id IN ({events} ORDER BY id IN ({answered}) DESC, id DESC LIMIT ?)"
    values = (row.label, space, row.id, newest - _DAY, _EVENTS)
    rows, features = _with_features(reader, reader.rows(wanted, values), space, width)
    return _Past(rows, features, np.array([row.id in right for row in rows], bool))


def _others(reader: Reader, row: Row, space: str, width: int) -> Floats:
    """The features (N, D) of the newest pictures of other cameras, of any label."""
    newest = "SELECT id FROM moments WHERE camera <> ? AND space = ? ORDER BY id DESC LIMIT ?"
    rows = reader.rows(f"id IN ({newest})", (row.camera, space, _OTHERS))
    return _with_features(reader, rows, space, width)[1]


def _height(row: Row) -> float:
    """By how much the logit of an event's peak was above that of its threshold."""
    event = row.ended or row.began
    assert event is not None, "a row of an event"
    threshold = float(row.context.rules.upper[row.context.names.index(event.label)])
    return _logit(event.peak) - _logit(threshold)


def _logit(score: float) -> float:
    bounded = min(max(score, 1e-6), 1 - 1e-6)
    return float(np.log(bounded / (1 - bounded)))


def _is_gone(past: _Past, before: LabelBank, after: LabelBank, label: str) -> NDArray[np.bool_]:
    """bool (N,): which events another vector of the label would not have reported."""
    heights = np.array([_height(row) for row in past.rows])
    weights = [_weights(bank, label, past.features.shape[1]) for bank in (before, after)]
    return heights + past.features @ (weights[1] - weights[0]) < 0


def _weights(bank: LabelBank, label: str, width: int) -> Floats:
    """The weights (D,) of a label; a bank without taught labels has none."""
    if bank.weights is None:
        return np.zeros(width)
    return bank.weights[bank.index(label)].astype(np.float64)


def _chosen(rows: list[Row], chosen: NDArray[np.bool_]) -> list[Row]:
    return [row for row, is_chosen in zip(rows, chosen.tolist(), strict=True) if is_chosen]


def _notes(rows: list[Row], bank: LabelBank, label: str) -> list[str]:
    """Why later events may differ."""
    notes = ["events are compared at their peaks"]
    vector = fingerprints(bank)[bank.index(label)]
    earlier = [row for row in rows if row.context.vectors and _vector(row, label) != vector]
    if earlier:
        notes.append(f"{len(earlier)} of them were recorded before {label!r} changed")
    if any(row.context.raised for row in rows):
        notes.append("with tiles the score changes by the whole frame and by the best tile")
    return notes


def _vector(row: Row, label: str) -> str | None:
    vectors = row.context.vectors
    return vectors[row.context.names.index(label)] if vectors else None
