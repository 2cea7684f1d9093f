"""Loads a plan in the place of the running one, compares the two, and watches the first results of the new one."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Literal, TypeAlias

from .. import errors
from ..frames.frames import Color
from ..frames.tiles import Tiles
from ..inference import golden
from ..models.find import load_bundle
from ..result import TagResult
from ..tagger import Tagger
from ..trust import accept
from .config import DeployConfig
from .factory import make_cameras
from .site import Site

_FRAMES, _SECONDS = 16, 3.0
"""Number of live frames that both plans tag, and the maximum time to wait for them."""
_HELD = 4
"""Number of frames that are held in memory while no plan is loaded."""
_SYNTHETIC = 8
"""Runs of the synthetic frame if there are no live frames."""
_NOISE = 1.0
"""Milliseconds: a smaller difference is none."""
_ENOUGH = 10
"""Number of results from which a median is compared."""
_POLL = 0.02


@dataclass(frozen=True)
class Comparison:
    """A new plan compared with the running one on the same frames.

    Attributes:
        frames: number of live frames; 0: there were none, so the times are of a synthetic frame.
        agreement: share of the frames with the same tags, at the thresholds of either plan; None without live frames.
        before_ms, after_ms: median milliseconds of an inference, of the running plan and of the new one.
    """

    frames: int
    agreement: float | None
    before_ms: float
    after_ms: float

    @classmethod
    def of(cls, before: Sequence[TagResult], after: Sequence[TagResult], *, live: bool) -> Comparison:
        """Compare the results of the same frames."""
        pairs = zip(before, after, strict=True)
        same = [{tag.label for tag in old} == {tag.label for tag in new} for old, new in pairs]
        times = [round(median(result.timing["inference"] for result in results), 3) for results in (before, after)]
        return cls(len(same) if live else 0, sum(same) / len(same) if live else None, *times)

    def check(self, settings: DeployConfig, source: str) -> None:
        """Raises DeployError if the new plan is slower, or disagrees more, than the settings allow."""
        if _too_slow(self.before_ms, self.after_ms, settings.max_slowdown):
            expected = f"at most {settings.max_slowdown:g} times the {self.before_ms:.1f} ms of the running plan"
            hint = "The running plan stays. Deploy a faster plan, or raise deploy: max_slowdown in the site file."
            raise errors.DeployError(source, expected=expected, got=f"{self.after_ms:.1f} ms per image", hint=hint)
        if self.agreement is not None and self.agreement < settings.min_agreement:
            expected = f"the same tags on at least {100 * settings.min_agreement:.0f} % of {self.frames} live frames"
            hint = "The running plan stays. Check the plan, or lower deploy: min_agreement in the site file."
            raise errors.DeployError(source, expected=expected, got=f"{100 * self.agreement:.0f} %", hint=hint)


State: TypeAlias = Literal["in use", "loading", "probation"]


@dataclass(frozen=True)
class Status:
    """The plan in use, and its :class:`Comparison` when it was deployed (None: not since the start).

    ``reason``: why the last change was refused or undone; empty if it was not.
    """

    model: str
    plan: str
    state: State
    reason: str
    frames: int | None = None
    agreement: float | None = None
    before_ms: float | None = None
    after_ms: float | None = None


class Rollout:
    """A plan in use, on probation: its first results decide whether the previous plan returns.

    Args:
        baseline: milliseconds of recent inferences of the previous plan.
        settings: the length of the probation and its limit.
        before: the path of the previous plan, its fingerprint, and how the site file named it.
        text: how the site file names the new plan.
        kept: a tagger with the previous plan; None: it is on disk only.
    """

    def __init__(
        self,
        baseline: Sequence[float],
        settings: DeployConfig,
        before: tuple[Path, str, Any],
        text: Any,
        kept: Tagger | None,
    ) -> None:
        self.before, self.text, self.kept = before, text, kept
        self.times: deque[float] = deque(maxlen=64)
        """Milliseconds of the newest inferences of the new plan. Any thread may append to it."""
        self._baseline = list(baseline)
        self._limit = settings.max_slowdown
        self._end = time.monotonic() + settings.probation
        self._error: str | None = None
        self._failed = threading.Event()

    def fail(self, error: errors.BundleError) -> None:
        """Note that the new plan failed; safe in any thread."""
        self._error = f"{type(error).__name__}: {error}"  # the exception itself keeps the plan in memory
        self._failed.set()

    def verdict(self, seconds: float) -> str | None:
        """Wait so long, or until the new plan fails; returns why the previous plan must return, or None."""
        self._failed.wait(seconds)
        if self._error is not None:
            return self._error
        times = list(self.times)
        if min(len(times), len(self._baseline)) < _ENOUGH:
            return None
        before, after = median(self._baseline), median(times)
        if _too_slow(before, after, self._limit):
            return f"{after:.1f} ms per image, {before:.1f} ms before, more than {self._limit:g} times as long"
        return None

    @property
    def over(self) -> bool:
        """Whether the probation has passed."""
        return time.monotonic() >= self._end


def load(tagger: Tagger, plan: Path, back: bool) -> Tagger:
    """Load a plan with the options of a tagger, and with its label bank if that is not the one of its own plan.

    ``back``: the plan was in use, so its version may be lower.

    Raises:
        DeployError: the plan cannot use the label bank.
        BundleError: the plan cannot be loaded.
    """
    loaded = tagger.load(plan, allow_rollback=back, record_version=False)
    if tagger.info["bank"] != tagger.info["own_bank"]:
        try:
            loaded.set_labels(tagger.label_bank)
        except errors.BundleError as error:
            loaded.close()
            hint = "Deploy an open plan of the same model, or set plan: and bank: in the site file and restart."
            expected = f"a plan that can use the label bank in use ({error.expected})"
            raise errors.DeployError(str(plan), expected=expected, got=error.got, hint=hint) from None
    return loaded


@contextmanager
def load_beside(tagger: Tagger, site: Site | None, plan: Path, back: bool) -> Iterator[tuple[Tagger, Comparison]]:
    """A plan that is loaded while the running one goes on, and the comparison of the two; an exception closes it.

    Raises:
        DeployError: the plan has other labels.
        BundleError: as for :func:`load`.
    """
    candidate = load(tagger, plan, back)
    try:
        _check_labels(tagger, candidate, plan)
        before, after = [], []
        for pixels, color, tiles in _live_frames(site, _FRAMES) if site else ():
            with site.between_frames() if site else nullcontext():
                before.append(tagger.predict(pixels, color=color, tiles=tiles))
                after.append(candidate.predict(pixels, color=color, tiles=tiles))
        live = bool(before)
        for _ in range(0 if live else _SYNTHETIC):
            before.append(tagger.predict(golden.default_frame()))
            after.append(candidate.predict(golden.default_frame()))
        yield candidate, Comparison.of(before, after, live=live)
    except BaseException:
        candidate.close()
        raise


@contextmanager
def load_instead(tagger: Tagger, site: Site | None, plan: Path, back: bool) -> Iterator[tuple[Tagger, Comparison]]:
    """As :func:`load_beside`, after the running plan was closed: meanwhile calls wait; an exception loads it again."""
    running = Path(str(tagger.info["plan"]))
    frames = list(_live_frames(site, _HELD)) if site else []
    live = bool(frames)
    frames = frames or [(golden.default_frame(), "bgr", None)] * _SYNTHETIC
    before = [tagger.predict(pixels, color=color, tiles=tiles) for pixels, color, tiles in frames]
    with tagger.suspended():
        candidate = None
        try:
            candidate = load(tagger, plan, back)
            _check_labels(tagger, candidate, plan)
            after = [candidate.predict(pixels, color=color, tiles=tiles) for pixels, color, tiles in frames]
            yield candidate, Comparison.of(before, after, live=live)
            return
        except BaseException as error:
            if candidate is not None:
                candidate.close()
            failure = error.with_traceback(None)  # which would keep the new plan in memory
        tagger.exchange(load(tagger, running, True))
    raise failure


def record_version(tagger: Tagger, plan: Path) -> None:
    """Record the version of a signed plan, newer or older, for the next start. Raises BundleError and OutputError."""
    if tagger.trust:
        trust = replace(tagger.trust, allow_rollback=True)
        accept(load_bundle(plan, trust=trust).signature, trust)


def _live_frames(site: Site, count: int) -> Iterator[tuple[Any, Color, Tiles | None]]:
    """The next frames of the live cameras, for at most three seconds: pixels to tag, their order and tiles."""
    cameras = {camera.name: camera for camera in make_cameras(site.config)}
    last: dict[str, Any] = {}
    end = time.monotonic() + _SECONDS
    while count and time.monotonic() < end:
        for name, camera in cameras.items():
            seen = site.latest(name)
            if time.monotonic() > end:
                return
            if count and seen is not None and seen.frame is not last.get(name):
                last[name] = seen.frame
                count -= 1
                yield from ((part.cut(seen.frame), seen.frame.color, camera.tiles) for part in camera.parts)
        time.sleep(_POLL)
        if "live" not in site.cameras.values():
            return


def _too_slow(before: float, after: float, limit: float) -> bool:
    """Whether a time in ms is more than ``limit`` times the one before."""
    return after > limit * before and after - before > _NOISE


def _check_labels(tagger: Tagger, candidate: Tagger, plan: Path) -> None:
    if candidate.labels != tagger.labels:
        count = len(set(candidate.labels) ^ set(tagger.labels))
        expected = f"the {len(tagger.labels)} labels of the running plan, in their order"
        got = f"{len(candidate.labels)} labels, {count} names in one plan only" if count else "another order"
        hint = "Set plan: in the site file and restart, since events and sinks depend on the labels."
        raise errors.DeployError(str(plan), expected=expected, got=got, hint=hint)
