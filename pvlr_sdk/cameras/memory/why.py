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
from .recording import Context, Place
from .replay import Step, replay

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
    assert on is not None, "a row of an event"
    rules = row.context.rules
    at = row.context.names.index(on.label)
    upper = float(rules.upper[at])
    lower = float(rules.lower[at])
    source = _source(row.context, at)
    place = Place(row.camera, row.region)
    end = on.time if row.end is None else row.end
    return Explanation(
        upper=upper,
        lower=lower,
        source=source,
        began=(
            f"average {on.peak:.3f} at or above {upper:.3f} ({source}), and at or above {lower:.3f} for "
            f"{on.time - on.start:.2f} s (min_duration {rules.settings.min_duration:g} s)"
        ),
        ended=_why_ended(row, lower, end),
        curve=_curve(reader, place, on.label, row.start - _AROUND, end + _AROUND),
        others=_others(row, at),
        near=near_misses(reader, place, end - near, end),
    )


def _source(context: Context, at: int) -> str:
    """Where the threshold of a label came from, by its row."""
    label = context.names[at]
    is_raised = context.raised is not None and context.raised[at] > context.deployed[at]
    if is_raised and label not in context.settings.on:
        return TILES
    return context.settings.origins.get(label, PLAN)


def _why_ended(row: Row, lower: float, end: float) -> str:
    off = row.ended
    if off is None:
        return "it goes on, or the process was killed"
    if off.reason == "score":
        min_gap = row.context.settings.min_gap
        return f"average below {lower:.3f} for {off.time - end:.2f} s (min_gap {min_gap:g} s)"
    return off.reason or ""


def _curve(
    reader: Reader, place: Place, label: str, first: float, last: float
) -> list[tuple[float, float, float]]:
    """(time, score, moving average) of a label in the frames from ``first`` to ``last``."""
    curve = []
    for step in replay(reader.chunks(place, first, last)):
        is_around = step.scores is not None and first <= step.wall <= last
        if is_around and label in step.rules.names:
            at = step.rules.names.index(label)
            average = step.detector.tracks.average[at]
            curve.append((step.wall, float(step.scores[at]), float(average)))
    return curve


def _others(row: Row, at: int) -> list[tuple[str, float, float]]:
    """The labels but for that in row ``at`` with the highest scores at the peak, with these and their thresholds."""
    rules = row.context.rules
    scores = np.zeros(0) if row.logits is None else sigmoid(row.logits)
    order = np.argsort(-scores, kind="stable").tolist()
    best = [other for other in order if other != at][:_OTHERS]
    return [(rules.names[other], float(scores[other]), float(rules.upper[other])) for other in best]


@dataclass
class _Approach:
    """A label that has come close to its threshold, for as long as it stays there.

    Attributes:
        rules, row: those of the newest frame.
        peak: the highest average. ``held``: the longest presence in seconds.
        obstacle: what held back its event.
    """

    label: str
    start: float
    rules: Rules
    row: int
    peak: float = 0.0
    held: float = 0.0
    obstacle: str | None = None

    def see(self, step: Step, row: int) -> None:
        """A frame in which the label is close."""
        tracks = step.detector.tracks
        average = float(tracks.average[row])
        self.rules = step.rules
        self.row = row
        self.peak = max(self.peak, average)
        self.obstacle = step.detector.withheld(row) or self.obstacle
        if tracks.up[row]:
            self.held = max(self.held, float((tracks.last or 0.0) - tracks.since[row]))
        elif self.rules.watched[row] and average >= self.rules.upper[row]:
            self.obstacle = self.obstacle or "another label of its group has a higher score"
            self.held = np.inf

    def miss(self, end: float) -> NearMiss:
        """What it was, when the label is not close any more."""
        threshold = float(self.rules.upper[self.row])
        return NearMiss(self.label, self.start, end, self.peak, threshold, self._reason(threshold))

    def _reason(self, threshold: float) -> str:
        min_duration = self.rules.settings.min_duration
        if not self.rules.watched[self.row]:
            return "the label is not reported"
        if self.peak < threshold:
            return f"{threshold - self.peak:.3f} below the threshold"
        if self.obstacle is not None and self.held >= min_duration:
            return self.obstacle
        return f"present for {self.held:.2f} s, min_duration is {min_duration:g} s"


def near_misses(reader: Reader, place: Place, since: float, until: float) -> list[NearMiss]:
    """What came within 0.1 of its threshold at a place and was not reported, in the order of time."""
    misses: list[NearMiss] = []
    approaches: dict[str, _Approach] = {}
    reported: set[str] = set()
    for step in replay(reader.chunks(place, since, until)):
        tracks = step.detector.tracks
        close = _close(step)
        reported |= {event.label for event in step.events}
        for label in approaches.keys() - close.keys():
            approach = approaches.pop(label)
            if label not in reported:
                misses.append(approach.miss(step.wall))
        for label, row in close.items():
            if label not in approaches:
                approaches[label] = _Approach(label, step.wall, step.rules, row)
            approaches[label].see(step, row)
        reported &= approaches.keys() | {tracks.names[row] for row in np.flatnonzero(tracks.active)}
    return sorted(misses, key=lambda miss: miss.start)


def _close(step: Step) -> dict[str, int]:
    """The labels whose averages are close to their thresholds in a frame, or above them, with their rows."""
    if step.scores is None:
        return {}
    upper = step.rules.upper
    lowest = upper - np.minimum(MARGIN, upper / 2)
    rows = np.flatnonzero(step.detector.tracks.average >= lowest).tolist()
    return {step.rules.names[row]: row for row in rows}
