"""Why an event was reported: its curve, and what came close and was not reported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ... import errors
from ...result.tags import sigmoid
from ..events.thresholds import PLAN, TILES
from ..events.tracks import Rules
from .reader import Reader, Row
from .recording import Place
from .replay import replay

_AROUND = 5.0
_DAY = 86400.0
_OTHERS = 5
"""Seconds of the curve before and after an event, seconds of near misses, and number of other labels."""
MARGIN = 0.1
"""How far below its threshold a label comes close, but not below half of it."""


class NearMiss(NamedTuple):
    """A label that came within 0.1 of its threshold and was not reported, with the reason."""

    label: str
    start: float
    end: float
    peak: float
    threshold: float
    reason: str


@dataclass(frozen=True)
class Explanation:
    """Why an event was reported.

    Attributes:
        upper, lower: the two thresholds. ``source``: where the upper one came from.
        began, ended: the reasons.
        curve: (time, score, moving average) of its frames, and of the 5 seconds before and after.
        others: other labels at its peak with scores and thresholds, the highest scores first.
        near: what came close at its camera, in the day, or ``near``, before its end.
    """

    upper: float
    lower: float
    source: str
    began: str
    ended: str
    curve: list[tuple[float, float, float]]
    others: list[tuple[str, float, float]]
    near: list[NearMiss]


def find_event(reader: Reader, event: str) -> Row:
    """An event by its id, the beginning of its id, or ``last``. Raises OptionError if it is not one event."""
    rows = reader.rows("kind = 'event' AND substr(event, 1, ?) = ?", (len(event), event))
    if event == "last":
        rows = reader.rows("id = (SELECT max(id) FROM moments WHERE kind = 'event')")
    if len(rows) != 1:
        raise errors.OptionError(
            "EVENT",
            "the id of a remembered event",
            f"the beginning of {len(rows)} ids" if rows else f"{event[:64]!r}, which is none",
            "pvlr search shows the ids of events.",
        )
    return rows[0]


def explain(reader: Reader, row: Row, near: float = _DAY) -> Explanation:
    """Why an event was reported, from the scores around it and the settings at that time; ``near``: seconds before its
    end in which near misses are searched."""
    on = row.began
    off = row.ended
    context = row.context
    place = Place(row.camera, row.region)
    assert on is not None, "a row of an event"
    end = on.time if row.end is None else row.end
    first = row.start - _AROUND
    last = end + _AROUND
    curve = [
        (step.wall, float(step.scores[at]), float(step.detector.tracks.average[at]))
        for step in replay(reader.chunks(place, first, last))
        if step.scores is not None and first <= step.wall <= last and on.label in step.rules.names
        for at in [step.rules.names.index(on.label)]
    ]
    rules = context.rules
    settings = context.settings
    at = context.names.index(on.label)
    upper = float(rules.upper[at])
    lower = float(rules.lower[at])
    raised = (
        context.raised is not None
        and context.raised[at] > context.deployed[at]
        and on.label not in settings.on
    )
    source = TILES if raised else settings.origins.get(on.label, PLAN)
    began = (
        f"average {on.peak:.3f} at or above {upper:.3f} ({source}), and at or above {lower:.3f} for "
        f"{on.time - on.start:.2f} s (min_duration {settings.min_duration:g} s)"
    )
    ended = "it goes on, or the process was killed" if off is None else off.reason or ""
    if off is not None and off.reason == "score":
        ended = (
            f"average below {lower:.3f} for {off.time - end:.2f} s (min_gap {settings.min_gap:g} s)"
        )
    scores = np.zeros(0) if row.logits is None else sigmoid(row.logits)
    best = [other for other in np.argsort(-scores, kind="stable").tolist() if other != at][:_OTHERS]
    others = [
        (rules.names[other], float(scores[other]), float(rules.upper[other])) for other in best
    ]
    return Explanation(
        upper,
        lower,
        source,
        began,
        ended,
        curve,
        others,
        near_misses(reader, place, end - near, end),
    )


def near_misses(reader: Reader, place: Place, since: float, until: float) -> list[NearMiss]:
    """What came within 0.1 of its threshold at a place and was not reported, in the order of time."""
    misses: list[NearMiss] = []
    # start, peak, longest presence, what held it back, rules
    runs: dict[str, tuple[float, float, float, str | None, Rules]] = {}
    reported: set[str] = set()
    for step in replay(reader.chunks(place, since, until)):
        tracks = step.detector.tracks
        rules = step.rules
        lowest = rules.upper - np.minimum(MARGIN, rules.upper / 2)
        high = [] if step.scores is None else np.flatnonzero(tracks.average >= lowest).tolist()
        close = {rules.names[row]: row for row in high}
        reported |= {event.label for event in step.events}
        for label in runs.keys() - close.keys():
            start, peak, held, back, then = runs.pop(label)
            if label not in reported:
                reason, threshold = _reason(then, then.names.index(label), peak, held, back)
                misses.append(NearMiss(label, start, step.wall, peak, threshold, reason))
        for label, row in close.items():
            start, peak, held, back, _ = runs.get(label, (step.wall, 0.0, 0.0, None, rules))
            present = float((tracks.last or 0.0) - tracks.since[row]) if tracks.up[row] else 0.0
            back = step.detector.withheld(row) or back
            if (
                rules.watched[row]
                and not tracks.up[row]
                and tracks.average[row] >= rules.upper[row]
            ):
                back = back or "another label of its group has a higher score"
                held = np.inf
            runs[label] = (
                start,
                max(peak, float(tracks.average[row])),
                max(held, present),
                back,
                rules,
            )
        reported &= runs.keys() | {tracks.names[row] for row in np.flatnonzero(tracks.active)}
    return sorted(misses, key=lambda miss: miss.start)


def _reason(
    rules: Rules, row: int, peak: float, held: float, back: str | None
) -> tuple[str, float]:
    threshold = float(rules.upper[row])
    if not rules.watched[row]:
        return "the label is not reported", threshold
    if peak < threshold:
        return f"{threshold - peak:.3f} below the threshold", threshold
    if back is not None and held >= rules.settings.min_duration:
        return back, threshold
    return f"present for {held:.2f} s, min_duration is {rules.settings.min_duration:g} s", threshold
