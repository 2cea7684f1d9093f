"""Reads files within limits, and writes them atomically: a full disk or a crash never leaves a partial file."""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from .. import errors

_ABANDONED = 60.0
"""Seconds without a change after which a temporary file has no writer any more: renaming it takes milliseconds."""


def read_file(path: str | os.PathLike[str], max_bytes: int) -> bytes:
    """The contents of a regular file of at most ``max_bytes`` bytes.

    For everything that comes from outside: a FIFO or a device never blocks or floods the process, and a file that
    claims to be huge, or grows while it is read, costs no memory beyond the limit.

    Raises:
        OSError: it cannot be read, is not a regular file (EINVAL) or is too large (EFBIG); ``strerror`` says which.
    """
    # With an opener open() closes the descriptor if it fails, as for a folder; it does not close one that it was given.
    with open(path, "rb", opener=_open_at_once) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "Not a regular file", os.fspath(path))
        # None: /proc/kmsg has no line
        data = (file.read(max_bytes + 1) or b"") if status.st_size <= max_bytes else b""
    if status.st_size > max_bytes or len(data) > max_bytes:
        raise OSError(errno.EFBIG, f"Larger than the limit of {max_bytes} bytes", os.fspath(path))
    return data


@contextmanager
def system_errors(
    kind: type[errors.PvlrError], argument: str, *, expected: str, hint: str
) -> Iterator[None]:
    """Raise ``kind``, with the system's reason, for an OSError in the block, and for a text or number that the system
    cannot take; errors of the SDK pass."""
    try:
        yield
    except (OSError, UnicodeError, OverflowError) as error:
        if isinstance(error, errors.PvlrError):
            raise
        raise kind(
            argument, expected, getattr(error, "strerror", None) or str(error), hint
        ) from None


def state_folder() -> Path:
    """Where files that outlive a process belong: the folder of systemd's ``StateDirectory=``, else this user's.

    Raises:
        OptionError: this user has no home folder.
    """
    if service := os.environ.get("STATE_DIRECTORY"):
        return Path(service.partition(":")[0])  # systemd joins several folders with colons
    try:
        base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state"
    except RuntimeError:
        raise errors.OptionError(
            "XDG_STATE_HOME",
            "a folder for queues and the versions of signed bundles",
            "no home folder",
            "Set it to a folder that this user can write.",
        ) from None
    return Path(base) / "pvlr_sdk"


def own_file(path: Path) -> Path | None:
    """The file behind a path's links, which others may replace; None unless it lies in the state folder, and only this
    user and root can write it and replace its folders."""
    try:
        file = path.resolve()
        state = state_folder().resolve()
        statuses = [
            path_above.stat() for path_above in (file, *file.parents) if path_above.exists()
        ]
    except (errors.OptionError, OSError, RuntimeError):
        return None
    # In a folder with the sticky bit, such as /tmp, nobody replaces what belongs to another user.
    writers = [
        (status.st_uid, status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX)
        for status in statuses
    ]
    ours = (0, os.geteuid()) if hasattr(os, "geteuid") else ()
    return (
        file
        if file.is_relative_to(state)
        and all(user in ours and not others for user, others in writers)
        else None
    )


def _open_at_once(path: str, flags: int) -> int:
    # Opening a FIFO without O_NONBLOCK waits for a writer; the flag has no effect on a regular file.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def write_files(contents: Mapping[Path, bytes], *, private: bool = False) -> None:
    """Write several files: all of them, or none if one cannot be written.

    Every file is complete on disk under a temporary name before the first is renamed. The renames follow the
    mapping's order, so put the file that refers to the others last; if one fails, the files before it get their old
    contents back. ``private`` files are readable only by this user.

    Raises:
        OutputError: no space, no permission, no such folder. Existing files are unchanged.
    """
    temporary: dict[Path, Path] = {}
    previous: dict[Path, Path] = {}
    try:
        for path, data in contents.items():
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary[path] = _temporary_name(path)
            _write(temporary[path], data, private)
        # a single rename changes nothing if it fails
        for path in contents if len(contents) > 1 else ():
            if os.path.lexists(path):
                previous[path] = _temporary_name(path)
                _keep(path, previous[path])
        try:
            for path, source in temporary.items():
                os.replace(source, path)
        except BaseException:
            for changed in contents if len(contents) > 1 else ():
                with suppress(OSError):
                    if changed in previous:
                        os.replace(previous[changed], changed)
                    else:
                        changed.unlink()
            raise
    except OSError as error:
        raise errors.OutputError(
            str(path),
            "a writable path",
            error.strerror or str(error),
            "Free some space, check permissions, or choose another folder; nothing was changed.",
        ) from error
    finally:
        for source in (*temporary.values(), *previous.values()):
            with suppress(OSError):  # it was renamed, or the file system is read-only
                source.unlink()


def write_folder(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the files of a new folder, by their paths in it; it appears when it is complete.

    Raises:
        OutputError: no space, no permission, or a folder with files is there.
    """
    temporary = _temporary_name(folder)
    try:
        write_files({temporary / name: data for name, data in contents.items()})
        with system_errors(
            errors.OutputError,
            str(folder),
            expected="a writable folder",
            hint="Nothing was changed.",
        ):
            os.rename(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files that writers of a file left when they were killed."""
    for left in path.parent.glob(f".{glob.escape(path.name[:50])}.{'[0-9a-f]' * 12}.tmp"):
        with suppress(OSError):
            if left.lstat().st_ctime < time.time() - _ABANDONED:
                left.unlink()


def _keep(path: Path, kept: Path) -> None:
    """Give a file a second name, under which it outlives its replacement."""
    try:
        os.link(path, kept, follow_symlinks=False)
    except OSError:  # a file system without hard links, such as that of an SD card
        shutil.copy2(path, kept, follow_symlinks=False)


def _temporary_name(path: Path) -> Path:
    # A part of the name: with all of it, this one would be too long where the file's own is just short enough.
    return path.with_name(f".{path.name[:50]}.{secrets.token_hex(6)}.tmp")


def _write(path: Path, data: bytes, private: bool) -> None:
    mode = 0o600 if private else 0o666  # less this user's umask
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
