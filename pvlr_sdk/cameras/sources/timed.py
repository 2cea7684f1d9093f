"""Frames with times: a folder of images whose ``labels.csv`` has the columns ``file`` and ``time``."""

from __future__ import annotations

import csv
import io
import math
from pathlib import Path

from ... import errors
from ..._util.files import read_file

TABLE = "labels.csv"
_MAX_BYTES = 1 << 28
_HINT = "Write a row per frame: its file, and its time in seconds, in the order of time."


def read_times(folder: Path) -> dict[str, float] | None:
    """Seconds since the first frame by the file of each frame, in the order of time; None: the frames have no times.

    Raises:
        SourceOpenError: the table cannot be read or has no rows, a time is not a number, is negative or not after the
            one before, or a frame is there twice or missing.
    """
    path = folder / TABLE
    try:
        table = csv.DictReader(io.StringIO(read_file(path, _MAX_BYTES).decode("utf-8-sig")))
        if not {"file", "time"} <= set(table.fieldnames or ()):
            return None
        rows = [(table.line_num, row["file"], row["time"]) for row in table]
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _wrong(path, "a CSV file in UTF-8", str(error)) from None
    times: dict[str, float] = {}
    last = -1.0
    for line, file, text in rows:
        seconds = _seconds(text)
        if seconds is None:
            raise _wrong(path, "seconds, 0 or more", f"{text!r} in line {line}")
        if seconds <= last:
            raise _wrong(
                path,
                f"a time after {last:g} s, that of the frame before",
                f"{seconds:g} s in line {line}",
            )
        if not file or file in times:
            raise _wrong(
                path,
                "a file for each frame",
                f"{file!r} twice" if file else f"none in line {line}",
            )
        if not (folder / file).is_file():
            raise _wrong(path, f"the frame {file!r} of line {line}", "no such file")
        times[file] = last = seconds
    if not times:
        raise _wrong(path, "at least one frame", "none")
    first = next(iter(times.values()))
    return {file: seconds - first for file, seconds in times.items()}


def _seconds(text: str | None) -> float | None:
    """The time in a cell; None: it is none."""
    try:
        seconds = float(text or "")
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def _wrong(path: Path, expected: str, got: str) -> errors.SourceOpenError:
    return errors.SourceOpenError(str(path), expected, got, _HINT)
