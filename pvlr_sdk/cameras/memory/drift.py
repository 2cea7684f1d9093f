"""Whether events are still mixed as they were when answers were given, so that what the answers prove still holds.

The share of a label at a place in all events of the last days is compared with that of the days of the answered events,
each day with the weight of its answers, by a G-test. Events come in bursts: the statistic is divided by how much more
the shares of single days differ than those of independent events would (a quasi-likelihood, McCullagh and Nelder 1989).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..events import place_of
from .reader import Reader
from .recording import Context, Floats
from .sameness import is_same

_DAY = 86400.0
_DAYS = 7
"""Seconds of a day, and the number of the last days."""
_ERROR = 0.01
"""The probability of a proposal without a change, for all labels together: a site is looked at every day."""
_LEAST = 5.0
_FACTOR = 1.25
"""The least events of the label and others that are expected on each side, and the least change of a share."""


@dataclass(frozen=True)
class Drift:
    """The share of a label's events at a place in all events. A proposal to review again: it changes nothing."""

    place: str
    before: float
    now: float

    def __str__(self) -> str:
        then = f"{100 * self.before:.3g} % when answers were given"
        return (
            f"Review again: at {self.place}, it is {100 * self.now:.3g} % of all events now, {then}"
        )


def drift_of(
    reader: Reader, label: str, starts: Sequence[float], like: Context, camera: str | None
) -> Drift | None:
    """The most significant change at a camera (None: at all of them) since answered events of a label, which began at
    ``starts``; None: there is none. Events of labels that were added or changed since then do not count."""
    ended = "ended IS NOT NULL AND ? IN (camera, '')"
    where = camera or ""
    ((newest,),) = reader.query(f"SELECT max(start) FROM moments WHERE {ended}", where)
    ((labels,),) = reader.query("SELECT count(DISTINCT label) FROM answers WHERE event IS NOT NULL")
    answers = np.bincount(
        [int((newest - start) // _DAY) for start in starts], minlength=_DAYS
    ).astype(float)
    columns = "label, camera, region, context, start, json_extract(ended, '$.peak')"
    contexts = reader.contexts()
    query = f"SELECT {columns} FROM moments WHERE {ended} AND start > ?"
    same = {key for key, context in contexts.items() if is_same(label, context, like)}
    rows = [
        row for row in reader.query(query, where, newest - _DAY * len(answers)) if row[3] in same
    ]
    in_rows = [contexts[key] for key in {row[3] for row in rows}]
    steady = {name for name in like.names if all(is_same(name, then, like) for then in in_rows)}
    # A threshold that was raised, or a label that was excluded, is no change: what all settings of a place report
    # counts.
    rules = defaultdict[str, dict[int, dict[str, float]]](dict)
    for _, at, region, key, _, _ in rows:
        in_use = contexts[key].rules
        thresholds = np.where(in_use.watched, in_use.upper, np.inf).tolist()
        rules[place_of(at, region)][key] = dict(zip(in_use.names, thresholds, strict=True))
    highest = {
        at: {name: max(thresholds[name] for thresholds in by_context.values()) for name in steady}
        for at, by_context in rules.items()
    }
    every = np.zeros(len(answers))
    places = dict[str, Floats]()
    for name, camera_of, region, _, start, peak in rows:
        at = place_of(camera_of, region)
        if name in steady and peak >= highest[at][name]:
            counts = places.setdefault(at, np.zeros(len(answers)))
            every[int((newest - start) // _DAY)] += 1
            counts[int((newest - start) // _DAY)] += name == label
    return change(places, every, answers, labels)


def change(
    places: Mapping[str, Floats], every: Floats, answers: Floats, labels: int
) -> Drift | None:
    """The most significant change of one of several ``labels``; None: there is none. Of each day, the last one first,
    the number of its events by place, of all events, and of the answered ones."""
    sides = answers * (every > 0), every * (np.arange(len(every)) < _DAYS)
    tests = (
        [(_p_value(counts, every, *sides), place) for place, counts in places.items()]
        if all(map(np.any, sides))
        else []
    )
    if not tests or min(tests)[0] * len(tests) * labels > _ERROR:
        return None
    _, place = min(tests)
    before, now = (_share(places[place], every, weights)[0] for weights in sides)
    return Drift(place, before, now) if max(before, now) >= _FACTOR * min(before, now) else None


def _share(counts: Floats, every: Floats, weights: Floats) -> tuple[float, float]:
    """The mean share of the days with weights, and the number of events that state as much."""
    shares = weights / weights.sum()
    days = np.maximum(every, 1)
    return float(shares @ (counts / days)), float(1 / (shares**2 / days).sum())


def _p_value(by_day: Floats, every: Floats, *sides: Floats) -> float:
    """Of the same share on both sides; 1 if too few events are expected."""
    shares, counts = np.array([_share(by_day, every, weights) for weights in sides]).T
    mean = counts @ shares / counts.sum()
    expected = np.outer([mean, 1 - mean], counts)
    seen = np.array([shares, 1 - shares]) * counts
    if expected.min() < _LEAST:
        return 1.0
    statistic = 2 * (seen * np.log(np.maximum(seen, 1e-300) / expected)).sum()
    squares = [(by_day - every * share)[weights > 0] ** 2 / np.maximum(every * share * (1 - share), 1e-300)[weights > 0]
               for share, weights in zip(shares, sides, strict=True)]  # fmt: skip
    spread = np.concatenate(squares).sum() / max(1, sum(map(len, squares)) - 2)
    return math.erfc(math.sqrt(max(0.0, statistic) / 2 / max(1.0, spread)))
