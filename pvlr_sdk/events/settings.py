"""How scores become events."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from .. import errors


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
        on: thresholds of some labels, instead of those given to the detector (the deployed ones).
        off: lower thresholds of some labels, instead of the upper one less ``margin``.
        labels: only these labels; None: all.
        deny: exclude these labels.

    Raises:
        OptionError: a number is outside its range.
    """

    smoothing: float = 0.5
    margin: float = 0.1
    min_duration: float = 0.5
    min_gap: float = 1.0
    on: Mapping[str, float] = field(default_factory=dict)
    off: Mapping[str, float] = field(default_factory=dict)
    labels: Sequence[str] | None = None
    deny: Sequence[str] = ()

    def __post_init__(self) -> None:
        for name in ("smoothing", "min_duration", "min_gap"):
            _check_range(name, getattr(self, name), float("inf"), "seconds, 0 or more")
        _check_range("margin", self.margin, 1, "a number from 0 to 1")
        for name in ("on", "off"):
            for label, value in getattr(self, name).items():
                _check_range(f"{name} threshold of {label!r}", value, 1, "a number from 0 to 1")


def _check_range(name: str, value: float, most: float, expected: str) -> None:
    if not (0 <= value <= most and math.isfinite(value)):
        hint = "Scores and thresholds are from 0 to 1." if most == 1 else "Times are in seconds."
        raise errors.OptionError(name, expected=expected, got=repr(value), hint=hint)
