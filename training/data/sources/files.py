"""Reading the text files of the official data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk.evaluation.label_formats import wrong

Rows = list[tuple[Path, NDArray[np.int8]]]
"""Images and their targets (C,)."""


def read_text(path: Path) -> str:
    """A file's text.

    Raises:
        LabelsFileError: the file is missing, unreadable or not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        got = error.strerror or str(error)
    except UnicodeDecodeError as error:
        got = f"other bytes ({error.reason})"
    raise wrong(path, "a text file of the data set", got, "Check the path and unpack the official archive again.")


def read_lines(path: Path) -> list[str]:
    """The non-empty lines of a file, stripped; errors as :func:`read_text`."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]
