"""Reading the text files of the official data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk.workshop.evaluation.annotations import read_text

Rows = list[tuple[Path, NDArray[np.int8]]]
"""Images and their targets (C,)."""


def read_lines(path: Path) -> list[str]:
    """The non-empty lines of a file, stripped; raises LabelsFileError as :func:`read_text`."""
    return [line.strip() for line in read_text(path).splitlines() if line.strip()]
