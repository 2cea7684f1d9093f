"""Folders that only grow fill any disk: the oldest files make room."""

from __future__ import annotations

import contextlib
from pathlib import Path


def trim(folder: Path, pattern: str, most: int) -> None:
    """Delete the oldest files that match ``pattern`` until the rest has at most ``most`` bytes together.

    The newest one always stays, it may still be written. Files that vanish meanwhile or can't be deleted are left out.
    """
    files = []
    for path in folder.glob(pattern):
        try:
            state = path.stat()
        except OSError:
            continue
        files.append((state.st_mtime_ns, state.st_size, path))
    files.sort(reverse=True)
    total = 0
    for index, (_, size, path) in enumerate(files):
        total += size
        if index and total > most:
            with contextlib.suppress(OSError):
                path.unlink()
