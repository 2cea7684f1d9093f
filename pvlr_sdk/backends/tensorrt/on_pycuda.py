"""The CUDA interface on pycuda: its context, which the application's own pycuda code shares; all calls are the same.

Importing it requires pycuda and NVIDIA's driver.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, partial
from typing import Any

import pycuda.driver as driver

from . import libcuda
from .cuda import CudaError

_UNKNOWN = 999  # CUDA_ERROR_UNKNOWN


class Driver(libcuda.Driver):
    """The same interface on pycuda."""

    name = "pycuda"

    def __init__(self) -> None:
        self._thread = threading.local()
        super().__init__()

    def _retain(self) -> None:
        super()._retain()  # its own reference, so that no detach() ends the context while TensorRT uses it
        with self._checked():
            self._pycuda_context = driver.Device(0).retain_primary_context()
        # At exit, after arrays that are younger: the destructor would take it for a context that pycuda has created.
        weakref.finalize(self, _detach, self._pycuda_context)

    def _enter(self) -> Callable[[], object]:
        if getattr(self._thread, "inside", False):
            return _nothing  # pycuda would pop the context to push it again
        context = self._pycuda_context
        with self._checked():
            context.push()
        self._thread.inside = True
        return partial(self._leave, context)

    def _leave(self, context: Any) -> None:
        self._thread.inside = False
        try:
            with self._checked():
                driver.Context.pop()
        except CudaError:
            # Still on pycuda's stack, it would abort the process at the end of the thread.
            _detach(context)
            driver.Context.get_current()  # removes what is detached from the stack
            raise

    @contextmanager
    def _checked(self) -> Iterator[None]:
        try:
            yield
        except driver.Error as error:
            # pycuda's errors have no code, but the driver's words: "cuMemAlloc failed: out of memory[ - pycuda's]".
            call, _, words = str(error).partition(" failed: ")
            code = self._codes.get(words) or self._codes.get(words.partition(" - ")[0], _UNKNOWN)
            raise CudaError(code, call, words) from error

    @cached_property
    def _codes(self) -> dict[str, int]:
        """The driver's codes by their words."""
        return {words: code for code in range(_UNKNOWN, 0, -1) if (words := self._words(code))}


def _detach(context: Any) -> None:
    with suppress(driver.Error):  # detached already
        context.detach()


def _nothing() -> None:
    pass
