"""The loop: frames of several cameras, in turn, through one tagger."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..sources import CapturedFrame
from ..sources.opening import check_parts
from .backoff import Backoff
from .camera import Camera
from .events import CameraChange, Observation
from .inboxes import Inboxes
from .pace import EnginePace
from .reader import Reader
from .stats import CameraStats, Counters

if TYPE_CHECKING:
    from ..result import TagResult
    from ..tagger import Pending, Tagger

_log = logging.getLogger(__name__)

_STOP = 0.8
"""Seconds that :meth:`Stream.close` waits for the cameras' threads."""


class Stream:
    """Tags what several cameras see; iterate over it to get observations and changes of the cameras' states.

    Each camera is decoded in a thread of its own, and only its newest frame is kept. The tagging itself runs in the
    thread that iterates: a slow caller gets fewer observations, never older ones, and nothing queues up. A camera that
    is lost is opened again until it is back, and disturbs no other.

    Args:
        tagger: shared with anyone; the stream doesn't close it.
        cameras: what to watch; they get their turns one after the other.
        staleness: seconds; an observation older than this is delivered as late, and counted.
        window: seconds; while the engine is busy the next frame is taken early enough to be ready in time, but not to
            wait longer than this.
        every_frame: read files frame by frame, as fast as they can be tagged. Else they play at their own pace, and
            frames that come too fast are dropped, as with a camera.
        keep_warm: after so many seconds without a frame the engine gets an empty one, so that caches and clocks stay
            up; None: never.
        reconnect: how long to wait before a lost camera is tried again.

    Raises:
        OptionError: an argument can't be, or two cameras have the same name.
        MissingPartError: what reads one of the sources is not installed.
    """

    def __init__(
        self,
        tagger: Tagger,
        cameras: Sequence[Camera],
        *,
        staleness: float = 0.5,
        window: float = 0.005,
        every_frame: bool = False,
        keep_warm: float | None = 1.0,
        reconnect: Backoff | None = None,
    ) -> None:
        _check(cameras, staleness, window, keep_warm)
        for camera in cameras:
            check_parts(camera.uri)
        self._tagger = tagger
        self._cameras = tuple(cameras)
        self._staleness = staleness
        self._keep_warm = keep_warm
        self._lanes = int(tagger.info.get("parallel", 1))
        self._inboxes = Inboxes(len(self._cameras))
        self._counters = [Counters() for _ in self._cameras]
        self._readers = [
            Reader(index, camera, self._inboxes, counters, reconnect or Backoff(), every_frame)
            for index, (camera, counters) in enumerate(zip(self._cameras, self._counters, strict=True))
        ]
        # Several inferences at once are fed by several threads: one alone would spend its time on preprocessing.
        self._workers = ThreadPoolExecutor(self._lanes + 1, "pvlr-tagger") if self._lanes > 1 else None
        self._started = False
        self._pace = EnginePace(window)
        self._under_way: deque[_Job | CameraChange] = deque()
        self._jobs = 0
        self._yielded: float | None = None
        self._active = time.monotonic()

    def __iter__(self) -> Iterator[Observation | CameraChange]:
        return self

    def __next__(self) -> Observation | CameraChange:
        """The next observation or change, once it is there; ends after :meth:`stop` or when all cameras have ended.

        Raises:
            BackendError: the tagger failed; the stream is of no use any more.
        """
        self.start()
        if self._yielded is not None:
            self._pace.called(time.monotonic() - self._yielded)
        self._yielded = None
        while not self._inboxes.closed:
            event = self._advance()
            if event is not None:
                self._yielded = time.monotonic()
                return event
            if not self._under_way and self._inboxes.finished:
                break
        self._abandon()
        raise StopIteration

    def start(self) -> None:
        """Start the cameras; the first iteration does it too."""
        if not self._started and not self._inboxes.closed:
            self._started = True
            for reader in self._readers:
                reader.start()

    def stop(self) -> None:
        """End the iteration within a second. Any thread and any signal handler may call it."""
        self._inboxes.close()

    def close(self) -> None:
        """Stop, and wait up to a second for the cameras' threads. To be called in the thread that iterates.

        A thread that connects to a host that doesn't answer ends by itself, after its camera's timeout at the latest.
        """
        self.stop()
        self._abandon()
        end = time.monotonic() + _STOP
        started = self._readers if self._started else []
        for reader in started:
            reader.close()
        for reader in started:
            reader.join(end - time.monotonic())
        if self._workers is not None:
            self._workers.shutdown(wait=False, cancel_futures=True)

    def stats(self) -> dict[str, CameraStats]:
        """The figures of each camera by its name; any thread may ask."""
        names = (camera.name for camera in self._cameras)
        return {name: counters.snapshot() for name, counters in zip(names, self._counters, strict=True)}

    def __enter__(self) -> Stream:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _advance(self) -> Observation | CameraChange | None:
        """One step: begin a frame, finish one, or wait. The engine works on while the caller has the last event."""
        if not self._under_way:
            taken = self._inboxes.take(self._next_warm_up())
            if taken is None:
                self._warm_up()
            else:
                self._begin(*taken)
            return None
        first = self._under_way[0]
        if isinstance(first, CameraChange):
            self._under_way.popleft()
            return first
        if self._jobs <= self._lanes:
            if self._jobs == self._lanes:
                if not self._pace.overlaps:
                    return self._finish()
                # The engine is busy: a frame taken now would wait for it, one taken later is newer. But a tagger that
                # was made for throughput must not run dry.
                moment = self._pace.last_moment(first.due)
                if self._workers is None and self._inboxes.sleep(moment - time.monotonic()):
                    return None
            taken = self._inboxes.take(first.due)
            if taken is not None:
                self._begin(*taken)
                return None
        return self._finish()

    def _begin(self, index: int, item: CapturedFrame | CameraChange) -> None:
        if isinstance(item, CameraChange):
            self._under_way.append(item)
            return
        pixels, began = self._cameras[index].cut(item), time.monotonic()
        try:
            pending = self._submit(pixels, item.color)
        except errors.FrameError:
            self._counters[index].add(failed=1)
            return
        now = time.monotonic()
        self._pace.prepared(now - began)
        ahead = [job.due for job in self._under_way if isinstance(job, _Job)]
        start = max(now, ahead[-self._lanes]) if len(ahead) >= self._lanes else now
        self._under_way.append(_Job(index, item, pending, start, start + self._pace.inference))
        self._jobs += 1

    def _submit(self, pixels: NDArray[np.uint8], color: str) -> Pending | Future[TagResult]:
        if self._workers is None:
            return self._tagger.submit(pixels, color=color)
        return self._workers.submit(self._tagger.predict, pixels, color=color)

    def _finish(self) -> Observation | None:
        job = self._under_way.popleft()
        assert isinstance(job, _Job)
        self._jobs -= 1
        began = time.monotonic()
        try:
            result = job.pending.result()
        except (errors.FrameError, errors.NonFiniteError) as error:
            # The plan passed its golden test: what is not finite now is due to this frame.
            _log.warning("camera %s: %s", self._cameras[job.index].name, error)
            self._counters[job.index].add(failed=1)
            return None
        now = self._active = time.monotonic()
        self._pace.inferred(now - job.start, now - began)
        waiting = [other for other in self._under_way if isinstance(other, _Job)]
        if len(waiting) >= self._lanes:  # the one that the engine has begun just now
            behind = waiting[self._lanes - 1]
            behind.start, behind.due = now, now + self._pace.inference
        camera, age = self._cameras[job.index], now - job.frame.captured
        late = age > self._staleness and not self._readers[job.index].waits
        self._counters[job.index].tagged(age, late)
        return Observation(camera.name, job.frame, result, age, late)

    def _next_warm_up(self) -> float:
        return float("inf") if self._keep_warm is None else self._active + self._keep_warm

    def _warm_up(self) -> None:
        if not self._inboxes.closed and not self._inboxes.finished:
            self._tagger.predict(_EMPTY)
            self._active = time.monotonic()

    def _abandon(self) -> None:
        """Let the frames under way end, so that the tagger's buffers are free for others."""
        for job in self._under_way:
            if isinstance(job, _Job):
                with suppress(errors.PvlrError):
                    job.pending.result()
        self._under_way.clear()
        self._jobs = 0


@dataclass(slots=True)
class _Job:
    """A frame under way: when the engine began it and when it should be done, as ``time.monotonic()``."""

    index: int
    frame: CapturedFrame
    pending: Pending | Future[TagResult]
    start: float
    due: float


_EMPTY = np.zeros((32, 32, 3), np.uint8)


def _check(cameras: Sequence[Camera], staleness: float, window: float, keep_warm: float | None) -> None:
    names = [camera.name for camera in cameras]
    if not names or len(set(names)) < len(names):
        got = repr(names) if names else "none"
        raise errors.OptionError("cameras", expected="cameras with names of their own", got=got, hint="Rename one.")
    for name, value in (("staleness", staleness), ("window", window), ("keep_warm", keep_warm)):
        if value is not None and not (value >= 0 and value < float("inf")):
            raise errors.OptionError(name, expected="seconds from 0 on", got=repr(value), hint="See the docstring.")
