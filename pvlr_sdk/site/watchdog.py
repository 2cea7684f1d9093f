"""Tells systemd that the site runs, and that it still does (sd_notify)."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType


class Watchdog:
    """While entered, says ``READY=1`` and, as long as ``healthy()`` is true, ``WATCHDOG=1`` as often as the unit's
    ``WatchdogSec=`` wants it. When it isn't any more, systemd restarts the service. Outside systemd it does nothing.
    """

    def __init__(self, healthy: Callable[[], bool]) -> None:
        self._healthy = healthy
        self._ended = threading.Event()
        # Three times as often as needed: one late datagram must not restart anything.
        self._pause = int(os.environ.get("WATCHDOG_USEC", "0")) / 3e6

    def __enter__(self) -> Watchdog:
        _notify("READY=1")
        if self._pause:
            threading.Thread(target=self._run, name="pvlr-watchdog", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        _notify("STOPPING=1")

    def _run(self) -> None:
        while not self._ended.wait(self._pause):
            if self._healthy():
                _notify("WATCHDOG=1")


def _notify(message: str) -> None:
    """One datagram to the socket that systemd names; see sd_notify(3). Without systemd for a moment it is lost."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    # Raised, it would end the thread that says that we live, and so the service.
    with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as channel:
        # A name in the abstract namespace begins with a zero byte, which systemd writes as @.
        channel.sendto(message.encode(), address if address[0] == "/" else f"\0{address[1:]}")
