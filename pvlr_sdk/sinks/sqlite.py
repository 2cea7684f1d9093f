"""Events as rows of an SQLite database."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from .. import errors
from ..events import Event, rfc3339

_TABLE = """
CREATE TABLE IF NOT EXISTS events (
    id TEXT PRIMARY KEY,
    camera TEXT NOT NULL,
    label TEXT NOT NULL,
    start_time TEXT NOT NULL,
    end_time TEXT,
    duration REAL,
    peak REAL NOT NULL,
    peak_time TEXT NOT NULL,
    reason TEXT,
    snapshot TEXT,
    CHECK ((end_time IS NULL) = (reason IS NULL) AND (end_time IS NULL) = (duration IS NULL))
) WITHOUT ROWID
"""
_INDEX = "CREATE INDEX IF NOT EXISTS events_by_start ON events (start_time)"
_UPSERT = """
INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    end_time = excluded.end_time, duration = excluded.duration, peak = excluded.peak, peak_time = excluded.peak_time,
    reason = excluded.reason
"""


class SqliteSink:
    """Keeps one row for each event in the table ``events``: written when it begins, completed when it ends.

    ``end_time``, ``duration`` and ``reason`` are NULL while an event is on, and stay so if the process is killed. Each
    write is one transaction in write-ahead mode: a process killed at any moment leaves whole rows only, and others can
    read at any time. Times are RFC 3339 texts in UTC, which sort.

    Raises:
        OutputError: the file can't be opened, or is no SQLite database.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"sqlite {path}"
        self._path = path
        with self._reported():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(_TABLE)
            self._database.execute(_INDEX)

    def write(self, item: Event) -> None:
        """Insert or complete the event's row.

        Raises:
            OutputError: no space, or somebody else has locked the file for 5 seconds; nothing was changed.
        """
        row = (
            item.id,
            item.camera,
            item.label,
            rfc3339(item.start),
            rfc3339(item.end) if item.end is not None else None,
            round(item.end - item.start, 3) if item.end is not None else None,
            round(item.peak, 4),
            rfc3339(item.peak_time),
            item.reason,
            item.snapshot,
        )
        with self._reported():
            self._database.execute(_UPSERT, row)

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise errors.OutputError(
                str(self._path),
                expected="an SQLite file to write events to",
                got=str(error),
                hint="Free some space or choose another file.",
            ) from error
