"""Writing files so that a full disk or a crash never leaves half a file behind."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from . import errors


def write_files(contents: Mapping[Path, bytes], *, private: bool = False) -> None:
    """Write several files: all of them, or, when one can't be written, none.

    Every file is complete on the disk under a temporary name before the first one gets its own. The renames happen
    in the mapping's order, so put the file that refers to the others last. ``private`` ones only this user can read.

    Raises:
        OutputError: no space, no permission, no such folder. What was there before is untouched.
    """
    temporary: dict[Path, Path] = {}
    try:
        for path, data in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary[path] = _write_temporary(path, data, private)
        for path, source in temporary.items():
            os.replace(source, path)
    except OSError as error:
        raise errors.OutputError(
            str(path),
            expected="a place to write to",
            got=error.strerror or str(error),
            hint="Free some space or choose another folder; nothing was changed.",
        ) from error
    finally:
        for source in temporary.values():
            source.unlink(missing_ok=True)


def _write_temporary(path: Path, data: bytes, private: bool) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    mode = 0o600 if private else 0o666  # less this user's umask
    try:
        with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return temporary
