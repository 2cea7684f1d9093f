"""Compiled networks on disk, so that the second start is fast.

A cached network is code: a user who can write it controls what this process runs. So the folder must belong to
this user and be closed to all other users; otherwise there is no cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from .. import errors
from .._util.files import write_files

_KEEP = {"blob": 16, "labels": 16, "loaded": 256}
"""Number of entries of each kind: compiled networks, of which a plan has up to three (for latency, and for throughput
with one and with two frames); the parts of open ones that read labels; and marks of plans that passed their isolated
load."""
_DIGEST = hashlib.sha256().digest_size


def cache_folder() -> Path | None:
    """``$PVLR_CACHE_DIR``, else ``pvlr_sdk/openvino`` in ``$XDG_CACHE_HOME`` or ``~/.cache``; None if it is unsafe.

    It is created if necessary, private to this user. An empty ``PVLR_CACHE_DIR`` turns the cache off.
    """
    setting = os.environ.get("PVLR_CACHE_DIR")
    if setting == "":
        return None
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = Path(setting) if setting else base / "pvlr_sdk" / "openvino"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        return folder if _is_private(folder.lstat(), stat.S_ISDIR) else None
    except (OSError, RuntimeError):  # RuntimeError: no home folder
        return None


def load(folder: Path, key: str, kind: str = "blob") -> bytes | None:
    """The bytes stored under ``key``; None if there are none, or if they are damaged or owned by another user."""
    try:
        descriptor = os.open(_path(folder, key, kind), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not _is_private(os.fstat(descriptor), stat.S_ISREG):
                return None
            digest = file.read(_DIGEST)
            data = file.read()
    except OSError:
        return None
    return data if hashlib.sha256(data).digest() == digest else None


def store(folder: Path, key: str, data: bytes, kind: str = "blob") -> None:
    """Store ``data`` under ``key`` and drop the oldest entries of its kind; a full disk is not an error."""
    path = _path(folder, key, kind)
    with contextlib.suppress(errors.OutputError, OSError):
        write_files({path: hashlib.sha256(data).digest() + data}, private=True)
        entries = sorted(
            folder.glob(f"*.{kind}"), key=lambda entry: entry.stat().st_mtime, reverse=True
        )
        for entry in entries[_KEEP[kind] :]:
            entry.unlink(missing_ok=True)


def _path(folder: Path, key: str, kind: str) -> Path:
    return folder / f"{key}.{kind}"


def _is_private(status: os.stat_result, right_kind: Callable[[int], bool]) -> bool:
    if not right_kind(status.st_mode):
        return False
    if not hasattr(os, "getuid"):  # Windows: the profile folder is private to the user
        return True
    return status.st_uid == os.getuid() and not status.st_mode & 0o077
