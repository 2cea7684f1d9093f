"""A plan running on the GPU: its execution contexts, and the batches in flight in them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import copy
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

from ... import errors
from .context import ExecutionContext
from .cuda import CudaError, as_typed
from .engine import Engine, Shapes
from .libcuda import Driver, Owned
from .slot import Labels, Outputs, SessionSlot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from .pixels import DevicePixels

_CONTEXTS = 2
"""While one batch computes, the next one is copied. A third context gains nothing: the GPU has one set of units."""


@dataclass(eq=False)
class InFlightBatch:
    """A batch that was launched in an execution context; keeps its outputs until the copies are done."""

    context: ExecutionContext
    outputs: Outputs
    done: bool = False


class Session:
    """A plan on the GPU, from loading it to closing it or to the loss of the CUDA context.

    Frames wait in one queue. A free execution context takes the next frames, up to ``batch``: batches form while the
    GPU is busy, and no frame waits while it is idle. Every inference has the full batch size, unused places included:
    another size would run other kernels, and the same frame would get other logits.
    """

    def __init__(
        self,
        cuda: Driver,
        make_engine: Callable[[], Engine],
        source: str,
        shapes: Shapes,
        batch: int,
        pixels: DevicePixels | None,
    ) -> None:
        self.cuda = cuda
        self.source = source
        self.shapes = shapes
        self.pixels = pixels
        self.one_context: str | None = None  # why there is no second execution context
        self._batch = batch
        self._lock = Lock()
        self._pending: deque[SessionSlot] = deque()
        self._in_flight: deque[InFlightBatch] = deque()
        self._free: deque[SessionSlot] = deque()
        self._outputs: deque[Outputs] = deque()
        self.contexts: list[ExecutionContext] = []
        self._idle: deque[ExecutionContext] = deque()
        with self.guarded():
            self._engine = make_engine()
            self._copies = Owned(cuda, cuda.stream(), cuda.destroy_stream)
            self.copies = self._copies.handle
            for _ in range(_CONTEXTS):
                self._add_context(batch)
        self._idle.extend(self.contexts)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Make the context current and translate CUDA errors. After the loss of the context, nothing runs any more."""
        self.check()
        try:
            with self.cuda.current():
                yield
        except CudaError as error:
            if error.sticky and self.cuda.lost is None:
                self.cuda.lost = error
            raise as_typed(error, self.source) from error

    def check(self) -> None:
        """Raises DeviceLostError if the context of the process is lost."""
        if self.cuda.lost is not None:
            raise as_typed(self.cuda.lost, self.source)

    def acquire(self) -> SessionSlot:
        """A slot for exclusive use."""
        self.check()
        try:
            return self._free.pop()
        except IndexError:
            with self.guarded():
                return SessionSlot(self)

    def release(self, slot: SessionSlot) -> None:
        """Keep a slot for reuse."""
        if not slot.closed:
            with self._lock:
                self._recycle(slot)
            self._free.append(slot)

    def labels(self, count: int, projections: Mapping[str, NDArray[np.float32]]) -> Labels:
        """A label bank for the slots of an open plan, copied to page-locked memory."""
        with self.guarded():
            pinned = {
                name: self.cuda.pinned(array.shape, "float32")
                for name, array in projections.items()
            }
        for name, array in projections.items():
            pinned[name][:] = array
        return Labels(count, pinned)

    def submit(self, slot: SessionSlot) -> None:
        """Queue a slot's frame and launch batches where possible."""
        slot.batch = slot.failure = None
        with self._lock:
            self._recycle(slot)
            if self.cuda.lost is None:
                self._pending.append(slot)
                self._pump()
        self._check(slot)

    def wait(self, slot: SessionSlot) -> None:
        """Wait for a slot's outputs."""
        while True:
            self._check(slot)
            with self._lock:
                if self.cuda.lost is not None or slot.failure is not None:
                    continue
                # One that was not launched waits for a context: the batch that was launched first frees one first.
                batch = slot.batch or self._in_flight[0]
                if batch.done:
                    if batch is slot.batch:
                        return
                    continue
            try:
                with self.guarded():
                    self.cuda.wait(batch.context.event)
            except errors.BackendError:
                slot.close()
                raise
            with self._lock:
                if not batch.done and self.cuda.lost is None:
                    batch.done = True
                    self._in_flight.remove(batch)
                    self._idle.append(batch.context)
                    self._pump()

    def compute_times(self, count: int) -> list[float]:
        """GPU time of the network alone in ms, ``count`` times.

        Raises:
            BackendError: a frame is waiting or in flight.
        """
        with self._lock:
            if self._in_flight or self._pending:
                raise errors.BackendError(
                    self.source,
                    "an idle tagger",
                    "frames in flight",
                    "Wait for their results first.",
                )
            with self.guarded():
                return self.contexts[0].compute_times(count)

    def close(self) -> None:
        """Free everything at once, TensorRT's memory included. Slots in use keep their buffers."""
        with self.guarded():
            for batch in list(self._in_flight):
                self.cuda.wait(batch.context.event)
        for held in (
            self.contexts,
            self._idle,
            self._in_flight,
            self._pending,
            self._free,
            self._outputs,
        ):
            held.clear()
        del self._engine

    def _add_context(self, batch: int) -> None:
        try:
            self.contexts.append(
                ExecutionContext(self.cuda, self._engine, self.shapes, batch, self.pixels)
            )
        except (errors.BackendError, CudaError) as error:
            # One context will do, without overlap: on a small board, or if TensorRT refuses to share a profile.
            if not self.contexts or (isinstance(error, CudaError) and error.sticky):
                raise
            self.one_context = str(error)

    def _pump(self) -> None:
        """Launch batches while there are frames and free contexts. The caller holds the lock."""
        while self._pending and self._idle:
            # a batch has one label bank
            labels = self._pending[0].labels
            slots = list[SessionSlot]()
            while self._pending and len(slots) < self._batch and self._pending[0].labels is labels:
                slots.append(self._pending.popleft())
            context = self._idle.popleft()
            try:
                with self.guarded():
                    outputs = (
                        self._outputs.pop()
                        if self._outputs
                        else Outputs(self.cuda, self.shapes, self._batch)
                    )
                    context.launch(slots, outputs)
            except Exception as error:
                with suppress(errors.BackendError), self.guarded():
                    context.drain()  # copies from and to buffers that are about to be freed
                self._idle.append(context)
                for slot in slots:
                    slot.failure = error
                continue
            launched = InFlightBatch(context, outputs)
            self._in_flight.append(launched)
            for slot in slots:
                slot.batch = launched

    def _recycle(self, slot: SessionSlot) -> None:
        """Let a later batch use the outputs that a slot has read. The caller holds the lock."""
        outputs = slot.outputs
        slot.outputs = None
        if outputs is not None:
            outputs.readers -= 1
            if outputs.readers == 0:
                self._outputs.append(outputs)

    def _check(self, slot: SessionSlot) -> None:
        """Close a slot that failed, and raise its error."""
        try:
            self.check()
            if slot.failure is not None:
                raise copy(slot.failure)
        except Exception:
            slot.close()
            raise
