"""How scores become events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ... import errors

MOST_PER_HOUR = 60
"""The highest limit of events per hour."""


@dataclass(frozen=True)
class When:
    """A condition on other labels at the same place, for the events of a label. ``within`` is in seconds.

    Attributes:
        present: each of these was at or above its threshold within this time.
        absent: none of these was, while the label itself was present for this time.
    """

    present: Sequence[str] = ()
    absent: Sequence[str] = ()
    within: float = 0.0

    def unmet(self, ages: Mapping[str, float], present: float) -> str | None:
        """Why it is not met; None: it is.

        Args:
            ages: for each of the other labels, the seconds since it was at or above its threshold.
            present: for how many seconds the label itself has been present.
        """
        for name in self.present:
            if ages[name] > self.within:
                return f"no {name} within {self.within:g} s"
        for name in self.absent:
            if ages[name] <= self.within:
                return f"{name} within {self.within:g} s"
        if self.absent and present < self.within:
            return f"present for less than {self.within:g} s without {self.absent[0]}"
        return None


@dataclass(frozen=True)
class EventSettings:
    """How scores become events; times in seconds, scores and thresholds from 0 to 1.

    Attributes:
        smoothing: time constant of the moving average of each score; 0: no smoothing.
        margin: hysteresis: the lower threshold is this far below the threshold, but at most by half of the threshold,
            so that events with a low threshold end too.
        min_duration: an event begins once the average has reached the threshold, and has been at or above the lower
            one for this long.
        min_gap: an event ends once the average has been below the lower threshold for this long.
        cooldown: after an event has ended, no event of its label is reported for this long.
        max_per_hour: the most events of a label in 3600 seconds, 1 to 60; None: any number.
        when: by label, what other labels its events need. An event that is not reported because of these three is
            reported later if its label is still present then.
        groups: by name, labels that exclude each other, such as the states of a gate: at most the one with the highest
            average is present. Its event ends the event of another one; while there is none, the state is unknown.
        on: thresholds of some labels, instead of those given to the detector (the deployed ones).
        off: lower thresholds of some labels, instead of the upper one less ``margin``.
        labels: only these labels; None: all.
        deny: exclude these labels.
        origins: where thresholds come from, in words, of labels whose threshold is not the plan's. For people who ask
            why an event was reported; no event depends on it.

    Raises:
        OptionError: a number is outside its range, or a label is in two groups.
    """

    smoothing: float = 0.5
    margin: float = 0.1
    min_duration: float = 0.5
    min_gap: float = 1.0
    cooldown: float = 0.0
    max_per_hour: int | None = None
    when: Mapping[str, When] = field(default_factory=dict)
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)
    on: Mapping[str, float] = field(default_factory=dict)
    off: Mapping[str, float] = field(default_factory=dict)
    labels: Sequence[str] | None = None
    deny: Sequence[str] = ()
    origins: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for name in ("smoothing", "min_duration", "min_gap", "cooldown"):
            _check_range(name, getattr(self, name), float("inf"), "seconds, 0 or more")
        _check_range("margin", self.margin, 1, "a number from 0 to 1")
        if self.max_per_hour is not None and not 1 <= self.max_per_hour <= MOST_PER_HOUR:
            raise errors.OptionError(
                "max_per_hour",
                f"1 to {MOST_PER_HOUR}",
                repr(self.max_per_hour),
                "For fewer events, set cooldown.",
            )
        for label, rule in self.when.items():
            _check_range(
                f"within of when of {label!r}", rule.within, float("inf"), "seconds, 0 or more"
            )
            if not (rule.present or rule.absent):
                raise errors.OptionError(
                    f"when of {label!r}",
                    "other labels",
                    "none",
                    "For example present: [car], or absent: [dog].",
                )
        members = [label for labels in self.groups.values() for label in labels]
        for name, labels in self.groups.items():
            if len(labels) < 2 or any(members.count(label) > 1 for label in labels):
                raise errors.OptionError(
                    f"group {name!r}",
                    "two or more labels, each in one group",
                    ", ".join(labels),
                    "For example gate: [gate open, gate shut].",
                )
        for name in ("on", "off"):
            for label, value in getattr(self, name).items():
                _check_range(f"{name} threshold of {label!r}", value, 1, "a number from 0 to 1")


def _check_range(name: str, value: float, most: float, expected: str) -> None:
    if not (0 <= value <= most and math.isfinite(value)):
        raise errors.OptionError(
            name,
            expected,
            repr(value),
            "Scores and thresholds are from 0 to 1." if most == 1 else "Times are in seconds.",
        )
