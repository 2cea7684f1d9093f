"""Detects events in flickering scores by smoothing, hysteresis and a minimum duration."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from ... import errors
from ...bundle.label_bank import find_label
from .event import REPLACED, Event
from .settings import EventSettings
from .tracks import HOUR, Floats, Rules, Tracks


class EventDetector:
    """Turns the scores of one camera's frames, one call per frame, into events.

    The moving average is weighted by time, not by frame: a new score has the weight 1 - exp(-dt / smoothing), where dt
    is the time since the previous frame (Eckner, "Algorithms for unevenly spaced time series", 2012, EMA with
    next-point interpolation). So cameras with 5 and with 30 frames per second give the same events, to within a frame,
    and after a long gap only new scores count. Durations are measured by the monotonic clock.

    Hysteresis is that of Canny, "A computational approach to edge detection" (1986): an event extends over all frames
    at or above the lower threshold, if the upper one is reached in one of them.

    Args:
        camera: the camera's name, for the events. ``region``: the name of its region.
        labels: the C label names, in the order of the scores.
        thresholds: (C,), the score at or above which each label is present.
        settings: see :class:`EventSettings`.

    Attributes:
        tracks: the state after the newest frame. ``used``: the rules of that frame, without its own thresholds.

    Raises:
        UnknownLabelError: the settings name a label that is not in ``labels``.
        OptionError: ``thresholds`` is not (C,), or a label's lower threshold is above its upper one.
    """

    def __init__(
        self,
        camera: str,
        labels: Sequence[str],
        thresholds: ArrayLike,
        settings: EventSettings | None = None,
        region: str | None = None,
    ) -> None:
        deployed = np.array(thresholds, np.float64)
        if deployed.shape != (len(labels),):
            raise errors.OptionError(
                "thresholds",
                f"({len(labels)},)",
                str(deployed.shape),
                "Pass one threshold per label.",
            )
        self.camera = camera
        self.region = region
        self._rules = Rules(
            tuple(labels), settings or EventSettings(), deployed, deployed, deployed, deployed > 0
        )
        # the rules, and these with the thresholds of a frame
        self._raised = (
            self._rules,
            self._rules,
        )
        self.tracks = Tracks(self._rules.names)
        self.use(self.prepare(self._rules.settings))
        self.used = self._rules

    def use(self, rules: Rules) -> None:
        """Use what :meth:`prepare` returned from the next frame on. Safe in any thread.

        Events of labels that are excluded or not there any more end with that frame; all other events continue.
        """
        self._rules = rules  # one assignment: another thread may be in update()

    def prepare(
        self,
        settings: EventSettings,
        thresholds: ArrayLike | None = None,
        labels: Sequence[str] | None = None,
    ) -> Rules:
        """Check other settings, for :meth:`use`.

        Args:
            settings: they replace the current ones.
            thresholds: (C,), as for the class, of another plan or of other labels; None: no change.
            labels: the C label names of frames to come; None: no change.

        Raises:
            UnknownLabelError, OptionError: as for the class.
        """
        names = self._rules.names
        if labels is not None and tuple(labels) != names:
            names = tuple(labels)
        index = {name: position for position, name in enumerate(names)}
        deployed = self._rules.deployed if thresholds is None else np.array(thresholds, np.float64)
        on = deployed.copy()
        for label, value in settings.on.items():
            on[find_label(label, index)] = value
        off = np.maximum(on - settings.margin, on / 2)
        for label, value in settings.off.items():
            position = find_label(label, index)
            off[position] = value
            if value > on[position]:
                raise errors.OptionError(
                    f"off threshold of {label!r}",
                    f"at most its on threshold, {on[position]:g}",
                    f"{value:g}",
                    "Lower it, or raise the label's on threshold.",
                )
        for label, rule in settings.when.items():
            for name in (label, *rule.present, *rule.absent):
                find_label(name, index)
        allowed = names if settings.labels is None else settings.labels
        watched = np.zeros(len(names), np.bool_)
        watched[[find_label(label, index) for label in allowed]] = True
        watched[[find_label(label, index) for label in settings.deny]] = False
        groups = (
            np.array([find_label(label, index) for label in labels])
            for labels in settings.groups.values()
        )
        return Rules(names, settings, deployed, on, off, watched, tuple(groups))

    @property
    def labels(self) -> list[str]:
        """The labels that can be reported, in the order of the scores."""
        return self._rules.labels

    @property
    def levels(self) -> dict[str, tuple[float, float]]:
        """These labels, each with its smoothed score after the newest frame (0 before the first), and the score at or
        above which it is present."""
        rules, tracks, (base, raised) = self._rules, self.tracks, self._raised
        rules = raised if base is rules else rules
        scores = dict(zip(tracks.names, tracks.average.tolist(), strict=True))
        uppers = dict(zip(rules.names, rules.upper.tolist(), strict=True))
        return {label: (scores.get(label, 0.0), uppers[label]) for label in rules.labels}

    def update(
        self,
        monotonic: float,
        wall: float,
        scores: ArrayLike,
        labels: Sequence[str] | None = None,
        thresholds: ArrayLike | None = None,
    ) -> list[Event]:
        """Process the scores of one frame and return its events.

        Args:
            monotonic: when the frame was captured, as ``time.monotonic()`` in seconds. A frame older than the previous
                one counts as captured at the same time.
            wall: the same moment in seconds since the epoch.
            scores: (C,), finite.
            labels: the labels of the scores. A frame with other labels than the current ones was in progress when they
                changed, and is ignored; None: the current ones.
            thresholds: (C,), of this frame, such as ``TagResult.thresholds``: with tiles they are higher. They replace
                lower deployed ones; None: the deployed ones.

        Raises:
            OptionError: the scores have another shape or are not finite.
        """
        rules = self._rules
        if labels is not None and tuple(labels) != rules.names:
            return []
        new = _checked(scores, len(rules.names))
        self.used = rules
        if thresholds is not None:
            rules = self._with(rules, np.asarray(thresholds, np.float64))
        last = self.tracks.last
        now = monotonic if last is None else max(monotonic, last)
        removed = self._end_removed(rules.names, now)
        self.tracks.smooth(new, now, rules.settings.smoothing)
        self._mark_present(rules, now, wall)
        return removed + self._begin_and_end(rules, now)

    def _end_removed(self, names: tuple[str, ...], now: float) -> list[Event]:
        """End the events of labels that are not there any more; all other labels keep their state."""
        tracks = self.tracks
        if tracks.names is names:
            return []
        removed = [
            row for row in np.flatnonzero(tracks.active).tolist() if tracks.names[row] not in names
        ]
        events = [self._end(row, now, now, "label removed") for row in removed]
        self.tracks = tracks.renamed(names)
        return events

    def _mark_present(self, rules: Rules, now: float, wall: float) -> None:
        """Mark which labels are present in this frame, since when, and the peaks of those that are."""
        tracks = self.tracks
        tracks.seen[tracks.average >= rules.upper] = now
        up = rules.present(tracks, lambda row: self.withheld(row, np.inf) is None)
        tracks.reached = up & (tracks.reached | (tracks.average >= rules.upper))
        tracks.since[up != tracks.up] = now
        starting = up & ~tracks.up & ~tracks.active
        tracks.start[starting] = now
        tracks.offset[starting] = wall - now
        tracks.peak[starting] = -np.inf
        higher = (up | tracks.active) & (tracks.average > tracks.peak)
        tracks.peak[higher], tracks.peak_at[higher] = tracks.average[higher], now
        tracks.up = up

    def _begin_and_end(self, rules: Rules, now: float) -> list[Event]:
        """The events that this frame begins and ends; a label that begins replaces the others of its groups."""
        tracks = self.tracks
        held = now - tracks.since
        begins = tracks.reached & ~tracks.active & (held >= rules.settings.min_duration)
        beginning = [row for row in np.flatnonzero(begins).tolist() if self.withheld(row) is None]
        left = rules.left(tracks)
        replaced = [
            self._end(mate, now, left[mate], REPLACED + tracks.names[row])
            for row in beginning
            for rows in rules.groups
            if row in rows
            for mate in rows[tracks.active[rows]].tolist()
        ]
        ends = ~tracks.up & tracks.active & ((held >= rules.settings.min_gap) | ~rules.watched)
        begun = [self._begin(row, now) for row in beginning]
        ended = [
            self._end(row, now, left[row], "score" if rules.watched[row] else "label excluded")
            for row in np.flatnonzero(ends).tolist()
        ]
        return replaced + begun + ended

    def withheld(self, row: int, present: float | None = None) -> str | None:
        """Why an event of a label that has been present for long enough is not reported; None: it is. ``present``: for
        how many seconds."""
        tracks = self.tracks
        settings = self.used.settings
        now = tracks.last or 0.0
        if now - tracks.ended[row] < settings.cooldown:
            return f"the cooldown is {settings.cooldown:g} s"
        if settings.max_per_hour and now - tracks.begun[row, -settings.max_per_hour] < HOUR:
            return f"max_per_hour is {settings.max_per_hour}"
        condition = settings.when.get(tracks.names[row])
        if condition is None:
            return None
        ages = {
            name: float(now - tracks.seen[tracks.names.index(name)])
            for name in (*condition.present, *condition.absent)
        }
        held = float(now - tracks.since[row])
        return condition.unmet(ages, held if present is None else present)

    def _with(self, rules: Rules, thresholds: Floats) -> Rules:
        base, raised = self._raised
        # and so above the lower thresholds of the settings
        higher = np.maximum(rules.deployed, thresholds)
        if base is not rules or not np.array_equal(raised.deployed, higher):
            self._raised = rules, self.prepare(rules.settings, higher, rules.names)
        return self._raised[1]

    def close(self, monotonic: float, reason: str) -> list[Event]:
        """End all events because no frames will follow; the next frame then counts as the first.

        They end with the last frame in which they were present. ``monotonic`` is the time to report.
        """
        tracks = self.tracks
        closed = []
        if tracks.last is None:
            return []
        for row in np.flatnonzero(tracks.active).tolist():
            end = tracks.last if tracks.up[row] else tracks.since[row]
            closed.append(self._end(row, max(monotonic, tracks.last), end, reason))
        self.tracks = tracks.renamed(self._rules.names, ("ended", "begun"))
        self.tracks.last = None
        return closed

    def _begin(self, row: int, now: float) -> Event:
        tracks = self.tracks
        tracks.active[row], tracks.ids[row] = True, str(uuid.uuid4())
        tracks.begun[row] = [*tracks.begun[row, 1:], now]
        return self._event(row, "on", now)

    def _end(self, row: int, now: float, end: float, reason: str) -> Event:
        tracks = self.tracks  # a label that another one replaces must lead again from the beginning
        tracks.active[row] = False
        tracks.up[row] = False
        tracks.reached[row] = False
        tracks.ended[row] = end
        return self._event(row, "off", now, end=float(end + self.tracks.offset[row]), reason=reason)

    def _event(self, row: int, state: Literal["on", "off"], now: float, **ending: Any) -> Event:
        tracks = self.tracks
        groups = self.used.settings.groups
        offset = tracks.offset[row]
        return Event(
            state,
            tracks.ids[row],
            self.camera,
            tracks.names[row],
            time=float(now + offset),
            score=float(tracks.average[row]),
            peak=float(tracks.peak[row]),
            peak_time=float(tracks.peak_at[row] + offset),
            start=float(tracks.start[row] + offset),
            region=self.region,
            group=next(
                (name for name, labels in groups.items() if tracks.names[row] in labels), None
            ),
            **ending,
        )


def _checked(scores: ArrayLike, count: int) -> Floats:
    new = np.asarray(scores, np.float64)
    if new.shape != (count,) or not np.isfinite(new).all():
        raise errors.OptionError(
            "scores",
            f"finite, ({count},)",
            f"shape {new.shape}" if new.shape != (count,) else "NaN or infinite values",
            "Pass TagResult.scores.",
        )
    return new
