"""Small images, and the rows of a dataset."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("pyarrow")
pytest.importorskip("fsspec")


def encoded(seed: int, suffix: str = ".jpg") -> bytes:
    """A small image, different for each seed."""
    pixels = np.random.default_rng(seed).integers(0, 256, (24, 32, 3)).astype(np.uint8)
    return cv2.imencode(suffix, cv2.resize(pixels, (96, 72)))[1].tobytes()


@pytest.fixture
def images() -> Callable[[int], list[bytes]]:
    """Encodes some images."""
    return lambda count: [encoded(seed) for seed in range(count)]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """12 images in two folders, one of them unreadable."""
    folder = tmp_path / "photos"
    (folder / "trip").mkdir(parents=True)
    for number in range(12):
        name = f"{number:02}.{('jpg', 'png', 'webp')[number % 3]}"
        (folder / ("trip" if number % 2 else "") / name).write_bytes(
            encoded(number, Path(name).suffix)
        )
    (folder / "trip/05.webp").write_bytes(b"no image")
    return folder


@pytest.fixture
def rows() -> Callable[[Any], dict[str, dict[str, Any]]]:
    """The rows of a dataset by their id, each once."""
    import pyarrow.parquet as pq

    def read(dataset: Any) -> dict[str, dict[str, Any]]:
        found = pq.read_table(dataset).to_pylist()
        by_id = {row["id"]: row for row in found}
        assert len(by_id) == len(found), "an id occurs twice"
        return by_id

    return read


@pytest.fixture
def make_tar() -> Callable[[Path, dict[str, bytes]], Path]:
    """Writes a tar."""

    def make(path: Path, files: dict[str, bytes]) -> Path:
        with tarfile.open(path, "w") as archive:
            for name, data in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        return path

    return make
