"""Queues in front of the sinks: in memory, and with a copy on disk that survives the process."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import threading
from collections import deque
from itertools import islice, takewhile
from pathlib import Path
from typing import Generic, TypeVar

from ... import errors
from ..events import Event
from .disk import closed_on_error, create_file, output_errors

T = TypeVar("T")

_LOG = logging.getLogger(__package__)
_OPENING = (
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA wal_autocheckpoint = 32",  # pages: keeps the journal small
    "CREATE TABLE IF NOT EXISTS queue (seq INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL)",
)
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
"""Seconds between two attempts to write to a disk that failed."""


class MemoryQueue(Generic[T]):
    """First in, first out, bounded: when it is full, the oldest waiting item is dropped and counted in ``lost``.

    Any thread may ``put``; one thread takes. A taken item stays in the queue until it is ``done``. No method waits for
    anything but ``take``, and ``close`` for at most its timeout.

    Args:
        capacity: maximum number of items, two or more.

    Attributes:
        lost: number of items dropped.
        error: why items are not stored at present; None if they are, or need not be.
    """

    error: str | None = None

    def __init__(self, capacity: int = 1000) -> None:
        self.lost = 0
        self._capacity = capacity
        self._items: deque[tuple[int, T]] = deque()  # each with its number
        self._next = 0  # the number of the next item
        self._removed = 0  # number of items that have left the queue
        self._taken = False  # the first item is being delivered: it is not dropped
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        with self._changed:
            if len(self._items) >= self._capacity:
                del self._items[1 if self._taken else 0]
                self.lost += 1
                self._removed += 1
            self._items.append((self._next, item))
            self._next += 1
            self._changed.notify_all()

    def take(self, timeout: float) -> T | None:
        """Wait for the first item; None after ``timeout`` seconds or :meth:`wake`."""
        with self._changed:
            if not self._items:
                self._changed.wait(timeout)
            if not self._items:
                return None
            self._taken = True
            return self._items[0][1]

    def wake(self) -> None:
        """End the wait of ``take``."""
        with self._changed:
            self._changed.notify_all()

    def done(self) -> None:
        """Remove the item that was taken."""
        with self._changed:
            if self._taken and self._items:  # empty if it was closed meanwhile
                self._items.popleft()
                self._removed += 1
            self._taken = False
            self._changed.notify_all()

    def __len__(self) -> int:
        return len(self._items)

    def close(self, timeout: float = 1.0) -> None:
        """Drop and count the remaining items, except those on disk, which wait there for the next process."""
        with self._changed:
            self.lost += len(self._items)
            self._items.clear()


class DiskQueue(MemoryQueue[Event]):
    """A queue of events with a copy in an SQLite file, which its own thread keeps up to date.

    The copy survives a killed process, and the next process that opens it continues. A disk that is full, slow or
    broken delays only the copy: events are still delivered, and are stored when the disk accepts them again.

    Args:
        path: the file, readable by this user only; its folder is created if it does not exist. It belongs to one
            process at a time.
        capacity: maximum number of waiting events; each takes about 0.5 kB of memory.

    Raises:
        OutputError: the file cannot be opened, or another process uses it.
    """

    def __init__(self, path: str | os.PathLike[str], capacity: int = 100_000) -> None:
        super().__init__(capacity)
        self._path = Path(path)
        self._closing = False
        with self._reported():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            create_file(self._path, 0o600)
            self._database = sqlite3.connect(
                self._path, timeout=0.5, isolation_level=None, check_same_thread=False
            )
            with closed_on_error(self._database):
                for statement in _OPENING:
                    self._database.execute(statement)
                for number, text in self._database.execute(
                    "SELECT seq, event FROM queue ORDER BY seq"
                ):
                    self._next = number
                    try:
                        self.put(Event.unpack(text))
                    except ValueError:  # of another version
                        self.lost += 1
                        self._removed += 1
        self._stored = self._next  # number of the first item that is not on disk
        self._cleared = 0  # value of _removed when the disk was last told
        self._writer = threading.Thread(
            target=self._write, name=f"pvlr-queue-{self._path.stem}", daemon=True
        )
        self._writer.start()

    def close(self, timeout: float = 1.0) -> None:
        """Store what waits, within ``timeout`` seconds; what cannot be stored is counted as lost."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._writer.join(timeout)
        with self._changed:
            new = len(self._new())
            self.lost += new
            for _ in range(new):
                self._items.pop()

    def _new(self) -> list[tuple[int, Event]]:
        """What is not on disk, the newest first."""
        return list(takewhile(lambda numbered: numbered[0] >= self._stored, reversed(self._items)))

    def _write(self) -> None:
        """Keep the file up to date until the end. One warning per outage of the disk."""
        pause = _FIRST_PAUSE
        closing = False
        while not closing:
            with self._changed:
                self._changed.wait_for(
                    lambda: (
                        self._closing
                        or self.error
                        or self._stored < self._next
                        or self._cleared < self._removed
                    )
                )
                closing = self._closing
            try:
                stored = self._store()
            except errors.OutputError as error:
                if self.error is None:
                    _LOG.warning("%s", error)
                self.error = str(error)
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                if stored and self.error is not None:
                    _LOG.warning("%s: works again", self._path)
                    self.error = None
                    pause = _FIRST_PAUSE
        self._database.close()

    def _store(self) -> bool:
        """Delete from the file what has left the queue, add what is new; returns whether that wrote anything."""
        with self._changed:
            removed = self._removed
            following = self._next
            new = self._new()
            # Only the first item can be older than a dropped one: numbers have a gap after it, and nowhere else.
            ahead = [number for number, _ in islice(self._items, 2)]
            first, second = [*ahead, following, following][:2]
        with self._reported():
            query = "DELETE FROM queue WHERE seq < ? OR (seq > ? AND seq < ?)"
            written = self._database.execute(query, (first, first, second)).rowcount > 0
            self._cleared = removed
            for number, event in reversed(new):
                self._database.execute(
                    "INSERT OR REPLACE INTO queue VALUES (?, ?)", (number, event.pack())
                )
                self._stored = number + 1
                written = True
            # a fast receiver left nothing to store: is there room again?
            if self.error and not written:
                self._database.execute("PRAGMA user_version = 0")  # writes although nothing changes
                written = True
        self._stored = following
        return written

    def _reported(self) -> contextlib.AbstractContextManager[None]:
        hint = "Free some space or choose another file; two processes cannot share one."
        return output_errors(self._path, "a writable queue file", hint)
