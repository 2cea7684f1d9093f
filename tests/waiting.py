"""Waiting for events instead of sleeping: tests must not depend on the speed of the machine."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
LONG = 60.0
"""Seconds after which whatever a test waits for is taken for lost: far more than a busy machine needs."""


def until(condition: Callable[[], T], what: str = "it took too long", seconds: float = LONG) -> T:
    """The first true value of ``condition()``; fails with ``what`` if there is none within ``seconds``."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, what
        time.sleep(0.01)
    return value


def a_second() -> float:
    """A second, or more on a machine that has more to do than it has cores for."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def stopped(pid: int) -> None:
    """Wait until SIGSTOP has stopped a process."""
    until(lambda: "State:\tT" in Path(f"/proc/{pid}/status").read_text())


def joined(thread: threading.Thread) -> bool:
    """Whether the thread ends."""
    thread.join(LONG)
    return not thread.is_alive()
