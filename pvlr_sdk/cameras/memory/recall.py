"""The share of moments that events miss, as answers on frames drawn at random prove: the recall of a label.

Of a sampled frame that shows the label, an event of that label at its place covers its time, or it was missed. Each
such frame is one trial of an exact binomial test, with the numbers of answers and errors of :mod:`.precision`.

Frames are drawn in a random order from all that was recorded, so that the trials are independent, given what happened.
What happened is not: a visit of some hours that is found as a whole is found in each of its frames, and that of another
month would perhaps be missed. So found frames of one event, or of one block of time, count once, and missed frames
each, which lowers the share that was found.
"""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from itertools import chain, zip_longest
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from .precision import CONFIDENCE, p_value, tests, to_review
from .reader import Reader, Row
from .recording import Context, Floats, Place
from .sameness import is_same

BLOCK_HOURS = 3.0
"""Found frames of a place that are closer to each other count once, as do those of one event."""
_CLOCK = 1e-3
"""Seconds by which the recorded times of one frame differ at most."""
Thresholds: TypeAlias = tuple[float, float]
"""Of a label: the upper and the lower one."""


@dataclass(frozen=True)
class Recall:
    """What answers on sampled frames prove of the moments with a label.

    Attributes:
        proven: whether at least a share of ``target`` of these moments was found.
        found, moments: of the frames that show the label; found ones of an event or a block count once.
        answers: frames that were reviewed, whatever they show.
        missing: further moments up to the next test.
        block_hours: see :data:`BLOCK_HOURS`.
    """

    label: str
    target: float
    proven: bool
    found: int
    moments: int
    answers: int
    missing: int
    block_hours: float = BLOCK_HOURS

    @property
    def frames(self) -> int:
        """About how many answers the missing moments need."""
        return math.ceil(self.missing * (self.answers + 1) / (self.moments + 1))

    @property
    def is_open(self) -> bool:
        """Whether more answers may prove it."""
        is_early = self.moments < tests(0, self.target)[2]
        return not self.proven and (is_early or self.found >= self.target * self.moments)

    def to_dict(self) -> dict[str, Any]:
        """The attributes, and about how many answers are missing."""
        return {**asdict(self), "frames": self.frames}

    def __str__(self) -> str:
        share = f"at most {100 * (1 - self.target):g} % of the moments with it were missed"
        counts = f"{self.found} of {self.moments} found, {self.answers} frames reviewed"
        if self.proven:
            return f"{self.label}: {share} ({100 * CONFIDENCE:g} % confidence, {counts})"
        missing = f"{self.missing} more until the next test"
        if self.moments:
            missing = f"{missing}, in about {self.frames} frames"
        return f"{self.label}: not proven that {share} ({counts}); {missing}"


class Sighting(NamedTuple):
    """A frame that shows a label: where and when, in seconds, and the number of the event that covers it; None: it was
    missed."""

    place: Place
    time: float
    event: int | None


def trials(moments: Iterable[Sighting]) -> list[bool]:
    """Of moments in the order of their answers, whether each that counts was found."""
    counted = defaultdict[Place, list[Sighting]](list)
    outcomes = list[bool]()
    for moment in moments:
        if moment.event is not None:
            before = counted[moment.place]
            if any(_belong_together(moment, earlier) for earlier in before):
                continue
            before.append(moment)
        outcomes.append(moment.event is not None)
    return outcomes


def _belong_together(moment: Sighting, other: Sighting) -> bool:
    return moment.event == other.event or abs(moment.time - other.time) < 3600 * BLOCK_HOURS


def is_proven(outcomes: list[bool], target: float) -> bool:
    """Whether trials prove that a share of ``target`` of the moments is found, by the last test that they allow."""
    count, error, _ = tests(len(outcomes), target)
    return count > 0 and p_value(sum(outcomes[:count]), count, target) <= error


def recall(reader: Reader, label: str, target: float, camera: str | None = None) -> Recall:
    """What the answers on sampled frames prove of a label, at a camera or at all of them (None).

    A frame counts if it was recorded with the plan, the label's vector and the settings in use, and at thresholds at or
    above those in use at its place: lower ones find more. An unclear frame is missed; if an event covers it, it does
    not count.
    """
    usable = _Usable(reader, label)
    events = _events(reader, label, usable)
    moments = list[Sighting]()
    answers = 0
    query = (
        "SELECT camera, region, context, moments.time, answer FROM answers JOIN moments USING (id) "
        "WHERE answers.label = ? AND kind = 'random' AND ? IN (camera, '') ORDER BY answers.time"
    )
    for name, region, context, time, answer in reader.query(query, label, camera or ""):
        place = Place(name, region)
        if not usable(place, context):
            continue
        answers += 1
        event = _covering(events.get(place), time)
        if answer == "yes" or (answer == "unclear" and event is None):
            moments.append(Sighting(place, time, event))
    outcomes = trials(moments)
    proven = is_proven(outcomes, target)
    tested, _, following = tests(len(outcomes), target)
    shown = outcomes[:tested] if proven else outcomes
    missing = following - len(outcomes)
    return Recall(label, target, proven, sum(shown), len(shown), answers, missing)


