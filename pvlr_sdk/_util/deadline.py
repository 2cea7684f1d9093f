"""A deadline for work that has none of its own, or one for each of its steps."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent import futures
from typing import TypeVar

T = TypeVar("T")


def within(seconds: float, work: Callable[[], T]) -> T:
    """The result of ``work()``. Raises TimeoutError if it takes longer; its thread is left behind then."""
    result: futures.Future[T] = futures.Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as error:
            result.set_exception(error)

    threading.Thread(target=run, name="pvlr-deadline", daemon=True).start()
    try:
        return result.result(max(seconds, 0))
    except futures.TimeoutError:
        raise TimeoutError("timed out") from None
