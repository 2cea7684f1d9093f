"""What a camera's tags and events are worth, compared with what is visible in each frame.

The rules, which ``docs/camera_accuracy.md`` explains:

- A label is present, absent or unknown in each frame. What is unknown counts for and against nothing.
- The frames of an event are those from its start to before its end. It is false if its label is absent in all of them,
  and true if its label is present in at least one.
- An appearance is a longest sequence of frames in which a label is present. Unknown frames inside it, for at most
  ``BRIDGE`` seconds, do not end it. It is found if an event of its label has one of its frames.
- A tag is a score of a single frame at or above the threshold, without smoothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

PRESENT, UNKNOWN, ABSENT = 1, 0, -1
BRIDGE = 1.0
"""Seconds: an event does not end in a shorter absence either (``min_gap`` of the defaults)."""

Floats = NDArray[np.float64]
Truth = NDArray[np.int8]
"""(T, C): PRESENT, UNKNOWN or ABSENT."""
Tags = NDArray[np.bool_]
"""(T, C): whether the label is a tag of the frame."""
Verdict = Literal["true", "false", "unknown"]


class Span(NamedTuple):
    """An event: the index of its label, and its start and end in seconds."""

    label: int
    start: float
    end: float


class JudgedEvent(NamedTuple):
    """An event, and whether its label is visible in one of its frames; ``sequence`` is its name."""

    sequence: str
    label: str
    start: float
    end: float
    verdict: Verdict


class Appearance(NamedTuple):
    """A label is present from ``start`` to ``end``, the times of its first and last frame in seconds."""

    sequence: str
    label: str
    start: float
    end: float
    found: bool


@dataclass(frozen=True)
class Score:
    """Counts of a sequence, or of several.

    Attributes:
        labels: the C labels.
        seconds: from the first frame to the last.
        frames: number of frames.
        false_frames: number of those with at least one false tag.
        true_tags, false_tags, missed_tags: (C,) int64, frames in which a label is present and a tag, absent and a tag,
            present and not a tag.
        events: all events.
        appearances: all appearances.
    """

    labels: tuple[str, ...]
    seconds: float
    frames: int
    false_frames: int
    true_tags: NDArray[np.int64]
    false_tags: NDArray[np.int64]
    missed_tags: NDArray[np.int64]
    events: tuple[JudgedEvent, ...]
    appearances: tuple[Appearance, ...]

    @classmethod
    def total(cls, scores: Sequence[Score]) -> Score:
        """All sequences, of the same labels, as one."""
        return cls(
            scores[0].labels,
            sum(score.seconds for score in scores),
            sum(score.frames for score in scores),
            sum(score.false_frames for score in scores),
            np.sum([score.true_tags for score in scores], axis=0),
            np.sum([score.false_tags for score in scores], axis=0),
            np.sum([score.missed_tags for score in scores], axis=0),
            tuple(event for score in scores for event in score.events),
            tuple(appearance for score in scores for appearance in score.appearances),
        )

    @property
    def false_events(self) -> list[JudgedEvent]:
        return [event for event in self.events if event.verdict == "false"]

    @property
    def missed(self) -> list[Appearance]:
        return [appearance for appearance in self.appearances if not appearance.found]

    def to_dict(self) -> dict[str, Any]:
        """Counts and rates as JSON values; rates in percent, None where there is nothing to count."""
        true = int(self.true_tags.sum())
        false = int(self.false_tags.sum())
        number = len(self.false_events)
        hours = self.seconds / 3600
        return {
            "seconds": round(self.seconds, 3),
            "frames": self.frames,
            "events": len(self.events),
            "false_events": number,
            "false_per_hour": round(number / hours, 1) if hours else None,
            "false_per_hour_95": [round(bound / hours, 1) for bound in poisson_interval(number)]
            if hours
            else None,
            "appearances": len(self.appearances),
            "found": len(self.appearances) - len(self.missed),
            "precision": _percent(true, true + false),
            "recall": _percent(true, true + int(self.missed_tags.sum())),
            "false_frames": _percent(self.false_frames, self.frames),
            "by_label": self._by_label(),
            "false": [event._asdict() for event in self.false_events],
            "missed": [appearance._asdict() for appearance in self.missed],
        }

    def _by_label(self) -> dict[str, dict[str, int]]:
        """Of each label that is present, a false event or a false tag, the most false events first."""
        rows = {}
        for index, label in enumerate(self.labels):
            appearances = [item for item in self.appearances if item.label == label]
            row = {
                "false_events": sum(event.label == label for event in self.false_events),
                "false_frames": int(self.false_tags[index]),
                "appearances": len(appearances),
                "found": sum(appearance.found for appearance in appearances),
            }
            if any(row.values()):
                rows[label] = row
        return dict(
            sorted(
                rows.items(), key=lambda item: (-item[1]["false_events"], -item[1]["false_frames"])
            )
        )


def score(
    sequence: str,
    labels: Sequence[str],
    times: Floats,
    truth: Truth,
    tags: Tags,
    spans: Sequence[Span],
) -> Score:
    """Compare the tags and events of a sequence with what is visible.

    Args:
        sequence: its name.
        labels: C names.
        times: (T,), increasing: seconds of each frame. The events begin and end at one of them.
    """
    events = [(span, _frames(times, span)) for span in spans]
    false = (truth == ABSENT) & tags
    return Score(
        tuple(labels),
        float(times[-1] - times[0]),
        len(times),
        int(false.any(axis=1).sum()),
        ((truth == PRESENT) & tags).sum(axis=0),
        false.sum(axis=0),
        ((truth == PRESENT) & ~tags).sum(axis=0),
        tuple(
            JudgedEvent(
                sequence,
                labels[span.label],
                span.start,
                span.end,
                _verdict(truth[rows, span.label]),
            )
            for span, rows in events
        ),
        tuple(
            Appearance(
                sequence,
                labels[label],
                float(times[first]),
                float(times[last]),
                any(
                    span.label == label and rows.start <= last and first < rows.stop
                    for span, rows in events
                ),
            )
            for label in range(len(labels))
            for first, last in _appearances(times, truth[:, label])
        ),
    )


def poisson_interval(count: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval (Garwood) of the mean of a Poisson distribution that gave this count."""
    tail = (1 - confidence) / 2
    low = float(chi2.ppf(tail, 2 * count)) / 2 if count else 0.0
    return low, float(chi2.ppf(1 - tail, 2 * count + 2)) / 2


def _frames(times: Floats, span: Span) -> slice:
    """The rows of an event's frames. It has its first one even if it ends there, with the camera."""
    first, end = (int(np.abs(times - moment).argmin()) for moment in (span.start, span.end))
    return slice(first, max(end, first + 1))


def _verdict(values: Truth) -> Verdict:
    if (values == PRESENT).any():
        return "true"
    return "false" if (values == ABSENT).all() else "unknown"


def _appearances(times: Floats, values: Truth) -> Iterator[tuple[int, int]]:
    """First and last row of each appearance of a label; ``values``: (T,)."""
    first = last = None
    for row in np.flatnonzero(values == PRESENT).tolist():
        if first is None or last is None:
            first = row
        elif not (
            (values[last:row] != ABSENT).all()
            and (row == last + 1 or times[row] - times[last] <= BRIDGE)
        ):
            yield first, last
            first = row
        last = row
    if first is not None and last is not None:
        yield first, last


def _percent(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 1) if whole else None
