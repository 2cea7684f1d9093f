"""Decodes images from outside in processes that may crash."""

from __future__ import annotations

import os
import weakref
from contextlib import suppress
from queue import Empty, LifoQueue
from typing import TYPE_CHECKING

import numpy as np

from ... import errors
from ..._util.cores import available_cores
from ..._util.escape import escaped
from .. import images
from ..header import FORMATS
from .child import CPU_SECONDS, DECODE, PIXELS
from .process import IsolatedProcess, ProcessFailedError, shared_memory

if TYPE_CHECKING:
    from ..images import DecodedImage, PixelsOrReason

MEMORY_BYTES = 2 * 2**30
"""Memory for one image: what the largest allowed image of the most demanding format needs."""
SECONDS = 30.0
_MAX_COUNT = 8
_SERVE = "pvlr_sdk.frames.isolated.child:decode_images"


class Decoders:
    """Processes that decode images. Thread-safe.

    A crash, a timeout or too much memory is an ImageDecodeError of that image; the process is replaced. The limits of
    bytes, pixels and formats are checked in this process, as without isolation.

    Args:
        count: number of images decoded at the same time, each in a process of its own; None: one per core, at most 8.
        memory_bytes: most memory of a process beyond what it needs for its libraries.
        seconds: most time for an image.
    """

    def __init__(
        self, count: int | None = None, memory_bytes: int = MEMORY_BYTES, seconds: float = SECONDS
    ) -> None:
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._closed = False
        self._idle: LifoQueue[IsolatedProcess | None] = LifoQueue()
        for _ in range(min(available_cores(), _MAX_COUNT) if count is None else count):
            self._idle.put(None)
        weakref.finalize(self, _close_idle, self._idle).atexit = False  # they end with this process

    def start(self) -> Decoders:
        """Start all processes now, not with the first images: each needs a few tenths of a second.

        Raises:
            IsolationError: this system cannot start such processes.
        """
        idle = self._idle.queue  # no other thread has this object yet
        for index, process in enumerate(idle):
            idle[index] = process or self._new()
        return self

    def decode(
        self,
        data: bytes,
        source: str = "frame",
        least_size: tuple[int, int] | None = None,
        max_pixels: int | None = None,
        formats: tuple[str, ...] = FORMATS,
    ) -> DecodedImage:
        """Decode an image; arguments and errors as for :func:`pvlr_sdk.frames.images.decode`.

        The pixels are in memory that the process wrote to, which is freed with them.

        Raises:
            IsolationError: no process can be started.
        """
        return images.decode(data, source, least_size, max_pixels, formats, self._pixels)

    def close(self) -> None:
        """End the processes, those that decode an image after it. Images that come later have a process each."""
        self._closed = True
        _close_idle(self._idle)

    def _pixels(self, data: bytes, factor: int, count: int) -> PixelsOrReason:
        room = 3 * count
        try:
            memory, descriptor = shared_memory(room + len(data))
        except OSError as error:
            raise MemoryError from error
        try:
            memory[room:] = data
            answer = self._ask(DECODE.pack(room, len(data), factor), descriptor)
        except ProcessFailedError as error:
            return None, str(error)
        finally:
            os.close(descriptor)
        if len(answer) != PIXELS.size:
            return None, escaped(answer[1:].decode(errors="replace"))
        height, width = PIXELS.unpack(answer)
        if not 0 < height * width <= count:
            return None, "more pixels than its header states"
        return np.frombuffer(memory, np.uint8, 3 * height * width).reshape(height, width, 3), ""

    def _ask(self, message: bytes, descriptor: int) -> bytes:
        """The answer of a process to a message."""
        process = self._idle.get()
        try:
            process = self._sent(process, message, descriptor)
            return process.receive(self._seconds)
        except BaseException:
            if process is not None:
                process.close()
            process = None
            raise
        finally:
            self._idle.put(process)
            if self._closed:
                _close_idle(self._idle)

    def _new(self) -> IsolatedProcess:
        return IsolatedProcess(_SERVE, self._memory_bytes)

    def _sent(
        self, process: IsolatedProcess | None, message: bytes, descriptor: int
    ) -> IsolatedProcess:
        """The process that got the message: a new one if ``process`` ended while it was idle or its time is over, which
        is not due to this image."""
        if process is not None:
            with suppress(errors.IsolationError, OSError):  # OSError: it has ended
                process.wait_until_ready()
                if process.waited < CPU_SECONDS / 2 and process.send(message, [descriptor]):
                    return process
            process.close()
        process = self._new()
        process.wait_until_ready()
        process.send(message, [descriptor])
        return process


def _close_idle(idle: LifoQueue[IsolatedProcess | None]) -> None:
    taken: list[IsolatedProcess | None] = []
    # their number is unknown: other threads take and return them at the same time
    with suppress(Empty):
        while True:
            taken.append(idle.get_nowait())
    for process in taken:
        if process is not None:
            process.close()
        idle.put(None)
