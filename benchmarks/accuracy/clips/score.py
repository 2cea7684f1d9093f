"""Events compared with what is visible: precision, recall, false events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from pvlr_sdk.cameras.events import Event

from .truth import Interval, Truth

_FALSE = ("false", "repeated")
LAG = 1.0
"""Seconds by which an event may outlast what it reports: scores are smoothed."""


@dataclass(frozen=True)
class ClipScore:
    """Events of one clip, or of several.

    Attributes:
        seconds: length of the clip.
        intervals: number of true intervals; ``found`` is the number of those with an event.
        false: labels of the false events, one for each.
        repeated: number of those that repeat another event within one interval.
        never: those of the labels that are visible at no time in the clip.
    """

    seconds: float
    intervals: int
    found: int
    false: tuple[str, ...]
    repeated: int
    never: tuple[str, ...]

    @classmethod
    def total(cls, scores: Sequence[ClipScore]) -> ClipScore:
        """All clips as one."""
        return cls(
            sum(score.seconds for score in scores),
            sum(score.intervals for score in scores),
            sum(score.found for score in scores),
            tuple(label for score in scores for label in score.false),
            sum(score.repeated for score in scores),
            tuple(label for score in scores for label in score.never),
        )

    def to_dict(self) -> dict[str, Any]:
        """Counts and rates as JSON values; precision and recall in percent, None where there is nothing to count."""
        reported = self.found + len(self.false)
        return {
            "seconds": round(self.seconds, 2),
            "intervals": self.intervals,
            "found": self.found,
            "false": len(self.false),
            "repeated": self.repeated,
            "precision": round(100 * self.found / reported, 1) if reported else None,
            "recall": round(100 * self.found / self.intervals, 1) if self.intervals else None,
            "false_per_hour": round(3600 * len(self.false) / self.seconds, 1)
            if self.seconds
            else None,
            "false_labels": dict(Counter(self.never).most_common()),
        }


def score(
    events: Iterable[Event], truth: Truth, seconds: float
) -> tuple[ClipScore, list[dict[str, Any]]]:
    """Judge the ``off`` events of a clip, whose times are seconds from its first frame.

    An event finds an interval of its label if at least half of it lies within, or within ``LAG`` after its end. Each
    event finds one interval, and each interval is found by one event: the pairs with the longest overlap. Other events
    are false, also one that repeats another within an interval, unless at least half of it is optional.

    Returns:
        The score, and each event as a JSON object with its ``verdict``: true, false, repeated (which is also false) or
        optional.
    """
    ended = [event for event in events if event.state == "off"]
    verdicts = _verdicts(ended, truth)
    false = tuple(
        event.label for event, verdict in zip(ended, verdicts, strict=True) if verdict in _FALSE
    )
    visible = {
        label for label, intervals in [*truth.present.items(), *truth.optional.items()] if intervals
    }
    never = tuple(label for label in false if label not in visible)
    intervals = sum(map(len, truth.present.values()))
    rows = [
        {
            "label": event.label,
            "start": round(event.start, 2),
            "end": round(_end(event), 2),
            "peak": round(event.peak, 3),
            "verdict": verdict,
        }
        for event, verdict in zip(ended, verdicts, strict=True)
    ]
    return ClipScore(
        seconds, intervals, verdicts.count("true"), false, verdicts.count("repeated"), never
    ), rows


def _verdicts(events: Sequence[Event], truth: Truth) -> list[str]:
    pairs = [
        (_within(event, [interval]), row, (event.label, column))
        for row, event in enumerate(events)
        for column, interval in enumerate(truth.present.get(event.label, ()))
        if _mostly(event, [interval])
    ]
    found: dict[int, tuple[str, int]] = {}
    for _, row, interval in sorted(pairs, key=lambda pair: (-pair[0], pair[1])):
        if row not in found and interval not in found.values():
            found[row] = interval
    verdicts = []
    for row, event in enumerate(events):
        if row in found:
            verdicts.append("true")
        elif _mostly(event, truth.optional.get(event.label, ())):
            verdicts.append("optional")
        else:
            again = any(
                _mostly(event, [interval]) for interval in truth.present.get(event.label, ())
            )
            verdicts.append("repeated" if again else "false")
    return verdicts


def _mostly(event: Event, intervals: Sequence[Interval]) -> bool:
    within = _within(event, intervals)
    return within > 0 and within >= (_end(event) - event.start) / 2


def _within(event: Event, intervals: Sequence[Interval]) -> float:
    """Seconds of the event within the intervals; the lag after one may overlap the next, which counts once."""
    seconds = 0.0
    until = float("-inf")
    for start, end in intervals:
        begin = max(event.start, start, until)
        end = min(_end(event), end + LAG)
        seconds += max(0.0, end - begin)
        until = max(until, end)
    return seconds


def _end(event: Event) -> float:
    assert event.end is not None
    return event.end
