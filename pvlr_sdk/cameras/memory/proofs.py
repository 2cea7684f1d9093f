"""Follows the answers of a memory, and tells the owner of the thresholds what they prove."""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

from ...errors import PvlrError
from .precision import Statement, statement
from .reader import Reader

Use: TypeAlias = Callable[[Mapping[str, Statement]], None]
_log = logging.getLogger(__name__)
_POLL = 5.0
"""Seconds between two looks for answers of other processes, such as ``pvlr precision``."""
_STATE = (
    "SELECT count(*), max(time) FROM answers",
    # Other settings, plans and label banks begin anew; and each day an older proof may have become doubtful.
    "SELECT context, date(start, 'unixepoch') FROM moments WHERE ended IS NOT NULL ORDER BY id DESC LIMIT 1",
)
"""What statements depend on, in short."""


class Proofs:
    """What answers prove of the labels with a required precision.

    Args:
        folder: of the memory.
        precision: by label, the share of events that are to be right.
        use: gets what is proven when it may have changed: now, and later in a thread of its own.

    Attributes:
        use: may be replaced.
    """

    def __init__(self, folder: Path, precision: Mapping[str, float], use: Use) -> None:
        self._folder = folder
        self._precision = precision
        self.use = use
        self._lock = threading.Lock()
        self._known: Any = None
        self._problem = ""
        self._wake = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None
        if precision:
            self.look()
            self._thread = threading.Thread(target=self._run, name="pvlr-proofs", daemon=True)
            self._thread.start()

    def answered(self) -> None:
        """An answer came or went: look at once, in the other thread."""
        self._wake.set()

    def look(self) -> None:
        """Compute what is proven, if something that it depends on has changed."""
        with self._lock:
            try:
                with closing(Reader(self._folder)) as reader:
                    state = [row for query in _STATE for row in reader.query(query)]
                    if state == self._known:
                        return
                    proven = {
                        label: statement(reader, label, share)
                        for label, share in self._precision.items()
                    }
                self.use(proven)
                self._known = state
                self._problem = ""
            except (
                PvlrError,
                sqlite3.DatabaseError,
                UnicodeDecodeError,
            ) as error:  # damaged, or not there
                if str(error) != self._problem:
                    _log.warning("what answers prove cannot be computed: %s", error)
                self._problem = str(error)

    def close(self) -> None:
        """End the thread; a statement in progress is not waited for."""
        self._closed = True
        self._wake.set()

    def _run(self) -> None:
        while True:
            self._wake.wait(_POLL)
            self._wake.clear()
            if self._closed:
                return
            self.look()
