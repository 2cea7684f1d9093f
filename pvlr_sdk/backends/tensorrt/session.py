"""A plan at work on the GPU: its lanes, and which frame runs in which."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from threading import Lock
from typing import TYPE_CHECKING
from weakref import WeakSet

from ... import errors
from .cuda import Cuda, CudaError, as_typed, undone_by
from .engine import Engine, Shapes
from .lane import Lane
from .slot import SessionSlot

if TYPE_CHECKING:
    from collections.abc import Callable

    from .pixels import DevicePixels

LANES = 2
"""While one batch computes, the next one is copied. A third gains nothing, since the GPU has one set of units."""


class Flight:
    """A batch under way in a lane."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.landed = False


class Session:
    """One life of a plan on the GPU, from its loading to its end or to the loss of the CUDA context.

    Frames wait in one queue. Whenever a lane is free it takes the next ones, up to ``batch``, so that batches form by
    themselves while the GPU is busy and no frame waits while it isn't. A batch always has the same size, filled up with
    whatever lies there: another size would be computed by other kernels, and the same frame would get other logits.
    """

    def __init__(
        self,
        cuda: Cuda,
        make_engine: Callable[[], Engine],
        source: str,
        shapes: Shapes,
        batch: int,
        pixels: DevicePixels | None,
    ) -> None:
        self.cuda, self.source, self.shapes, self.pixels = cuda, source, shapes, pixels
        self.lost: errors.DeviceLostError | None = None
        self._batch = batch
        self._lock = Lock()
        self._pending: deque[SessionSlot] = deque()
        self._flying: deque[Flight] = deque()
        self._free: deque[SessionSlot] = deque()
        self._slots: WeakSet[SessionSlot] = WeakSet()
        self._lanes: list[Lane] = []
        with self.guarded():
            self._engine = make_engine()
            self.copies = cuda.stream()
            with undone_by(self.close):
                for _ in range(LANES):
                    self._add_lane(batch)
        self._idle = deque(self._lanes)

    @property
    def lanes(self) -> int:
        """How many batches at once."""
        return len(self._lanes)

    @property
    def no_graph(self) -> str | None:
        """Why there is no CUDA graph; None: there is one."""
        return next((lane.no_graph for lane in self._lanes if lane.no_graph), None)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """The context made current, CUDA's errors made the SDK's; one that breaks the context ends the session."""
        try:
            with self.cuda.current():
                yield
        except CudaError as error:
            found = as_typed(error, self.source)
            if isinstance(found, errors.DeviceLostError):
                self._lose(found)
            raise found from error

    def acquire(self) -> SessionSlot:
        """A slot that nobody else uses."""
        try:
            return self._free.pop()
        except IndexError:
            with self.guarded():
                slot = SessionSlot(self)
            with self._lock:
                self._slots.add(slot)
            return slot

    def release(self, slot: SessionSlot) -> None:
        """Keep a slot for the next frame."""
        if self.lost is None and not slot.closed:
            self._free.append(slot)

    def submit(self, slot: SessionSlot) -> None:
        """Put a slot's frame in the queue, and launch what can be launched."""
        slot.flight = slot.failure = None
        with self._lock:
            if self.lost is None:
                self._pending.append(slot)
                self._pump()
        self._check(slot)

    def wait(self, slot: SessionSlot) -> None:
        """Return when a slot's outputs are there."""
        while True:
            self._check(slot)
            with self._lock:
                if self.lost is not None or slot.failure is not None:
                    continue
                flight = slot.flight or self._flying[0]  # not launched: every lane is busy, and the first ends first
                if flight.landed:
                    if flight is slot.flight:
                        return
                    continue
            try:
                with self.guarded():
                    self.cuda.wait(flight.lane.event)
            except errors.BackendError:
                slot.close()
                raise
            with self._lock:
                if not flight.landed and self.lost is None:
                    flight.landed = True
                    self._flying.remove(flight)
                    self._idle.append(flight.lane)
                    self._pump()

    def compute_times(self, count: int) -> list[float]:
        """Milliseconds of the network alone on the GPU, ``count`` times, while nothing else is under way.

        Raises:
            BackendError: something is.
        """
        with self._lock:
            if self._flying or self._pending:
                raise errors.BackendError(
                    self.source, expected="an idle tagger", got="frames under way", hint="Wait for their results first."
                )
            with self.guarded():
                return self._lanes[0].compute_times(count)

    def in_use(self) -> bool:
        """Whether somebody holds a slot of this session whose memory a new context would take away."""
        free = set(self._free)
        with self._lock:
            slots = list(self._slots)
        return any(not slot.closed and slot not in free for slot in slots)

    def close(self) -> None:
        """Give everything back. Slots that are still out keep their own buffers."""
        with self.guarded():
            for flight in list(self._flying):
                self.cuda.wait(flight.lane.event)
            for lane in self._lanes:
                lane.close()
            self.cuda.destroy_stream(self.copies)
        self._lanes.clear()

    def forget(self) -> None:
        """Drop everything without a CUDA call: the context is lost, and all that was in it."""
        for slot in list(self._free):
            slot.close()
        self._free.clear()
        self._pending.clear()
        self._flying.clear()
        self._idle.clear()
        self._lanes.clear()
        del self._engine

    def _add_lane(self, batch: int) -> None:
        try:
            self._lanes.append(Lane(self.cuda, self._engine, self.shapes, batch, self.pixels))
        except (errors.DeviceMemoryError, CudaError) as error:
            # A small board: one lane does as well, only without overlap.
            if not self._lanes or (isinstance(error, CudaError) and error.sticky):
                raise

    def _pump(self) -> None:
        """Launch batches while there are frames and free lanes. Needs the lock."""
        while self._pending and self._idle:
            count = min(self._batch, len(self._pending))
            slots = [self._pending.popleft() for _ in range(count)]
            lane = self._idle.popleft()
            flight = Flight(lane)
            try:
                with self.guarded():
                    lane.launch(slots)
            except errors.PvlrError as error:
                self._idle.append(lane)
                for slot in slots:
                    slot.failure = error
                continue
            self._flying.append(flight)
            for slot in slots:
                slot.flight = flight

    def loss(self) -> errors.DeviceLostError:
        """The error that ended the session, for one more caller."""
        assert self.lost is not None
        return copy(self.lost)

    def _check(self, slot: SessionSlot) -> None:
        """Raises what went wrong with a slot, which is of no use then."""
        error = self.lost or slot.failure
        if error is not None:
            slot.close()
            raise copy(error)

    def _lose(self, error: errors.DeviceLostError) -> None:
        if self.lost is None:
            self.lost = error
