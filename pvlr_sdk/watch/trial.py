"""Compares a new plan with the running one, on live frames before the change and by its results afterwards."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal, TypeAlias

from .. import errors
from ..result import TagResult
from .config import DeployConfig
from .factory import make_cameras
from .site import Site

_NOISE = 1.0
"""Milliseconds: a smaller difference is none."""
_ENOUGH = 10
"""Results of which the median is compared."""
_LOOK = 0.02


@dataclass(frozen=True)
class Trial:
    """A new plan compared with the running one on the same frames.

    Attributes:
        frames: number of live frames; 0: there were none, so the times are those of a synthetic frame.
        agreement: share of them with the same tags, at the thresholds of either plan; None without live frames.
        before_ms, after_ms: median milliseconds of an inference, of the running plan and of the new one.
    """

    frames: int
    agreement: float | None
    before_ms: float
    after_ms: float

    @classmethod
    def of(cls, before: Sequence[TagResult], after: Sequence[TagResult], *, live: bool) -> Trial:
        """Compare the results of the same frames."""
        pairs = zip(before, after, strict=True)
        same = [{tag.label for tag in old} == {tag.label for tag in new} for old, new in pairs]
        times = [median(result.timing["inference"] for result in results) for results in (before, after)]
        return cls(len(same) if live else 0, sum(same) / len(same) if live else None, *times)

    def check(self, settings: DeployConfig, source: str) -> None:
        """Raises DeployError if the new plan is slower, or disagrees more, than the settings allow."""
        if too_slow(self.before_ms, self.after_ms, settings.max_slowdown):
            raise errors.DeployError(
                source,
                expected=f"at most {settings.max_slowdown:g} times the {self.before_ms:.1f} ms of the running plan",
                got=f"{self.after_ms:.1f} ms per image",
                hint="The running plan stays. Deploy a faster plan, or raise deploy: max_slowdown in the site file.",
            )
        if self.agreement is not None and self.agreement < settings.min_agreement:
            raise errors.DeployError(
                source,
                expected=f"the same tags on at least {100 * settings.min_agreement:.0f} % of {self.frames} live frames",
                got=f"{100 * self.agreement:.0f} %",
                hint="The running plan stays. Check the plan, or lower deploy: min_agreement in the site file.",
            )


State: TypeAlias = Literal["in use", "loading", "probation"]


@dataclass(frozen=True)
class Status:
    """The plan in use. ``reason``: why the last change was refused or undone; empty if it was not."""

    model: str
    plan: str
    state: State
    reason: str
    trial: Trial | None


def too_slow(before: float, after: float, limit: float) -> bool:
    """Whether a time in ms is more than ``limit`` times the one before."""
    return after > limit * before and after - before > _NOISE


def live_frames(site: Site, count: int, seconds: float) -> Iterator[tuple[Any, str]]:
    """The next frames of the live cameras: the pixels that are tagged, and their colour order.

    At most ``count``, and none after ``seconds``.
    """
    cameras = {camera.name: camera for camera in make_cameras(site.config)}
    last: dict[str, Any] = {}
    end = time.monotonic() + seconds
    while count and time.monotonic() < end:
        for name, camera in cameras.items():
            seen = site.latest(name)
            if time.monotonic() > end:
                return
            if count and seen is not None and seen.frame is not last.get(name):
                last[name] = seen.frame
                count -= 1
                yield camera.cut(seen.frame), seen.frame.color
        time.sleep(_LOOK)
        if "live" not in site.cameras.values():
            return


class Probation:
    """The first results of a plan that is in use. Any thread may add to it.

    Args:
        before: milliseconds of recent inferences of the previous plan.
    """

    def __init__(self, before: Sequence[float], settings: DeployConfig) -> None:
        self._before = list(before)
        self._limit = settings.max_slowdown
        self._end = time.monotonic() + settings.probation
        self.times: deque[float] = deque(maxlen=64)
        """Milliseconds of the newest inferences."""
        self._error: str | None = None
        self._failed = threading.Event()

    def add(self, milliseconds: float) -> None:
        """An inference of the new plan took this long."""
        self.times.append(milliseconds)

    def fail(self, error: errors.BundleError) -> None:
        """The new plan failed."""
        self._error = f"{type(error).__name__}: {error}"  # the exception itself keeps the plan in memory
        self._failed.set()

    def verdict(self, seconds: float) -> str | None:
        """Wait so long, or until it fails; returns why the previous plan must return, or None."""
        self._failed.wait(seconds)
        if self._error is not None:
            return self._error
        times = list(self.times)
        if min(len(times), len(self._before)) < _ENOUGH:
            return None
        before, after = median(self._before), median(times)
        if too_slow(before, after, self._limit):
            return f"{after:.1f} ms per image, {before:.1f} ms before, more than {self._limit:g} times as long"
        return None

    @property
    def over(self) -> bool:
        """Whether its time has passed."""
        return time.monotonic() >= self._end
