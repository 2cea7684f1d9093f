"""The host side of one inference: page-locked buffers and the frame in them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ...bundle.schema import FEATURES, LOGITS, SIMILARITY
from ...frames.device import DeviceArray, DeviceFrame
from .libcuda import Owned
from .pixels import LONGEST_SIDE

if TYPE_CHECKING:
    from ...frames.frames import Frame
    from ...frames.preprocess import Preprocessor
    from ...kernels.preprocess import Entry
    from .engine import Shapes
    from .libcuda import Driver
    from .pixels import DevicePixels


class Owner(Protocol):
    """What a slot needs of its :class:`.session.Session`."""

    cuda: Driver
    shapes: Shapes
    pixels: DevicePixels | None
    copies: int

    def check(self) -> None: ...
    def guarded(self) -> AbstractContextManager[None]: ...
    def submit(self, slot: SessionSlot) -> None: ...
    def wait(self, slot: SessionSlot) -> None: ...


@dataclass(frozen=True, eq=False)
class Labels:
    """A label bank of an open plan: ``count`` labels; the projections also have the padding."""

    count: int
    projections: dict[str, NDArray[np.float32]]
    """The further inputs of the engine, in page-locked memory."""


class Outputs:
    """The page-locked outputs of a batch: ``arrays`` has those of :meth:`Shapes.outputs` by name."""

    def __init__(self, cuda: Driver, shapes: Shapes, batch: int) -> None:
        sizes = shapes.outputs(batch)
        self.arrays: dict[str, NDArray[np.float32]] = {
            name: cuda.pinned(shape, "float32") for name, shape in sizes.items()
        }
        self.readers = 0  # slots whose outputs are in it


class SessionSlot:
    """See :class:`pvlr_sdk.backends.Slot`. Belongs to a session and is unusable after the session's end.

    For preprocessing on the GPU, ``frame`` describes the frame there; if it comes from the CPU, ``raw`` has its bytes,
    which are uploaded to ``device``. Without ``frame``, ``input`` holds the preprocessed frame. A frame on the GPU may
    be read after the events in ``ready``. ``labels`` are those of an open plan, set before ``start``.
    """

    features: NDArray[np.float32] | None = None

    def __init__(self, session: Owner) -> None:
        cuda = session.cuda
        shapes = session.shapes
        self.session = session
        self.input: NDArray[np.float32] = cuda.pinned((3, shapes.height, shapes.width), "float32")
        self.labels: Labels | None = None
        self.outputs: Outputs | None = None
        self.place = 0  # in the batch
        self.frame: Entry | None = None
        self.raw: NDArray[np.uint8] | None = None
        self.device: Owned | None = None
        self.ready: list[int] = []
        self.batch: Any = None  # the session's, while it is in flight
        self.failure: Exception | None = None
        self.closed = False
        self._staging: NDArray[np.uint8] | None = None
        self._written: list[Owned] = []
        self._owner: Any = None  # keeps a frame's GPU memory alive

    def load(self, frame: Frame | DeviceFrame, preprocess: Preprocessor) -> None:
        self._check()
        self._forget()
        kernel = self.session.pixels if max(frame.pixels.shape[:2]) <= LONGEST_SIDE else None
        if isinstance(frame, DeviceFrame):
            if kernel is not None and kernel.takes(frame.planes, frame.order):
                self.frame = kernel.prepare(frame.planes, frame.order, frame.crop)
                self.ready = self._mark(*frame.planes)
                self._owner = frame
            else:
                pixels, *chroma = (self._to_host(plane) for plane in frame.planes)
                preprocess(pixels, frame.order, self.input, frame.crop, chroma)
        elif kernel is not None:
            self.frame = kernel.prepare(
                self._stage(frame.pixels, *frame.chroma), frame.order, frame.crop
            )
        else:
            preprocess(frame.pixels, frame.order, self.input, frame.crop, frame.chroma)

    def start(self) -> None:
        self._check()
        self.session.submit(self)

    def wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self._check()
        self.session.wait(self)
        self._forget()  # a frame on the GPU belongs to its owner again
        assert self.outputs is not None
        outputs = {name: array[self.place] for name, array in self.outputs.arrays.items()}
        self.features = outputs.get(FEATURES)
        count = len(outputs[LOGITS]) if self.labels is None else self.labels.count
        similarity = outputs.get(SIMILARITY, np.empty((0, count), np.float32))
        return outputs[LOGITS][:count], similarity[:, :count]

    def close(self) -> None:
        """Release the buffers."""
        self.closed = True
        self.input = np.empty(0, np.float32)
        # not for another batch: copies into it may be in flight
        self.outputs = self.features = None
        self.device = self._staging = None
        self._written.clear()
        self._forget()

    def _forget(self) -> None:
        self.frame = self.raw = self._owner = None
        self.ready = []

    def _check(self) -> None:
        self.session.check()
        if self.closed:
            raise errors.BackendError(
                "slot", "an open slot", "a closed one", "Acquire another slot."
            )

    def _stage(self, *planes: NDArray[np.uint8]) -> list[DeviceArray]:
        """Copy a frame to contiguous page-locked memory, ``raw``; where its bytes will be on the device."""
        size = sum(plane.size for plane in planes)
        if self.device is None or self._staging is None or self._staging.nbytes < size:
            self.device = self._staging = None  # first: for both there may be too little memory
            with self.session.guarded():
                self._staging = self.session.cuda.pinned((size,), "uint8")
                self.device = Owned(
                    self.session.cuda, self.session.cuda.malloc(size), self.session.cuda.free
                )
        self.raw = self._staging[:size]
        arrays = list[DeviceArray]()
        offset = 0
        for plane in planes:
            staged = self.raw[offset : offset + plane.size].reshape(plane.shape)
            np.copyto(staged, plane)
            arrays.append(
                DeviceArray(
                    self.device.handle + offset, staged.shape, staged.strides, None, self.device
                )
            )
            offset += plane.size
        return arrays

    def _to_host(self, pixels: DeviceArray) -> NDArray[np.uint8]:
        """Copy a frame from the GPU, for preprocessing on the CPU where there is no kernel for it."""
        if min(pixels.strides) < 0:
            raise errors.FrameShapeError(
                "frame",
                "a frame that is not flipped",
                f"strides {pixels.strides}",
                "Copy it first.",
            )
        extent = 1 + sum(
            (side - 1) * stride for side, stride in zip(pixels.shape, pixels.strides, strict=True)
        )
        data: NDArray[Any] = np.empty(extent, np.uint8)
        ready = self._mark(pixels)
        with self.session.guarded():
            cuda = self.session.cuda
            stream = self.session.copies
            for event in ready:
                cuda.stream_wait(stream, event)
            cuda.to_host(data, pixels.pointer, stream)
            cuda.synchronize(stream)
        return np.lib.stride_tricks.as_strided(data, pixels.shape, pixels.strides)

    def _mark(self, *planes: DeviceArray) -> list[int]:
        """Events of the slot, recorded after what other libraries have queued on the streams of a frame."""
        streams = {plane.ready for plane in planes if plane.ready is not None}
        with self.session.guarded():
            cuda = self.session.cuda
            while len(self._written) < len(streams):
                self._written.append(Owned(cuda, cuda.event(), cuda.destroy_event))
            marked = self._written[: len(streams)]
            for event, stream in zip(marked, streams, strict=True):
                cuda.record(event.handle, stream)
        return [event.handle for event in marked]
