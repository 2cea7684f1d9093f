"""The text files of the official data sets."""

from __future__ import annotations

from pathlib import Path

from pvlr_sdk.errors import LabelsFileError


def read_text(path: Path) -> str:
    """A file's text.

    Raises:
        LabelsFileError: it is missing, unreadable or no UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        got = error.strerror or str(error)
    except UnicodeDecodeError as error:
        got = f"other bytes ({error.reason})"
    raise wrong(path, "a text file of the data set", got, "Check the path and unpack the official archive again.")


def read_lines(path: Path) -> list[str]:
    """A file's lines, stripped, without the empty ones; errors as :func:`read_text`."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]


def wrong(path: Path, expected: str, got: str, hint: str) -> LabelsFileError:
    """The error about a file of a data set."""
    return LabelsFileError(str(path), expected=expected, got=got, hint=hint)
