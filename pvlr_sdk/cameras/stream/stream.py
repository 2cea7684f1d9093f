"""The loop that tags the frames of several cameras, in turn, with one tagger."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

import numpy as np

from ... import errors
from ..sources import CapturedFrame
from ..sources.opening import check_installed
from .camera import Camera, CameraChange, Observation, check_cameras
from .inboxes import Inboxes, Item
from .pace import EnginePace, EngineShare, InFlight
from .reader import Reader
from .regions import Part, united
from .stats import CameraStats, Counters
from .still import StillScene
from .tiling import FINEST, TileChoice, demand_of
from .work import FrameWork, work_of

if TYPE_CHECKING:
    from ...result import TagResult
    from ...tagger import Tagger

_log = logging.getLogger(__name__)

_TURN = 0.25
"""Longest wait of the loop in seconds: between two checks for cameras without frames."""
_STOP = 0.8
"""Seconds that :meth:`Stream.close` waits for the cameras' threads."""


class Stream:
    """Tags what several cameras see; iterate over it to get observations and changes of the cameras' states.

    Each camera is decoded in its own thread, and only its newest frame is kept. The thread that iterates decides which
    frames are tagged: a slow caller gets fewer observations, never older ones, and nothing queues up. A lost camera is
    reconnected until it is back, without affecting the others.

    Args:
        tagger: may be shared; the stream does not close it.
        cameras: the cameras to watch; their frames are tagged in turn.
        staleness: seconds; an observation with a higher age is delivered as late, and counted.
        every_frame: tag each frame of a file as fast as possible. Otherwise files play at their own rate, and frames
            are dropped if they arrive too fast, as with a camera.
        keep_warm: after this many seconds without a frame the engine gets an empty one, so that caches and clocks stay
            up; None: never.
        longest_pause: seconds between attempts to reconnect to a lost camera, which begin with a quarter of a second.
        recover: called with the error of a tagger that failed; True: another plan will replace its own, so go on, and
            count the frame as failed. None: an error of the tagger ends the stream.

    Attributes:
        turned: ``time.monotonic()`` of the loop's last progress, which an engine or a caller can stop, but no camera.

    Raises:
        OptionError: an argument is invalid, or two cameras have the same name.
        MissingPartError: a package that one of the sources needs is not installed.
    """

    def __init__(
        self,
        tagger: Tagger,
        cameras: Sequence[Camera],
        *,
        staleness: float = 0.5,
        every_frame: bool = False,
        keep_warm: float | None = 1.0,
        longest_pause: float = 3.0,
        recover: Callable[[errors.BundleError], bool] | None = None,
    ) -> None:
        check_cameras(
            cameras, staleness=staleness, keep_warm=keep_warm, longest_pause=longest_pause
        )
        for camera in cameras:
            check_installed(camera.uri)
        self._tagger = tagger
        self._cameras = list(cameras)
        self._staleness = staleness
        self._keep_warm = keep_warm
        self._recover = recover or (lambda error: False)
        self._inboxes = Inboxes(len(self._cameras))
        self._counters = [Counters() for _ in self._cameras]
        self._readers = [
            Reader(index, camera, self._inboxes, counters, longest_pause, every_frame)
            for index, (camera, counters) in enumerate(
                zip(self._cameras, self._counters, strict=True)
            )
        ]
        self._scenes: list[dict[str | None, StillScene]] = [{} for _ in self._cameras]
        self._started = False
        self._pace = EnginePace()
        self._share = EngineShare()
        self._tiles = TileChoice()
        self._chosen_at: dict[str, CameraStats] = {}
        self._pending: deque[InFlight | CameraChange] = deque()
        self._yielded: float | None = None
        self._active = self.turned = time.monotonic()

    def __iter__(self) -> Iterator[Observation | CameraChange]:
        return self

    def __next__(self) -> Observation | CameraChange:
        """Wait for the next observation or change; ends after :meth:`stop` or when all cameras have ended.

        Raises:
            BackendError: the tagger failed; the stream cannot be used any more.
        """
        self.start()
        if self._yielded is not None:
            self._pace.called(time.monotonic() - self._yielded)
        self._yielded = None
        while not self._inboxes.closed:
            self._turn()
            event = self._advance()
            if event is not None:
                self._yielded = time.monotonic()
                return event
            if not self._pending and self._inboxes.finished:
                break
        self._abandon()
        raise StopIteration

    def start(self) -> None:
        """Start the cameras; the first iteration does so too."""
        if not self._started and not self._inboxes.closed:
            self._started = True
            for reader in self._readers:
                reader.start()

    def stop(self) -> None:
        """End the iteration within a second. Safe in any thread and in a signal handler."""
        self._inboxes.close()

    def close(self) -> None:
        """Stop, and wait up to a second for the cameras' threads. Call it in the thread that iterates.

        A thread that connects to a host that does not answer ends later, at the latest after its camera's timeout.
        """
        self.stop()
        self._abandon()
        end = time.monotonic() + _STOP
        started = self._readers if self._started else []
        for reader in started:
            reader.close()
        for reader in started:
            reader.join(end - time.monotonic())

    def replace(self, camera: Camera) -> None:
        """Use other regions, tiles and hours of a camera from the next frame on. Safe in any thread."""
        index = [other.name for other in self._cameras].index(camera.name)
        self._cameras[index] = self._readers[index].camera = camera
        self._scenes[index] = {}

    def between_frames(self) -> AbstractContextManager[None]:
        """Enter it in another thread to use the tagger between frames, so that they wait as little as possible.

        It waits until no frame is in flight, but at most 0.2 s, and admits one thread at a time.
        """
        return self._share.between_frames()

    def stats(self) -> dict[str, CameraStats]:
        """The statistics of each camera by its name; safe in any thread."""
        names = (camera.name for camera in self._cameras)
        return {
            name: counters.snapshot() for name, counters in zip(names, self._counters, strict=True)
        }

    def __enter__(self) -> Stream:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _input(self) -> tuple[int, int]:
        """Height and width of the network's input."""
        size = self._tagger.info["input"]
        return size["height"], size["width"]

    @property
    def _parallel(self) -> int:
        """Inferences at once; another plan may allow more or fewer."""
        return int(self._tagger.info.get("parallel", 1))

    def _turn(self) -> None:
        now = time.monotonic()
        if now >= self.turned + _TURN:
            self.turned = now
            for reader in self._readers:
                reader.check(now)
            if self._pace.inference and self._tiles.due(now):
                self._choose_tiles(now)

    def _choose_tiles(self, now: float) -> None:
        stats = self.stats()
        # A file that waits has the finest tiles, and takes the time that the others leave.
        demands = [
            demand_of(camera, stats[camera.name], self._chosen_at.get(camera.name), self._input)
            for camera, reader in zip(self._cameras, self._readers, strict=True)
            if not reader.waits
        ]
        if not demands:
            return
        self._tiles.choose(now, demands, self._pace.inference)
        self._chosen_at = stats

    def _advance(self) -> Observation | CameraChange | None:
        """Submit a piece of a frame, finish one, or wait. The engine works on while the caller handles an event."""
        if not self._pending:
            cold = self._active + (float("inf") if self._keep_warm is None else self._keep_warm)
            taken = self._inboxes.take(min(cold, time.monotonic() + _TURN))
            if taken is not None:
                self._submit(*taken)
            elif time.monotonic() >= cold:
                self._warm_up()
            return None
        first = self._pending[0]
        if isinstance(first, CameraChange):
            self._pending.popleft()
            return first
        busy = len(self._in_flight())
        if busy <= self._parallel:
            if busy == self._parallel:
                if not self._pace.overlaps:
                    return self._finish()
                # The engine is busy: a frame taken now would wait for it, one taken later is newer. But a tagger that
                # runs several inferences at once, for throughput, must not run dry.
                moment = self._pace.last_moment(first.due)
                if self._parallel == 1 and self._inboxes.sleep(moment - time.monotonic()):
                    return None
            taken = self._inboxes.take(first.due)
            if taken is not None:
                self._submit(*taken)
                return None
        return self._finish()

    def _submit(self, index: int, item: Item) -> None:
        """Begin with the next piece of a frame; what is left of it waits for the camera's next turn."""
        if isinstance(item, CameraChange):
            self._pending.append(item)
            return
        ahead = self._in_flight()
        work = item if isinstance(item, FrameWork) else self._begin(index, item)
        if not work.left:  # it has failed, its hours have just ended, or other ones were set
            return
        piece = work.left.popleft()
        if work.left:
            self._inboxes.put_back(index, work)
        plan = self._plan
        future = work.start(piece, self._tagger)
        plan = plan if plan == self._plan else ""  # replaced just now: either of the two
        start = time.monotonic() + self._pace.preparation
        if len(ahead) >= self._parallel:
            start = max(start, ahead[-self._parallel].due)
        due = start + piece.inferences * self._pace.inference
        self._pending.append(InFlight(work, piece, future, plan, not work.left, start, due))
        self._share.begin()

    def _begin(self, index: int, frame: CapturedFrame) -> FrameWork:
        waits = self._readers[index].waits
        budget = None if waits else self._staleness / 2 / max(self._pace.inference, 1e-6)
        # A file that waits has the same results on any machine.
        level = FINEST if waits else self._tiles.level
        return work_of(
            index,
            self._cameras[index],
            self._scenes[index],
            frame,
            self._input,
            level,
            budget,
        )

    def _finish(self) -> Observation | None:
        """Wait for the oldest piece in flight; None: its frame has no results, or not all of them yet."""
        job = self._pending.popleft()
        assert isinstance(job, InFlight)
        asked = time.monotonic()
        results = self._results_of(job, asked)
        if results is None:
            return None
        work = job.work
        frame = work.frame
        regions = {part.name: result for part, result in results}
        result = regions.get(None) or united(frame, results)
        now = self._active = time.monotonic()
        camera = self._cameras[work.index]
        lag = max(part.look.lag for part in work.parts)
        age = now - frame.captured + lag
        late = age > self._staleness and not self._readers[work.index].waits
        tiles = sum(len(result.tiles) or 1 for _, result in results)
        self._counters[work.index].tagged(age, late, tiles, work.learn())
        return Observation(camera.name, frame, result, age, late, regions)

    def _results_of(self, job: InFlight, asked: float) -> list[tuple[Part, TagResult]] | None:
        """The result of each part; None: the frame is not complete, has failed, or labels changed in the middle of it.

        ``asked``: when this thread began to wait.
        """
        work = job.work
        try:
            result = job.future.result()
            self._measure_pace(job, result, asked, time.monotonic())
            work.keep(job.piece, result)
            if work.failed or not job.last:
                return None
            results = work.finish(self._tagger)
        except (errors.FrameError, errors.NonFiniteError, errors.BackendError) as error:
            if isinstance(error, errors.BackendError) and not self._goes_on(error, job.plan):
                raise
            if not work.failed:
                self._fail(work, error)
            return None
        finally:
            self._share.end()
        labels = results[0][1].labels
        if any(result.labels != labels for _, result in results):
            self._counters[work.index].add(dropped=1)
            return None
        return results

    def _fail(self, work: FrameWork, error: errors.PvlrError) -> None:
        """Count a frame as failed. The next one of its camera is computed in full."""
        work.fail()
        # due to this frame: the plan passed its golden test
        if isinstance(error, errors.NonFiniteError):
            self._recover(error)
        if self._counters[work.index].failed():
            _log.warning("camera %s: %s", self._cameras[work.index].name, error)
        self._scenes[work.index] = {}

    def _measure_pace(self, job: InFlight, result: TagResult, asked: float, now: float) -> None:
        """Learn from a piece that is done ``now``, and for which this thread ``asked`` before."""
        self._pace.prepared((result.timing["decode"] + result.timing["preprocess"]) / 1e3)
        self._pace.inferred(now - job.start, now - asked, job.piece.inferences)
        waiting = self._in_flight()
        if len(waiting) >= self._parallel:  # the engine has just begun this one
            behind = waiting[self._parallel - 1]
            behind.start = now
            behind.due = now + behind.piece.inferences * self._pace.inference

    @property
    def _plan(self) -> str:
        return str(self._tagger.info["sha256"])

    def _goes_on(self, error: errors.BundleError, plan: str) -> bool:
        """Whether the plan that failed has been replaced already, or will be."""
        lost = isinstance(error, errors.DeviceLostError)  # no plan runs in this process any more
        return not lost and (plan != self._plan or self._recover(error))

    def _in_flight(self) -> list[InFlight]:
        return [item for item in self._pending if isinstance(item, InFlight)]

    def _warm_up(self) -> None:
        if all(camera.state == "paused" for camera in self.stats().values()):
            self._active = time.monotonic()
        elif not self._inboxes.closed and not self._inboxes.finished:
            plan = self._plan
            try:
                self._tagger.predict(_EMPTY)
            except errors.BundleError as error:
                if not self._goes_on(error, plan):
                    raise
            self._active = time.monotonic()

    def _abandon(self) -> None:
        """Cancel or wait for the frames in flight, so that no inference outlives the stream."""
        for job in self._in_flight():
            if not job.future.cancel():
                with suppress(errors.PvlrError):
                    job.future.result()
            self._share.end()
        self._pending.clear()


_EMPTY = np.zeros((32, 32, 3), np.uint8)
