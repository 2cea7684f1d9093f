"""What waits for a sink: in memory, or on the disk where it survives the process."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from .. import errors
from ..events import Event

T = TypeVar("T")


_OPENING = (
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA wal_autocheckpoint = 32",  # pages: a queue is small, its journal shall be too
    "CREATE TABLE IF NOT EXISTS queue (seq INTEGER PRIMARY KEY AUTOINCREMENT, event TEXT NOT NULL)",
)


class Queue(Protocol[T]):
    """First in, first out, bounded: when it is full the oldest waiting item is given up and counted.

    Any thread may ``put``; one thread takes. What was taken stays the first in line until it is ``done``.
    """

    lost: int

    def put(self, item: T) -> None:
        """Add an item at the end; never waits for room."""

    def take(self, timeout: float) -> T | None:
        """The first item; None if there is none for ``timeout`` seconds, or until :meth:`wake`."""

    def wake(self) -> None:
        """Let a ``take`` that waits return."""

    def done(self) -> None:
        """Forget the item that was taken."""

    def __len__(self) -> int: ...

    def close(self) -> None:
        """Free what it holds. What is on the disk stays there for the next time."""


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
            if self._taken and self._items:  # else it was closed meanwhile
                self._items.popleft()
            self._taken = False

    def __len__(self) -> int:
        return len(self._items)

    def close(self) -> None:
        """Give up what is left, counted."""
        with self._changed:
            self.lost += len(self._items)
            self._items.clear()


class DiskQueue:
    """A queue of events in an SQLite file; it survives a killed process, and belongs to one process at a time.

    Args:
        path: the file; its folder is made if need be. Only this user may read it.
        capacity: the most events that wait.

    Raises:
        OutputError: the file can't be opened, or another process uses it. ``put`` raises it when the disk is full.
    """

    def __init__(self, path: str | os.PathLike[str], capacity: int = 100_000) -> None:
        self.lost = 0
        self._path = Path(path)
        self._capacity = capacity
        self._changed = threading.Condition()
        self._taken = self._done = self._forgotten = -1
        with self._reported():
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            self._database = sqlite3.connect(self._path, timeout=0.5, isolation_level=None, check_same_thread=False)
            for statement in _OPENING:
                self._database.execute(statement)
            (self._count,) = self._database.execute("SELECT count(*) FROM queue").fetchone()

    def put(self, item: Event) -> None:
        with self._changed, self._reported():
            self._forget()
            if self._count >= self._capacity:
                first = "SELECT min(seq) FROM queue WHERE seq > ?"
                self._database.execute(f"DELETE FROM queue WHERE seq = ({first})", (max(self._taken, self._done),))
                self._count -= 1
                self.lost += 1
            self._database.execute("INSERT INTO queue (event) VALUES (?)", (item.pack(),))
            self._count += 1
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
        """Delete what is done. A full disk can't even do that: then it is tried again later."""
        if self._forgotten < self._done:
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("DELETE FROM queue WHERE seq <= ?", (self._done,))
                self._forgotten = self._done

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise errors.OutputError(
                str(self._path),
                expected="a file for the events that wait",
                got=str(error),
                hint="Free some space or name another file; two processes can't share one.",
            ) from error
