"""The rules of an event detector, and its state between two frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .settings import MOST_PER_HOUR, EventSettings

Floats = NDArray[np.float64]
HOUR = 3600.0


class Rules(NamedTuple):
    """Settings, and for each of C labels its deployed threshold, those in use and whether it is reported;
    ``groups``: the rows of each group of labels that exclude each other."""

    names: tuple[str, ...]
    settings: EventSettings
    deployed: Floats
    upper: Floats
    lower: Floats
    watched: NDArray[np.bool_]
    groups: tuple[NDArray[np.intp], ...] = ()

    @property
    def labels(self) -> list[str]:
        return [self.names[row] for row in np.flatnonzero(self.watched).tolist()]

    def present(self, tracks: Tracks, free: Callable[[int], bool]) -> NDArray[np.bool_]:
        """(C,): the labels at or above their lower thresholds; ``free(row)``: nothing holds back a label's events.

        Of a group, at most two. The active one stays until another one begins. That which leads has the highest
        average of those that are active, or have reached their upper thresholds and are free; without any, of all.
        """
        average = tracks.average
        present: NDArray[np.bool_] = (average >= self.lower) & self.watched
        reached = tracks.reached | (average >= self.upper)
        for group in self.groups:
            candidates = group[present[group]]
            if len(candidates) < 2:
                continue
            active = candidates[tracks.active[candidates]]
            rivals = [
                row for row in candidates if tracks.active[row] or (reached[row] and free(row))
            ]
            # The active label stays beside the leader until the leader's own event begins.
            leaders = [
                rows[average[rows].argmax()] for rows in (active, rivals or candidates) if len(rows)
            ]
            present[np.setdiff1d(candidates, leaders)] = False
        return present

    def left(self, tracks: Tracks) -> Floats:
        """(C,): when events that end now were over: their label was not present any more, or another one led."""
        left = tracks.since.copy()
        for rows in self.groups:
            for leader in rows[tracks.up[rows] & ~tracks.active[rows]]:
                left[rows] = np.minimum(
                    np.where(tracks.up[rows], np.inf, left[rows]), tracks.since[leader]
                )
        return left


class Tracks:
    """The state of each of C labels: arrays (C,); times are monotonic.

    ``up``: at or above its lower threshold since ``since``. ``reached``: it has been at or above the upper one since
    then. ``active``: reported as on. ``start``, ``peak``, ``peak_at``, ``ids`` and ``offset`` (from monotonic to wall
    time) belong to the current event.

    ``seen``: when the average was at or above the upper threshold last. ``ended``: the end of the last event. ``begun``
    (C, 60): when events were reported last, the newest at the end. -inf: never.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        count = len(names)
        self.names = names
        self.last: float | None = None
        self.average: Floats = np.zeros(count)
        self.up: NDArray[np.bool_] = np.zeros(count, np.bool_)
        self.reached: NDArray[np.bool_] = np.zeros(count, np.bool_)
        self.active: NDArray[np.bool_] = np.zeros(count, np.bool_)
        self.since: Floats = np.zeros(count)
        self.start: Floats = np.zeros(count)
        self.peak: Floats = np.zeros(count)
        self.peak_at: Floats = np.zeros(count)
        self.offset: Floats = np.zeros(count)
        self.seen: Floats = np.full(count, -np.inf)
        self.ended: Floats = np.full(count, -np.inf)
        self.begun: Floats = np.full((count, MOST_PER_HOUR), -np.inf)
        self.ids: NDArray[np.object_] = np.full(count, "", object)

    def smooth(self, scores: Floats, now: float, constant: float) -> None:
        """Move the averages towards the scores (C,) of a frame at ``now``; ``constant`` is in seconds, 0: the scores
        are the averages."""
        weight = 1.0
        if self.last is not None and constant > 0:
            weight = -np.expm1((self.last - now) / constant)
        self.average += weight * (scores - self.average)
        self.last = now

    def renamed(self, names: tuple[str, ...], arrays: Sequence[str] | None = None) -> Tracks:
        """The state of other labels: those that stay keep these arrays (None: all of them), new ones begin anew."""
        changed = Tracks(names)
        rows = {name: row for row, name in enumerate(self.names)}
        kept = [row for row, name in enumerate(names) if name in rows]
        before = [rows[names[row]] for row in kept]
        for key, value in vars(self).items():
            if isinstance(value, np.ndarray) and (arrays is None or key in arrays):
                getattr(changed, key)[kept] = value[before]
        changed.last = self.last
        return changed
