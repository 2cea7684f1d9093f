"""Notifies systemd that the site is ready and alive (sd_notify)."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def watchdog(healthy: Callable[[], bool]) -> Iterator[None]:
    """Send ``READY=1`` and, while ``healthy()`` is true, ``WATCHDOG=1`` as often as ``WatchdogSec=`` requires.

    Without it systemd restarts the service. Outside systemd it does nothing.
    """
    ended = threading.Event()
    # Three times as often as required: one late datagram must not cause a restart.
    pause = int(os.environ.get("WATCHDOG_USEC", "0")) / 3e6

    def run() -> None:
        while not ended.wait(pause):
            if healthy():
                _notify("WATCHDOG=1")

    _notify("READY=1")
    if pause:
        threading.Thread(target=run, name="pvlr-watchdog", daemon=True).start()
    try:
        yield
    finally:
        ended.set()
        _notify("STOPPING=1")


def _notify(message: str) -> None:
    """Send one datagram to systemd's socket; see sd_notify(3). It is lost while systemd is not there."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    # An exception would end the watchdog's thread, and then systemd the service.
    with suppress(OSError), socket.socket(socket.AF_UNIX, kind) as channel:
        # A name in the abstract namespace starts with a zero byte, which systemd writes as @.
        channel.sendto(message.encode(), address if address[0] == "/" else f"\0{address[1:]}")
