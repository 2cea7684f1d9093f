"""Compiled networks on disk, so that the second start is fast.

A cached network is as good as code: whoever can write it decides what runs here. So the folder must belong to this
user and be closed to all others; otherwise we go on without it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections.abc import Callable
from pathlib import Path

from .. import errors
from ..files import write_files

_KEEP = 16  # a plan has up to three: tuned for latency, and for throughput one by one and by two
_DIGEST = hashlib.sha256().digest_size


def cache_folder() -> Path | None:
    """``$PVLR_CACHE_DIR``, else ``pvlr_sdk/openvino`` in ``$XDG_CACHE_HOME`` or ``~/.cache``; None if it is not safe.

    It is created, private to this user, if it isn't there. An empty ``PVLR_CACHE_DIR`` turns the cache off.
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


def load(folder: Path, key: str) -> bytes | None:
    """The bytes stored under ``key``; None if there are none, or if they are damaged or somebody else's."""
    try:
        descriptor = os.open(_path(folder, key), os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0))
        with os.fdopen(descriptor, "rb") as file:
            if not _is_private(os.fstat(descriptor), stat.S_ISREG):
                return None
            digest, data = file.read(_DIGEST), file.read()
    except OSError:
        return None
    return data if hashlib.sha256(data).digest() == digest else None


def store(folder: Path, key: str, data: bytes) -> None:
    """Keep ``data`` under ``key`` and drop the oldest entries; a full disk is no error."""
    path = _path(folder, key)
    with contextlib.suppress(errors.OutputError, OSError):
        write_files({path: hashlib.sha256(data).digest() + data}, private=True)
        entries = sorted(folder.glob("*.blob"), key=lambda entry: entry.stat().st_mtime, reverse=True)
        for entry in entries[_KEEP:]:
            entry.unlink(missing_ok=True)


def _path(folder: Path, key: str) -> Path:
    return folder / f"{key}.blob"


def _is_private(status: os.stat_result, right_kind: Callable[[int], bool]) -> bool:
    if not right_kind(status.st_mode):
        return False
    if not hasattr(os, "getuid"):  # Windows: the profile folder is the user's own
        return True
    return status.st_uid == os.getuid() and not status.st_mode & 0o077
