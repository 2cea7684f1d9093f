"""Events computed again from recorded scores, with the recorded settings or with other ones."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from ..._util.validation import few
from ..events import Event, EventDetector, EventSettings
from ..events.thresholds import REGION, Thresholds
from ..events.tracks import Rules, Tracks
from .reader import Reader
from .recorder import TAIL
from .recording import BELOW, STATE, Chunk, Context, Floats, Place

SettingsFor: TypeAlias = "Callable[[Place, Context], EventSettings | None]"
"""The settings of a place, or None if it has no events any more."""


class Step(NamedTuple):
    """A frame, or the end of a recording: the detector after it, the rules with the thresholds of tiles, the wall time,
    the scores (C,), None at the end, and the events."""

    detector: EventDetector
    rules: Rules
    wall: float
    scores: Any
    events: list[Event]


def recorded(place: Place, context: Context) -> EventSettings:
    """The settings at the time."""
    return context.settings


def replay(chunks: Iterable[Chunk], settings_for: SettingsFor = recorded) -> Iterator[Step]:
    """Detect the events of one place again.

    With the recorded settings the events are the recorded ones, but for their ids. With other thresholds, labels and
    durations they are those that these settings would have given, except where :func:`inexact` has a reason.

    Raises:
        UnknownLabelError, OptionError: the settings do not fit the labels.
    """
    detector: EventDetector | None = None
    context: Context | None = None
    expected = 0, -1
    for chunk in chunks:
        if context != chunk.context:
            context = chunk.context
            chosen = settings_for(chunk.place, chunk.context)
            if chosen is None:
                return
            settings = chosen
            if detector is not None:
                detector.use(detector.prepare(settings, context.deployed, context.names))
        follows = expected == (chunk.run, chunk.number)
        if detector is None or not follows:
            detector = EventDetector(
                chunk.place.camera, context.names, context.deployed, settings, chunk.place.region
            )
        yield from _frames(detector, chunk, settings, resumed=not follows and chunk.number > 0)
        expected = chunk.run, chunk.number + 1


def _frames(
    detector: EventDetector, chunk: Chunk, settings: EventSettings, *, resumed: bool
) -> Iterator[Step]:
    """Detect again what a chunk has; ``resumed``: the chunk before it is missing."""
    context = chunk.context
    arrays = chunk.arrays
    walls = arrays["wall"].tolist()
    starts = chunk.starts
    before = np.zeros(starts.shape)
    before[starts] = arrays["before"]
    raised = None if context.raised is None else np.array(context.raised)
    floors = context.floors(
        detector.prepare(context.settings, context.deployed, context.names).lower
    )
    rules = detector.prepare(settings, context.highest, context.names)
    columns = {name: column for column, name in enumerate(context.names)}
    is_same_smoothing = settings.smoothing == context.settings.smoothing
    frames = zip(
        arrays["monotonic"].tolist(),
        arrays["last"].tolist(),
        walls,
        chunk.dense(floors),
        strict=True,
    )
    for number, (monotonic, last, wall, scores) in enumerate(frames):
        tracks = detector.tracks
        if resumed and number == 0:
            _resume(tracks, monotonic, arrays, STATE if settings == context.settings else STATE[:1])
            continue
        if tracks.last is not None:
            tracks.last = last
        if is_same_smoothing and (number == 0 or starts[number].any()):
            # a label that does not matter is below its floor
            limits = BELOW * floors if number == 0 else None
            _correct_averages(tracks, columns, starts[number], before[number], limits)
        yield Step(
            detector,
            rules,
            wall,
            scores,
            detector.update(monotonic, wall, scores, context.names, raised),
        )
    if chunk.closed:
        yield Step(
            detector, rules, walls[-1] if walls else 0.0, None, detector.close(*chunk.closed)
        )


def _resume(
    tracks: Tracks, monotonic: float, arrays: Mapping[str, Any], names: Sequence[str]
) -> None:
    """Go on with the recorded state after a frame, since what was before is not there any more."""
    for name in names:
        getattr(tracks, name)[:] = arrays[name]
    tracks.last = monotonic
    for row in np.flatnonzero(tracks.active).tolist():
        tracks.ids[row] = str(uuid4())


def _correct_averages(
    tracks: Tracks,
    columns: Mapping[str, int],
    starts: NDArray[np.bool_],
    before: Floats,
    limits: Floats | None,
) -> None:
    """Set the averages of the frame before to those that were recorded.

    Args:
        tracks: the state after that frame; its labels may be other ones.
        columns: the recorded labels, with their positions in the arrays.
        starts: (C,), the labels that are recorded from this frame on.
        before: (C,), their averages.
        limits: (C,), the highest averages that all other labels can have had; None: they are exact.
    """
    for row, name in enumerate(tracks.names):
        column = columns.get(name)
        if column is None:
            continue
        if starts[column]:
            tracks.average[row] = before[column]
        elif limits is not None:
            tracks.average[row] = min(tracks.average[row], limits[column])


def inexact(contexts: Iterable[tuple[Place, Context]], settings_for: SettingsFor) -> list[str]:
    """Why events with other settings may differ from those of a run with them; empty: they do not."""
    reasons = set[str]()
    low = set[str]()
    for place, context in contexts:
        settings = settings_for(place, context)
        if settings is None or context.floor == 0:
            continue
        detector = EventDetector(place.camera, context.names, context.deployed, context.settings)
        floors = context.floors(detector.used.lower)
        new = detector.prepare(settings)
        others = [name for rule in settings.when.values() for name in (*rule.present, *rule.absent)]
        matter = new.watched | np.isin(new.names, others)
        low |= {
            context.names[row] for row in np.flatnonzero((new.lower < floors) & matter).tolist()
        }
        if settings.smoothing != context.settings.smoothing:
            reasons.add("smoothing differs from the recording")
        if settings.min_gap > max(TAIL, context.settings.min_gap):
            reasons.add(f"min_gap is above {TAIL:g} s")
    if low:
        reasons.add(
            f"the lower threshold of {few(sorted(low))} is below the floor of the recording"
        )
    return sorted(reasons)


def events_of(
    store: Reader, settings_for: SettingsFor = recorded, since: float = -np.inf
) -> list[Event]:
    """The events of a store, ``on`` and ``off``, in the order of each place; of chunks that end ``since`` a time."""
    steps = (
        step
        for place in store.places()
        for step in replay(store.chunks(place, since), settings_for)
    )
    return [event for step in steps for event in step.events]


def with_threshold(label: str, thresholds: Thresholds) -> SettingsFor:
    """The settings at the time, with another threshold of a label for the site; a region's own one stays."""

    def settings_for(place: Place, context: Context) -> EventSettings:
        settings = context.settings
        if label not in context.names or settings.origins.get(label) == REGION:
            return settings
        off = {name: value for name, value in settings.off.items() if name != label}
        return replace(settings, on={**settings.on, label: thresholds.at(label).value}, off=off)

    return settings_for


