"""An execution context with its own stream and device buffers; it runs one batch at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import TYPE_CHECKING

from ... import errors
from ...bundle.schema import IMAGE
from .cuda import CudaError
from .engine import Engine, Shapes
from .libcuda import Driver, Owned

if TYPE_CHECKING:
    from .pixels import DevicePixels
    from .slot import Labels, Outputs, SessionSlot

_FLOAT = 4
_TIMED = 10
"""Runs of the network between two events."""


class ExecutionContext:
    """Runs batches of one size: all work is enqueued on its stream, and ``event`` marks the end of a batch.

    Where possible, a CUDA graph replaces the network's launches, which cost more than the arithmetic at batch 1.
    ``no_graph`` is the reason why there is none.

    Raises:
        BackendError, DeviceMemoryError: TensorRT cannot create a context.
        CudaError: a CUDA call failed.
    """

    def __init__(
        self, cuda: Driver, engine: Engine, shapes: Shapes, batch: int, pixels: DevicePixels | None
    ) -> None:
        self._cuda = cuda
        self._engine = engine
        self._shapes = shapes
        self._batch = batch
        self._pixels = pixels
        self._frame_bytes = _FLOAT * prod(shapes.of(1)[IMAGE])
        self._owned: list[Owned] = []
        self._labels: Labels | None = None
        self._graph: int | None = None
        self.no_graph: str | None = None
        self._context = engine.context()
        self._stream = self._own(cuda.stream(), cuda.destroy_stream)
        self.event = self._own(cuda.event(), cuda.destroy_event)
        sizes = {name: _FLOAT * prod(shape) for name, shape in shapes.of(batch).items()}
        self._pointers = {
            name: self._own(cuda.malloc(size), cuda.free) for name, size in sizes.items()
        }
        self._bind()
        self._enqueue()  # the first run initialises TensorRT, which a graph cannot contain
        self.drain()
        self._capture()

    def launch(self, slots: Sequence[SessionSlot], outputs: Outputs) -> None:
        """Enqueue the batch: inputs in, network, outputs out, event. ``slots`` has at most ``batch`` entries, all with
        the same labels."""
        cuda = self._cuda
        pointers = self._pointers
        self._upload(slots[0].labels)
        # frames for the kernel first: one launch
        slots = sorted(slots, key=lambda slot: slot.frame is None)
        for place, slot in enumerate(slots):
            for event in slot.ready:
                cuda.stream_wait(self._stream, event)
            if slot.frame is None:
                cuda.to_device(
                    pointers[IMAGE] + place * self._frame_bytes, slot.input, self._stream
                )
            elif slot.raw is not None and slot.device is not None:
                cuda.to_device(slot.device.handle, slot.raw, self._stream)
        frames = [slot.frame for slot in slots if slot.frame is not None]
        if frames and self._pixels is not None:
            self._pixels.preprocess(frames, pointers[IMAGE], self._stream)
        self._compute()
        for name, array in outputs.arrays.items():
            cuda.to_host(array[: len(slots)], pointers[name], self._stream)
        cuda.record(self.event, self._stream)
        outputs.readers = len(slots)
        for place, slot in enumerate(slots):
            slot.outputs = outputs
            slot.place = place

    def drain(self) -> None:
        """Wait for all that was enqueued."""
        self._cuda.synchronize(self._stream)

    def compute_times(self, count: int) -> list[float]:
        """GPU time of the network alone in ms, ``count`` means of a few runs; no batch may be in flight."""
        cuda = self._cuda
        start, end = (Owned(cuda, cuda.event(timing=True), cuda.destroy_event) for _ in range(2))
        times = []
        for _ in range(count):
            self._compute()  # keeps the GPU busy during the next launches, whose delay is not the network's time
            cuda.record(start.handle, self._stream)
            for _ in range(_TIMED):
                self._compute()
            cuda.record(end.handle, self._stream)
            cuda.wait(end.handle)
            times.append(cuda.milliseconds(start.handle, end.handle) / _TIMED)
        return times

    def _own(self, handle: int, free: Callable[[int], None]) -> int:
        """A handle that is given back with this object, which no batch in flight may outlive."""
        self._owned.append(Owned(self._cuda, handle, free))
        return handle

    def _upload(self, labels: Labels | None) -> None:
        """Enqueue the copies of a label bank, unless it is there. The graph reads the same addresses for all banks."""
        if labels is None or labels is self._labels:
            return
        self._labels = None  # if a copy fails, neither bank is there
        for name, array in labels.projections.items():
            self._cuda.to_device(self._pointers[name], array, self._stream)
        self._labels = labels

    def _bind(self) -> None:
        context = self._context
        shapes = self._shapes.of(self._batch)
        with self._engine.messages.collect():
            if not context.set_optimization_profile_async(self._engine.profile, self._stream):
                self._fail(f"optimisation profile {self._engine.profile}")
            if not context.set_input_shape(IMAGE, shapes[IMAGE]):
                self._fail(f"batch {self._batch}")
            for name, pointer in self._pointers.items():
                if not context.set_tensor_address(name, pointer):
                    self._fail(f"an address for {name}")

    def _enqueue(self, *, capturing: bool = False) -> None:
        with self._engine.messages.collect():
            started = self._context.execute_async_v3(self._stream)
        if not started:
            if not capturing:
                self.drain()  # TensorRT calls CUDA by itself: if that has lost the context, waiting shows it
            self._fail("an inference")

    def _compute(self) -> None:
        if self._graph is not None:
            self._cuda.launch(self._graph, self._stream)
        else:
            self._enqueue()

    def _capture(self) -> None:
        try:
            self._cuda.begin_capture(self._stream)
            try:
                self._enqueue(capturing=True)
            finally:
                self._graph = self._own(
                    self._cuda.end_capture(self._stream), self._cuda.destroy_graph
                )
            self._cuda.launch(self._graph, self._stream)
            self.drain()
        except (CudaError, errors.BackendError) as error:
            self.drain()  # raises if the context is lost, which a failed capture need not show
            self._graph = None
            self.no_graph = str(error)
            self._engine.messages.reason("")  # reported now; a later failure has its own reason
            self._enqueue()  # check that it works without a graph
            self.drain()

    def _fail(self, expected: str) -> None:
        raise errors.BackendError(
            self._engine.source,
            expected,
            self._engine.messages.reason("no reason given"),
            "See pvlr doctor.",
        )