class _Usable:
    """Whether what was recorded at a place with a context, by its number, holds for what is in use there."""

    def __init__(self, reader: Reader, label: str) -> None:
        self._label = label
        self._contexts = reader.contexts()
        newest = "SELECT max(id) FROM chunks GROUP BY camera, region"
        query = f"SELECT camera, region, context FROM chunks WHERE id IN ({newest}) ORDER BY id"
        rows = list(reader.query(query))
        self._in_use = {
            Place(camera, region): self._thresholds(self._contexts[number])
            for camera, region, number in rows
        }
        self._newest = self._contexts[rows[-1][2]] if rows else None

    def __call__(self, place: Place, number: int) -> bool:
        context = self._contexts[number]
        then = self._thresholds(context)
        now = self._in_use.get(place)
        if then is None or now is None or self._newest is None:
            return False
        if not is_same(self._label, context, self._newest):
            return False
        return then[0] >= now[0] and then[1] >= now[1]

    def _thresholds(self, context: Context) -> Thresholds | None:
        """None: the label is not reported."""
        rules = context.rules
        if self._label not in context.names:
            return None
        row = context.names.index(self._label)
        return (float(rules.upper[row]), float(rules.lower[row])) if rules.watched[row] else None


def _events(reader: Reader, label: str, usable: _Usable) -> dict[Place, Floats]:
    """By place, (3, E): the numbers, starts and ends of the events of a label that have ended."""
    spans = defaultdict[Place, list[tuple[int, float, float]]](list)
    query = "SELECT id, camera, region, context, start, end FROM moments WHERE label = ? AND ended IS NOT NULL"
    for number, camera, region, context, start, end in reader.query(query, label):
        if usable(Place(camera, region), context):
            spans[Place(camera, region)].append((number, start, end))
    return {place: np.array(rows).T for place, rows in spans.items()}


def _covering(events: Floats | None, time: float) -> int | None:
    """The number of the event that covers a time; None: there is none."""
    if events is None:
        return None
    numbers, starts, ends = events
    covering = numbers[(starts - _CLOCK <= time) & (time < ends - _CLOCK)]
    return int(covering[0]) if len(covering) else None


def frames_to_review(
    reader: Reader, label: str, limit: int = 30, camera: str | None = None
) -> list[Row]:
    """Sampled frames without an answer on a label whose answer would count, in a random order."""
    usable = _Usable(reader, label)
    query = (
        "SELECT id, camera, region, context FROM moments WHERE kind = 'random' AND ? IN (camera, '') "
        "AND id NOT IN (SELECT id FROM answers WHERE label = ?)"
    )
    numbers = [
        number
        for number, name, region, context in reader.query(query, camera or "", label)
        if usable(Place(name, region), context)
    ]
    drawn = sorted(numbers, key=_order)[:limit]
    rows = reader.rows(f"id IN ({', '.join(map(str, drawn))})")
    return sorted(rows, key=lambda row: _order(row.id))


def to_ask(
    reader: Reader,
    target: float,
    label: str | None = None,
    limit: int = 30,
    camera: str | None = None,
) -> list[tuple[Row, str]]:
    """The next questions of a review, events and frames in turn: each with the label to ask for.

    Without a label, frames are asked for that with the most answered events of which more answers may prove the recall.
    """
    events = [(row, row.label or "") for row in to_review(reader, label, limit, camera)]
    name = label or _wanted(reader, target, camera)
    rows = frames_to_review(reader, name, limit, camera) if name else []
    pairs = zip_longest(events, ((row, name or "") for row in rows))
    return [question for question in chain.from_iterable(pairs) if question][:limit]


def _wanted(reader: Reader, target: float, camera: str | None) -> str | None:
    query = "SELECT label FROM answers WHERE event IS NOT NULL GROUP BY label ORDER BY count(*) DESC, label"
    labels = [label for (label,) in reader.query(query)]
    return next((label for label in labels if recall(reader, label, target, camera).is_open), None)


def _order(number: int) -> bytes:
    """Of a frame: as good as random, and the same each time."""
    return hashlib.sha256(str(number).encode()).digest()
