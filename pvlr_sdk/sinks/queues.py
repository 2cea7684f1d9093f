"""Queues in front of the sinks: in memory, or on disk, where they survive the process."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections import deque
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from ..events import Event
from .disk import closed_on_error, create_file, output_errors

T = TypeVar("T")


_OPENING = (
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA wal_autocheckpoint = 32",  # pages: keeps the journal small
    "CREATE TABLE IF NOT EXISTS queue (seq INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL)",
)


class Queue(Protocol[T]):
    """First in, first out, bounded: when it is full the oldest waiting item is dropped and counted in ``lost``.

    Any thread may ``put``; one thread takes. A taken item stays in the queue until it is ``done``.
    """

    @property
    def lost(self) -> int: ...

    def put(self, item: T) -> None:
        """Append an item; never waits for space."""

    def take(self, timeout: float) -> T | None:
        """Wait for the first item; None after ``timeout`` seconds or :meth:`wake`."""

    def wake(self) -> None:
        """End the wait of ``take``."""

    def done(self) -> None:
        """Remove the item that was taken."""

    def __len__(self) -> int: ...

    def close(self) -> None:
        """Release it. Items on disk stay there for the next process."""


class MemoryQueue(Generic[T]):
    """A queue in memory of at most ``capacity`` items, two or more."""

    def __init__(self, capacity: int = 1000) -> None:
        self.lost = 0
        self._capacity = capacity
        self._items: deque[T] = deque()
        self._taken = False
        self._changed = threading.Condition()

    def put(self, item: T) -> None:
        with self._changed:
            if len(self._items) >= self._capacity:
                del self._items[1 if self._taken else 0]
                self.lost += 1
            self._items.append(item)
            self._changed.notify()

    def take(self, timeout: float) -> T | None:
        with self._changed:
            if not self._items:
                self._changed.wait(timeout)
            if not self._items:
                return None
            self._taken = True
            return self._items[0]

    def wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def done(self) -> None:
        with self._changed:
            if self._taken and self._items:  # empty if it was closed meanwhile
                self._items.popleft()
            self._taken = False

    def __len__(self) -> int:
        return len(self._items)

    def close(self) -> None:
        """Drop and count the remaining items."""
        with self._changed:
            self.lost += len(self._items)
            self._items.clear()


class DiskQueue:
    """A queue of events in an SQLite file; it survives a killed process, and belongs to one process at a time.

    Args:
        path: the file, readable by this user only; its folder is created if it does not exist.
        capacity: maximum number of waiting events.

    Raises:
        OutputError: the file cannot be opened, or another process uses it. ``put`` raises it when the disk is full.
    """

    def __init__(self, path: str | os.PathLike[str], capacity: int = 100_000) -> None:
        self.lost = 0
        self._path = Path(path)
        self._capacity = capacity
        self._changed = threading.Condition()
        self._taken = self._done = self._forgotten = -1
        with self._reported():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            create_file(self._path, 0o600)
            self._database = sqlite3.connect(self._path, timeout=0.5, isolation_level=None, check_same_thread=False)
            with closed_on_error(self._database):
                for statement in _OPENING:
                    self._database.execute(statement)
                (self._count,) = self._database.execute("SELECT count(*) FROM queue").fetchone()

    def put(self, item: Event, *, taken: bool = False) -> None:
        """Append an event; ``taken``: it is the first one, and has already been taken elsewhere."""
        with self._changed, self._reported():
            self._forget()
            if self._count >= self._capacity:
                first = "SELECT min(seq) FROM queue WHERE seq > ?"
                self._database.execute(f"DELETE FROM queue WHERE seq = ({first})", (max(self._taken, self._done),))
                self._count -= 1
                self.lost += 1
            added = self._database.execute("INSERT INTO queue (event) VALUES (?)", (item.pack(),))
            self._count += 1
            if taken:
                self._taken = added.lastrowid or -1
            self._changed.notify()

    def take(self, timeout: float) -> Event | None:
        with self._changed:
            if not self._count:
                self._changed.wait(timeout)
            if not self._count:
                return None
            with self._reported():
                query = "SELECT seq, event FROM queue WHERE seq > ? ORDER BY seq LIMIT 1"
                self._taken, text = self._database.execute(query, (self._done,)).fetchone()
            try:
                return Event.unpack(text)
            except ValueError:
                self.lost += 1
        self.done()
        return None

    def wake(self) -> None:
        with self._changed:
            self._changed.notify()

    def done(self) -> None:
        with self._changed:
            self._done, self._taken = self._taken, -1
            self._count -= 1
            self._forget()

    def __len__(self) -> int:
        return int(self._count)

    def close(self) -> None:
        with self._changed:
            self._forget()
            self._database.close()

    def _forget(self) -> None:
        """Delete what is done. If even that fails on a full disk, a later call tries again."""
        if self._forgotten < self._done:
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("DELETE FROM queue WHERE seq <= ?", (self._done,))
                self._forgotten = self._done

    def _reported(self) -> contextlib.AbstractContextManager[None]:
        hint = "Free some space or choose another file; two processes cannot share one."
        return output_errors(self._path, "a writable queue file", hint)
