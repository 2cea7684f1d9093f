"""Finds remembered events and frames by a label, and by a function of the image features."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ...labels.edit import LinearFunction
from ...labels.mining import ALIKE
from .reader import UNANSWERED, Reader, Row

Condition: TypeAlias = tuple[str, tuple[Any, ...]]
"""A condition of SQL, and its values."""
_SPARE = 64
"""More candidates than wanted: the features of a moment outlive its row for a moment when it is deleted."""


def chosen(
    camera: str | None, label: str | None, since: float | None, until: float | None
) -> Condition:
    """The condition for the frames of a camera, of events of a label, and of a time in seconds since the epoch; None:
    all."""
    wanted = {"camera = ?": camera, "label = ?": label, "time >= ?": since, "time <= ?": until}
    used = {text: value for text, value in wanted.items() if value is not None}
    return " AND ".join(["time IS NOT NULL", *used]), tuple(used.values())


def recorded_labels(reader: Reader) -> list[str]:
    """All labels with recorded logits."""
    return list({name: None for context in reader.contexts().values() for name in context.names})


def by_label(
    reader: Reader, labels: Collection[str], only: Condition, limit: int = 20
) -> list[tuple[Row, float]]:
    """The frames with the highest recorded logits of any of the labels, the best first, each with its logit."""
    numbers = list[int]()
    logits = list[NDArray[np.float16]]()
    for key, context in reader.contexts().items():
        if places := [at for at, name in enumerate(context.names) if name in labels]:
            parts = ", ".join(f"substr(logits, {1 + 2 * at}, 2)" for at in places)
            query = f"SELECT id, {parts} FROM moments WHERE {only[0]} AND context = {key}"
            rows = list(reader.query(query, *only[1]))
            numbers += [number for number, *_ in rows]
            scores = np.frombuffer(b"".join(b"".join(row[1:]) for row in rows), np.float16)
            logits.append(scores.reshape(-1, len(places)).max(1, initial=-np.inf))
    return _best(
        reader,
        np.array(numbers, np.int64),
        np.concatenate([np.zeros(0, np.float16), *logits]),
        only,
        limit,
    )


def by_features(
    reader: Reader, space: str, function: LinearFunction, only: Condition, limit: int = 20
) -> list[tuple[Row, float]]:
    """The frames with the highest values of a function of their features, the best first, each with its value.

    The features of all frames are read: a fraction of a second for a million. The database is read for conditions.

    Raises:
        OptionError: all features are of other plans.
    """
    numbers, scores = reader.features.products(space, function.weights.astype(np.float32))
    others = "SELECT DISTINCT space FROM moments WHERE space NOT IN ('', ?)"
    if not len(numbers) and (kinds := [kind for (kind,) in reader.query(others, space)]):
        raise errors.OptionError(
            "plan",
            f"one with the features {' or '.join(kinds)}",
            space,
            "Search with the plan that the site ran then (--plan), or for a recorded label.",
        )
    if only[1]:
        kept = np.array(
            [
                number
                for (number,) in reader.query(f"SELECT id FROM moments WHERE {only[0]}", *only[1])
            ],
            np.int64,
        )
        chosen_rows = np.isin(numbers, kept)
        numbers = numbers[chosen_rows]
        scores = scores[chosen_rows]
    return _best(reader, numbers, scores + function.bias, only, limit)


def alike(reader: Reader, row: Row, limit: int = 100) -> list[Row]:
    """The events without an answer that look like an event of their label, the most similar first."""
    features = reader.features.read(row.space or "", row.id)
    if features is None:
        return []
    only = f"{UNANSWERED} AND label = ? AND id <> ?", (row.label, row.id)
    ranked = by_features(
        reader, row.space or "", LinearFunction(features.astype(float), 0.0), only, limit
    )
    return [row_alike for row_alike, cosine in ranked if cosine >= ALIKE]


def _best(
    reader: Reader, numbers: NDArray[np.int64], scores: NDArray[Any], only: Condition, limit: int
) -> list[tuple[Row, float]]:
    count = min(len(numbers), limit + _SPARE)
    best = np.argpartition(-scores, count - 1)[:count] if count else np.zeros(0, np.int64)
    by_number = dict(zip(numbers[best].tolist(), scores[best].tolist(), strict=True))
    rows = reader.rows(f"{only[0]} AND id IN ({', '.join(map(str, by_number))})", only[1])
    return sorted(((row, by_number[row.id]) for row in rows), key=lambda pair: -pair[1])[:limit]
