"""Finds remembered events and frames by a label, and by a function of the image features."""

from __future__ import annotations

from itertools import islice
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..labels.edit import LinearFunction
from ..labels.mining import ALIKE
from .moments import unpack_features
from .reader import UNANSWERED, Reader, Row

Condition: TypeAlias = tuple[str, tuple[Any, ...]]
"""A condition of SQL, and its values."""
_BLOCK = 256
"""Features expanded at once: they stay in a core's cache."""


def chosen(camera: str | None, label: str | None, since: float | None, until: float | None) -> Condition:
    """The condition for the frames of a camera, of events of a label, and of a time in seconds since the epoch; None:
    all."""
    wanted = {"camera = ?": camera, "label = ?": label, "time >= ?": since, "time <= ?": until}
    used = {text: value for text, value in wanted.items() if value is not None}
    return " AND ".join(["time IS NOT NULL", *used]), tuple(used.values())


def by_label(reader: Reader, label: str, only: Condition, limit: int = 20) -> list[tuple[Row, float]]:
    """The frames with the highest recorded logits of a label, the best first, each with its logit."""
    numbers, logits = list[int](), list[bytes]()
    for key, context in reader.contexts().items():
        if label in context.names:
            at = 1 + 2 * context.names.index(label)
            query = f"SELECT id, substr(logits, {at}, 2) FROM moments WHERE {only[0]} AND context = {key}"
            for number, logit in reader.query(query, *only[1]):
                numbers.append(number)
                logits.append(logit)
    return _best(reader, numbers, np.frombuffer(b"".join(logits), np.float16), limit)


def by_features(
    reader: Reader, space: str, function: LinearFunction, only: Condition, limit: int = 20
) -> list[tuple[Row, float]]:
    """The frames with the highest values of a function of their features, the best first, each with its value.

    Raises:
        OptionError: all features are of other plans.
    """
    vector, numbers, scores = function.weights.astype(np.float32), list[int](), list[NDArray[np.float32]]()
    query = f"SELECT id, data FROM features JOIN moments USING (id) WHERE space = ? AND length(data) = ? AND {only[0]}"
    rows = reader.query(query, space, len(vector) + 4, *only[1])
    while block := list(islice(rows, _BLOCK)):
        keys, data = zip(*block, strict=True)
        values, scales = unpack_features(data)
        numbers += keys
        scores.append(values.astype(np.float32) @ vector * scales[:, 0])
    kinds = [] if numbers else [of for (of,) in reader.query("SELECT DISTINCT space FROM moments WHERE space <> ''")]
    if kinds and space not in kinds:
        hint = "Search with the plan that the site ran then (--plan), or for a recorded label."
        raise errors.OptionError("plan", expected=f"one with the features {' or '.join(kinds)}", got=space, hint=hint)
    return _best(reader, numbers, np.concatenate([np.zeros(0), *scores]) + function.bias, limit)


def alike(reader: Reader, row: Row, limit: int = 100) -> list[Row]:
    """The events without an answer that look like an event of their label, the most similar first."""
    features = reader.features(row.id)
    if features is None:
        return []
    only = f"{UNANSWERED} AND label = ? AND id <> ?", (row.label, row.id)
    found = by_features(reader, row.space or "", LinearFunction(features.astype(float), 0.0), only, limit)
    return [one for one, cosine in found if cosine >= ALIKE]


def _best(reader: Reader, numbers: list[int], scores: NDArray[Any], limit: int) -> list[tuple[Row, float]]:
    best = {numbers[at]: float(scores[at]) for at in np.argsort(-scores, kind="stable")[:limit].tolist()}
    rows = reader.rows(f"id IN ({', '.join(map(str, best))})")
    return sorted(((row, best[row.id]) for row in rows), key=lambda pair: -pair[1])
