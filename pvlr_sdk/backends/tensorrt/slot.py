"""The host's side of one inference: page-locked buffers, and the frame that goes into them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ...device_frames import DeviceArray, DeviceFrame
from .lane import empty_outputs
from .pixels import PixelSource

if TYPE_CHECKING:
    from ...frames import Frame
    from ...preprocess import Preprocessor
    from .session import Flight, Session


class SessionSlot:
    """See :class:`pvlr_sdk.backends.Slot`. Belongs to a session, and is useless after the session's end.

    ``frame`` and ``raw`` are for a preprocessing on the GPU: what the frame is and, if it comes from the CPU, its
    bytes. Without ``frame``, ``input`` holds the preprocessed one.
    """

    def __init__(self, session: Session) -> None:
        cuda, shapes = session.cuda, session.shapes
        self.session = session
        self.input: NDArray[np.float32] = cuda.pinned((3, shapes.height, shapes.width), "float32")
        self.logits, self.similarity = empty_outputs(cuda, shapes)
        self.frame: PixelSource | None = None
        self.raw: NDArray[np.uint8] | None = None
        self.flight: Flight | None = None
        self.failure: errors.PvlrError | None = None
        self.closed = False
        self._staging: NDArray[np.uint8] | None = None

    def load(self, frame: Frame | DeviceFrame, preprocess: Preprocessor) -> None:
        self._check()
        self.frame = self.raw = None
        kernel = self.session.pixels
        if isinstance(frame, DeviceFrame):
            if kernel is not None and kernel.takes(frame.pixels, frame.order):
                self._wait_for(frame.pixels)
                pixels = frame.pixels
                self.frame = PixelSource(pixels.pointer, pixels.shape, pixels.strides, frame.order, pixels.owner)
            else:
                preprocess(self._to_host(frame.pixels), frame.order, self.input)
        elif kernel is not None:
            staged = self._stage(frame.pixels)
            self.frame = PixelSource(0, staged.shape, staged.strides, frame.order, None)
        else:
            preprocess(frame.pixels, frame.order, self.input)

    def start(self) -> None:
        self._check()
        self.session.submit(self)

    def wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        self._check()
        self.session.wait(self)
        self.frame = None  # a frame on the GPU is its owner's again
        return self.logits, self.similarity

    def close(self) -> None:
        """Let go of the buffers: after a lost context they are no memory any more."""
        self.closed = True
        empty = np.empty(0, np.float32)
        self.input = self.logits = self.similarity = empty
        self.frame = self.raw = self._staging = None

    def _check(self) -> None:
        if self.closed:
            if self.session.lost is not None:
                raise self.session.loss()
            raise errors.BackendError("slot", expected="an open slot", got="a closed one", hint="Acquire another one.")

    def _stage(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The frame in page-locked memory, contiguous; ``raw`` are its bytes."""
        if self._staging is None or self._staging.nbytes < pixels.size:
            with self.session.guarded():
                self._staging = self.session.cuda.pinned((pixels.size,), "uint8")
        self.raw = self._staging[: pixels.size]
        staged = self.raw.reshape(pixels.shape)
        np.copyto(staged, pixels)
        return staged

    def _to_host(self, pixels: DeviceArray) -> NDArray[np.uint8]:
        """A copy of a frame on the GPU, for the CPU to preprocess: there is no kernel for it."""
        if min(pixels.strides) < 0:
            raise errors.FrameShapeError(
                "frame", expected="a frame that is not flipped", got=f"strides {pixels.strides}", hint="Copy it first."
            )
        extent = 1 + sum((side - 1) * stride for side, stride in zip(pixels.shape, pixels.strides, strict=True))
        data: NDArray[Any] = np.empty(extent, np.uint8)
        self._wait_for(pixels)
        with self.session.guarded():
            cuda, stream = self.session.cuda, self.session.copies
            cuda.to_host(data, pixels.pointer, stream)
            cuda.synchronize(stream)
        return np.lib.stride_tricks.as_strided(data, pixels.shape, pixels.strides)

    def _wait_for(self, pixels: DeviceArray) -> None:
        if pixels.ready is not None:
            with self.session.guarded():
                self.session.cuda.synchronize(pixels.ready)
