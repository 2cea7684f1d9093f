"""HEIC and AVIF: the photos of phones, wherever an image is read."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.frames.find import find
from pvlr_sdk.frames.frames import load_frame
from pvlr_sdk.frames.isolated import Decoders
from tests.heic import HEIC

Pillow = pytest.importorskip("PIL.Image")


def avif() -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", (96, 64), (200, 60, 20)).save(file, "AVIF", quality=95)
    return file.getvalue()


@pytest.fixture
def phone(tmp_path: Path) -> Path:
    """A folder of such photos."""
    pytest.importorskip("pi_heif")
    (tmp_path / "a.HEIC").write_bytes(HEIC)
    (tmp_path / "b.avif").write_bytes(avif())
    return tmp_path


def test_paths_and_bytes_give_the_pixels(phone):
    for path in sorted(phone.iterdir()):
        for frame in (path, path.read_bytes()):
            loaded = load_frame(frame)
            assert (loaded.order, loaded.pixels.shape) == ("rgb", (64, 96, 3))
            assert np.abs(loaded.pixels.astype(int) - (200, 60, 20)).max() < 8


def test_a_folder_of_them_is_tagged(phone, tagger):
    paths = find([str(phone)], lambda name, error: pytest.fail(str(error)))
    assert [path.name for path in paths] == ["a.HEIC", "b.avif"]
    scores = [tagger.predict(path).scores for path in paths]
    assert np.allclose(scores[0], scores[1], atol=0.03)


def test_a_damaged_one_is_an_error_that_names_it(phone):
    for path in sorted(phone.iterdir()):
        path.write_bytes(path.read_bytes()[:200])
        with pytest.raises(errors.ImageDecodeError, match=path.name):
            load_frame(path)


def test_without_its_package_the_error_has_the_command(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    (tmp_path / "a.heic").write_bytes(HEIC)
    with pytest.raises(errors.ImageDecodeError, match=r"(?s)a\.heic.*\[heif\]"):
        load_frame(tmp_path / "a.heic")


def test_isolation_refuses_what_this_process_would_decode():
    decoders = Decoders(1)
    with pytest.raises(errors.ImageDecodeError, match="HEIC or AVIF"):
        load_frame(HEIC, decode=decoders.decode)
    decoders.close()


def test_they_are_no_other_format():
    """Pillow runs Ghostscript for an EPS."""
    for brand in (b"heic", b"avif"):
        eps = (
            b"%!PSftyp"
            + brand
            + b"\n%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"
        )
        with pytest.raises(errors.ImageDecodeError):
            load_frame(eps)
