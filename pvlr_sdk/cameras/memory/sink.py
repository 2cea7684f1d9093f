"""The sink that writes the memory of a site, in its own thread, and its section of the configuration."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import Field

from ... import errors
from ..sinks import MemoryQueue, Sink, SinkWorker
from ..sinks.disk import output_errors
from ..sinks.settings import ConfigPath, Positive, Section
from .reader import ASIDE, FILE
from .recorder import Recorded
from .store import Store

T = TypeVar("T")
_LOG = logging.getLogger(__name__)
_WAITING = 256
"""Chunks, moments and events that wait while the disk does not accept them: 30 MB."""


class MemoryConfig(Section):
    """What a site remembers of its events.

    Attributes:
        folder: with nothing else in it.
        max_mb, max_days: limits; the oldest is deleted.
        floor: scores at or above it, or a label's lower threshold, are kept with all their bits; 0: all scores,
            for replay with any settings.
        samples_per_hour: frames per camera, or region, and kind (uncertain, new, random) in addition to events.
        precision: by label, the share of events that are to be right: its threshold follows the answers.
    """

    folder: ConfigPath
    max_mb: Positive = 2000.0
    max_days: Positive = 30.0
    floor: Annotated[float, Field(ge=0, le=1)] = 0.4
    samples_per_hour: Annotated[int, Field(ge=0, le=720)] = 4
    precision: dict[str, Annotated[float, Field(ge=0.5, le=0.999)]] = Field(default_factory=dict)

    def open(self) -> SinkWorker[Recorded]:
        """Start to write. Raises OutputError if another process records to the folder or it is a file, OptionError if a
        newer version did; a disk that is full or read-only is tried again, while events go on."""
        return SinkWorker(MemorySink(self), MemoryQueue(_WAITING))


class MemorySink(Sink[Recorded]):
    """Writes chunks, moments and events to the store, which it opens again after a failure.

    A damaged store is set aside, with a warning, and a new one is begun.
    """

    def __init__(self, config: MemoryConfig) -> None:
        self.name = f"memory {config.folder}"
        self._config = config
        self._lock: int | None = None
        self._store: Store | None = None
        try:
            self._intact(lambda: self._opened())
        except errors.OutputError as error:
            # the second: it is a file
            if isinstance(error.__cause__, (BlockingIOError, FileExistsError)):
                raise
            _LOG.warning("%s: %s", self.name, error)

    def write(self, item: Recorded) -> None:
        """Store one item. After an OutputError (no space, read-only) nothing has changed."""
        try:
            self._intact(lambda: self._opened().write(item))
        except errors.OutputError:
            self._close_store()
            raise
        try:
            self._intact(
                lambda: self._opened().trim(int(1e6 * self._config.max_mb), self._config.max_days)
            )
        except errors.PvlrError as error:  # what was to be stored is
            _LOG.warning("%s: %s", self.name, error)

    def close(self) -> None:
        """Close the file, and let other processes record."""
        self._close_store()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _opened(self) -> Store:
        folder = self._config.folder
        if self._lock is None:
            hint = "Check permissions and space; give each process a folder of its own."
            with output_errors(folder, "a folder for the memory of one process", hint):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError as error:
                    os.close(lock)
                    if isinstance(error, BlockingIOError):
                        raise BlockingIOError(
                            error.errno, "one to which another process records"
                        ) from None
                    raise
            self._lock = lock
        self._store = self._store or Store(folder, write=True)
        return self._store

    def _intact(self, work: Callable[[], T]) -> T:
        """The result of work with the store, with a new store if the present one turns out to be damaged."""
        try:
            return work()
        except (
            sqlite3.DatabaseError,
            UnicodeDecodeError,
        ) as error:  # the second: SQLite quotes damaged bytes
            self._close_store()
            aside = _set_aside(self._config.folder)
            _LOG.warning(
                "%s: damaged (%s); it is now in %s, and a new one begins", self.name, error, aside
            )
            return work()

    def _close_store(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None


def _set_aside(folder: Path) -> Path:
    """Move a store to a folder in its own, instead of one that was there before."""
    aside = folder / ASIDE
    with output_errors(aside, "a folder for a damaged store"):
        if aside.is_symlink() or aside.is_file():
            aside.unlink()
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700, exist_ok=True)
        for name in (f"{FILE}-wal", f"{FILE}-shm", "features", FILE):
            if (folder / name).exists():
                os.replace(folder / name, aside / name)
    return aside
