"""What sinks on disk share: errors that name the file, private files, and a folder whose oldest files make room."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path

from ... import errors

FILE_MODE = 0o640
"""Events are for this user and its group, not for everyone; less the umask."""
FOLDER_MODE = 0o750

_MARKER = ".created-by-pvlr"


@contextlib.contextmanager
def closed_on_error(database: sqlite3.Connection) -> Iterator[None]:
    """Close a database if it cannot be set up: a later attempt would find it locked by this one."""
    try:
        yield
    except BaseException:
        database.close()
        raise


@contextlib.contextmanager
def output_errors(
    path: Path,
    expected: str,
    hint: str = "Free some space, check permissions, or choose another path.",
) -> Iterator[None]:
    """Turn errors of the system and of SQLite into OutputError, which is an OSError."""
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        raise errors.OutputError(
            str(path), expected, getattr(error, "strerror", None) or str(error), hint
        ) from error


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


def own_folder(parent: Path, expected: str) -> Path:
    """The folder ``pvlr`` in ``parent``, created if it does not exist. Only in it are files deleted: see :func:`trim`.

    Raises:
        OutputError: it cannot be created, or the SDK did not create it: it is a link, or has files but no marker.
    """
    folder = parent / "pvlr"
    with output_errors(folder, expected):
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        if not folder.is_symlink() and not any(folder.iterdir()):
            append(
                folder / _MARKER,
                b"pvlr deletes the oldest snapshots and videos in this folder when it is full.\n",
            )
    if not _is_own(folder):
        raise errors.OutputError(
            str(folder),
            expected,
            "a folder that pvlr did not create",
            "Rename it, or choose another folder for snapshots and video.",
        )
    return folder


def trim(folder: Path, form: str, max_bytes: int, keep: Path) -> None:
    """Delete the oldest files in an own folder until the others have at most ``max_bytes`` in all.

    Args:
        folder: as :func:`own_folder` returned it; if it was replaced since, nothing is deleted.
        form: a regular expression. Only regular files whose whole path, relative to the folder, matches it are counted
            and deleted; links are not followed.
        keep: a file that is not deleted.
    """
    if not _is_own(folder):
        return
    files = []
    for parent, _, names in os.walk(folder):
        for path in (Path(parent, name) for name in names):
            if re.fullmatch(form, path.relative_to(folder).as_posix()):
                with contextlib.suppress(OSError):
                    state = path.lstat()
                    if stat.S_ISREG(state.st_mode):
                        files.append((state.st_mtime_ns, path, state.st_size))
    excess = sum(size for *_, size in files) - max_bytes
    for _, path, size in sorted(files):
        if excess <= 0:
            return
        if path != keep:
            with contextlib.suppress(OSError):
                path.unlink()
                excess -= size


def _is_own(folder: Path) -> bool:
    return not folder.is_symlink() and (folder / _MARKER).is_file()
