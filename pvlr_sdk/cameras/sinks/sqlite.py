"""Events as rows of an SQLite database."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Literal

from ..events import Event, rfc3339
from .disk import closed_on_error, create_file, output_errors
from .queues import MemoryQueue
from .settings import ConfigPath, EventSinkSettings
from .worker import Sink, SinkWorker, SiteStatus

_EXPECTED = "an SQLite file to write events to"
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
    region TEXT,
    CHECK ((end_time IS NULL) = (reason IS NULL) AND (end_time IS NULL) = (duration IS NULL))
) WITHOUT ROWID
"""
_REGION = "SELECT 1 FROM pragma_table_info('events') WHERE name = 'region'"
_INDEX = "CREATE INDEX IF NOT EXISTS events_by_start ON events (start_time)"
_UPSERT = """
INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO UPDATE SET
    end_time = excluded.end_time, duration = excluded.duration, peak = excluded.peak, peak_time = excluded.peak_time,
    reason = excluded.reason
"""


class SqliteSettings(EventSinkSettings):
    """One row per event in the table ``events`` of an SQLite file."""

    kind: Literal["sqlite"] = "sqlite"
    path: ConfigPath

    def open(self, site: SiteStatus) -> SinkWorker[Event]:
        return SinkWorker(SqliteSink(self.path), MemoryQueue[Event]())


class SqliteSink(Sink[Event]):
    """Keeps one row per event in the table ``events``: inserted when it begins, completed when it ends.

    ``end_time``, ``duration`` and ``reason`` are NULL while an event is on, and stay NULL if the process is killed.
    Each write is one transaction in write-ahead mode: a killed process leaves complete rows only, and others can read
    at any time. Times are RFC 3339 strings in UTC, which sort.

    Raises:
        OutputError: the file cannot be opened, or is not an SQLite database.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"sqlite {path}"
        self._path = path
        with output_errors(path, _EXPECTED):
            create_file(path)  # SQLite gives its journal the same mode
            self._database = sqlite3.connect(
                path, timeout=5.0, isolation_level=None, check_same_thread=False
            )
            with closed_on_error(self._database):
                for statement in (
                    "PRAGMA journal_mode = WAL",
                    "PRAGMA synchronous = NORMAL",
                    _TABLE,
                    _INDEX,
                ):
                    self._database.execute(statement)
                if not self._database.execute(
                    _REGION
                ).fetchone():  # a file from before there were regions
                    self._database.execute("ALTER TABLE events ADD COLUMN region TEXT")

    def write(self, item: Event) -> None:
        """Insert or complete the event's row. After an OutputError (no space, locked for 5 s) nothing has changed."""
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
            item.region,
        )
        with output_errors(self._path, _EXPECTED):
            self._database.execute(_UPSERT, row)

    def close(self) -> None:
        self._database.close()
