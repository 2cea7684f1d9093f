"""Image features in 8 bits, in files of a fixed number of rows, and their products with a vector."""

from __future__ import annotations

import errno
import hashlib
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..._util.cores import available_cores

ROWS = 16384
"""Rows per file: 21 MB of 1280 features."""
_FILE = re.compile(r"[0-9a-f]{16}-[0-9]+/[0-9]+")
_BLOCK = 256
"""Rows expanded at once: they stay in a core's cache."""


class FeatureFiles:
    """The features of the moments of a store, by their numbers. A row that was never written, or was cleared, is zero.

    Each space (a name of features, and their number) has a folder of its own.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def write(self, space: str, number: int, features: NDArray[np.float32]) -> None:
        """Write the features (D,) of a moment. Raises OSError."""
        values = np.rint(features * (127 / (float(np.abs(features).max()) or 1.0)))
        # of their length, so that the product of unit vectors stays a cosine
        scale = float(np.linalg.norm(features)) / (float(np.linalg.norm(values)) or 1.0) or 1.0
        row = np.zeros((), _row(len(features)))
        row["values"] = values
        row["scale"] = scale
        path = self._folder / _name(space, len(features)) / f"{number // ROWS}.i8"
        for folder in (self._folder, path.parent):
            folder.mkdir(mode=0o700, exist_ok=True)
        _put(path, number, row.tobytes())

    def read(self, space: str, number: int) -> NDArray[np.float32] | None:
        """The features (D,) of a moment; None: it has none."""
        for path in self._folder.glob(f"{_name(space, '*')}/{number // ROWS}.i8"):
            row = _read(path)[number % ROWS :][:1]
            if row["scale"].any():
                return np.asarray(row["values"][0] * row["scale"])
        return None

    def clear(self, numbers: list[int]) -> None:
        """Overwrite the features of moments with zeros; a file of which nothing is left is removed."""
        for path in self._files():
            in_file = [number for number in numbers if number // ROWS == int(path.stem)]
            for number in in_file:
                _put(path, number, bytes(_row(_width(path)).itemsize))
            if in_file and not _read(path)["scale"].any():
                path.unlink()

    def size(self) -> int:
        """The bytes of all files on disk."""
        return sum(path.stat().st_blocks * 512 for path in self._files())

    def _files(self) -> list[Path]:
        """All files; what others put there is not read, and stays."""
        return [
            path
            for path in self._folder.glob("*/*.i8")
            if _FILE.fullmatch(f"{path.parent.name}/{path.stem}")
        ]

    def products(
        self, space: str, vector: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The numbers of all moments of a space, and the products of their features with a vector (D,)."""
        paths = sorted(
            path for path in self._files() if path.parent.name == _name(space, len(vector))
        )
        with ThreadPoolExecutor(available_cores()) as pool:
            products = list(pool.map(lambda path: _products(path, vector), paths))
        numbers = [np.zeros(0, np.int64), *(rows for rows, _ in products)]
        return np.concatenate(numbers), np.concatenate(
            [np.zeros(0, np.float32), *(values for _, values in products)]
        )


def _products(
    path: Path, vector: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    rows = _read(path)
    values = rows["values"]
    scales = np.array(rows["scale"])
    products = np.empty(len(rows), np.float32)
    block = np.empty((_BLOCK, len(vector)), np.float32)
    for start in range(0, len(rows), _BLOCK):
        part = values[start : start + _BLOCK]
        np.copyto(block[: len(part)], part)
        np.dot(block[: len(part)], vector, out=products[start : start + len(part)])
    written = np.flatnonzero(scales)
    return ROWS * int(path.stem) + written, (products * scales)[written]


def _row(width: int) -> np.dtype[Any]:
    return np.dtype([("values", np.int8, (width,)), ("scale", "<f4")])


def _width(path: Path) -> int:
    return int(path.parent.name.rpartition("-")[2])


def _read(path: Path) -> NDArray[Any]:
    kind = _row(_width(path))
    rows = path.stat().st_size // kind.itemsize
    # a full disk leaves an empty file
    return np.memmap(path, kind, "r", shape=(rows,)) if rows else np.zeros(0, kind)


def _put(path: Path, number: int, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        if os.pwrite(descriptor, data, number % ROWS * len(data)) < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(descriptor)


def _name(space: str, width: int | str) -> str:
    return f"{hashlib.sha256(space.encode()).hexdigest()[:16]}-{width}"