@dataclass(frozen=True)
class Change:
    """A difference between two lists of events. ``before``, ``after``: the newest state of the event, ``on`` or
    ``off``; None: it is new, or gone."""

    kind: Literal["new", "gone", "longer", "shorter"]
    before: Event | None
    after: Event | None

    @property
    def event(self) -> Event:
        """The event after the change, or the one that is gone."""
        event = self.after or self.before
        assert event is not None, "a change has one of the two"
        return event


def changes(before: Iterable[Event], after: Iterable[Event]) -> list[Change]:
    """What differs between two lists of events, in the order of time. Events of a label that overlap are one event, of
    another length where that differs by more than a millisecond."""
    differences = list[Change]()
    left = defaultdict[Any, deque[Event]](deque)
    for event in _in_order(before):
        left[event.camera, event.region, event.label].append(event)
    for event in _in_order(after):
        earlier = left[event.camera, event.region, event.label]
        same = list[Event]()
        # what has ended before this one overlaps no later one
        while earlier and earlier[0].start <= _end_of(event):
            other = earlier.popleft()
            if event.start <= _end_of(other):
                same.append(other)
            else:
                differences.append(Change("gone", other, None))
        if not same:
            differences.append(Change("new", None, event))
        elif not _is_as_long(same[0], event):
            is_longer = _duration(event) > _duration(same[0])
            differences.append(Change("longer" if is_longer else "shorter", same[0], event))
        differences += [Change("gone", other, None) for other in same[1:]]
    differences += [Change("gone", other, None) for events in left.values() for other in events]
    return sorted(differences, key=lambda change: change.event.start)


def _in_order(events: Iterable[Event]) -> list[Event]:
    """The newest state of each event, in the order of time."""
    newest = {event.id: event for event in events}
    return sorted(newest.values(), key=lambda event: event.start)


def _end_of(event: Event) -> float:
    return math.inf if event.end is None else event.end


def _duration(event: Event) -> float:
    return _end_of(event) - event.start


def _is_as_long(event: Event, other: Event) -> bool:
    """Whether two events begin and end at the same time, to the millisecond."""
    is_close = partial(math.isclose, rel_tol=0.0, abs_tol=1e-3)
    return is_close(event.start, other.start) and is_close(_end_of(event), _end_of(other))
