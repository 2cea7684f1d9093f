"""SIGHUP: ``watch`` and ``serve`` load the plan again."""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
from typing import TYPE_CHECKING

from .. import errors

if TYPE_CHECKING:
    from ..watch.deployment import Deployment

_log = logging.getLogger(__name__)


def reload_on_hangup(deployment: Deployment) -> None:
    """From now on SIGHUP loads the plan that the site file names. Call it in the main thread.

    Not in a terminal, which sends this signal when it is closed: the process then ends, as others do.
    """
    if os.isatty(0):
        return
    # A handler may interrupt whatever it would use; only SimpleQueue.put is safe then.
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()

    def work() -> None:
        while True:
            signals.get()
            try:
                deployment.reload()
            except errors.PvlrError as error:
                _log.error("the plan in use stays: %s: %s", type(error).__name__, error)

    threading.Thread(target=work, name="pvlr-reload", daemon=True).start()
    signal.signal(signal.SIGHUP, lambda number, frame: signals.put(number))
