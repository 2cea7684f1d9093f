"""What sinks on disk share: errors that name the file, private files, and folders of a limited size."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from .. import errors

FILE_MODE = 0o640
"""Events are for this user and its group, not for everyone; less the umask."""
FOLDER_MODE = 0o750

_MAYBE_UNWRITTEN = 20
"""Number of files recorded last that another process may still be about to write."""


@contextlib.contextmanager
def closed_on_error(database: sqlite3.Connection) -> Iterator[None]:
    """Close a database if it cannot be set up: a later attempt would find it locked by this one."""
    try:
        yield
    except BaseException:
        database.close()
        raise


@contextlib.contextmanager
def output_errors(path: Path, expected: str, hint: str = "Free some space or choose another path.") -> Iterator[None]:
    """Turn errors of the system and of SQLite into OutputError, which is an OSError."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        got = getattr(error, "strerror", None) or str(error)
        raise errors.OutputError(str(path), expected=expected, got=got, hint=hint) from error


def create_file(path: Path, mode: int = FILE_MODE) -> None:
    """Create an empty file and its folders, unless they exist; an existing file keeps its mode."""
    path.parent.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    # An existing file is not opened: closing it would release the locks that SQLite holds on it in this process.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))


def append(path: Path, data: bytes) -> None:
    """Append to a file: all of the data, or none if the disk is full. The file is opened each time, because it may have
    been moved. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, FILE_MODE)
    try:
        size = os.fstat(descriptor).st_size
        try:
            if os.write(descriptor, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            os.ftruncate(descriptor, size)
            raise
    finally:
        os.close(descriptor)


class Retention:
    """Keeps the files that sinks have written to a folder below a size; no other file is ever deleted.

    Each file is recorded in ``.pvlr-files.sqlite`` in the folder before it is written. Deleted are only regular files
    that are recorded, have a name of the sink's own form, and are in the folder itself or in a real subfolder of it:
    no link is followed. Files of a process that was killed, or of another process, are recorded all the same.

    Args:
        folder: created if it does not exist.
        pattern: a regular expression for the whole name, relative to the folder, with at most one ``/``.
        max_bytes: limit for all recorded files; the one recorded last always stays, because it may still be written.

    Raises:
        OutputError: the record cannot be opened or written.
    """

    RECORD = ".pvlr-files.sqlite"

    def __init__(self, folder: Path, pattern: str, max_bytes: int) -> None:
        self._folder = folder
        self._pattern = re.compile(pattern)
        self._max_bytes = max_bytes
        self._path = folder / self.RECORD

    def add(self, path: Path) -> None:
        """Record a file that is about to be written below the folder."""
        name = path.relative_to(self._folder).as_posix()
        if self._pattern.fullmatch(name):
            with self._record() as record:
                record.execute("INSERT OR REPLACE INTO files (name) VALUES (?)", (name,))

    def trim(self) -> None:
        """Delete the files recorded first until the rest is below the limit. A file that cannot be deleted stays."""
        with self._record() as record:
            names = [name for (name,) in record.execute("SELECT name FROM files ORDER BY number DESC")]
            total, gone = 0, []
            for index, name in enumerate(names):
                size = self._size(name)
                total += size or 0
                missing = size is None and index >= _MAYBE_UNWRITTEN
                if missing or (index and size and total > self._max_bytes and self._delete(name)):
                    gone.append((name,))
            record.executemany("DELETE FROM files WHERE name = ?", gone)

    @contextlib.contextmanager
    def _record(self) -> Iterator[sqlite3.Connection]:
        # Opened for each use: a file every few seconds at most, and several processes may share a folder.
        with output_errors(self._path, "a writable record of files"):
            create_file(self._path)
            with contextlib.closing(sqlite3.connect(self._path, timeout=5.0)) as record, record:
                record.execute(
                    "CREATE TABLE IF NOT EXISTS files (number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT UNIQUE)"
                )
                yield record

    def _size(self, name: str) -> int | None:
        """The size of a file; None if there is none of this form at this place any more."""
        if not self._pattern.fullmatch(name):
            return None
        try:
            with self._opened(name) as (parent, base):
                state = os.stat(base, dir_fd=parent, follow_symlinks=False)
        except OSError:
            return None
        return state.st_size if stat.S_ISREG(state.st_mode) else None

    def _delete(self, name: str) -> bool:
        try:
            with self._opened(name) as (parent, base):
                os.unlink(base, dir_fd=parent)
        except OSError:
            return False
        return True

    @contextlib.contextmanager
    def _opened(self, name: str) -> Iterator[tuple[int, str]]:
        """The folder of a file as a descriptor, which no link can redirect any more, and its name there."""
        below, _, base = name.rpartition("/")
        root = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)  # the user's own choice, even if it is a link
        try:
            parent = os.open(below or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
            try:
                yield parent, base
            finally:
                os.close(parent)
        finally:
            os.close(root)
