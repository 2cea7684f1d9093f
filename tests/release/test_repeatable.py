"""The same sources give the same source distribution and wheel, whoever builds them, where and when."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from tests.conftest import build_sdist, build_wheel


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _differences(first: Path, second: Path) -> list[str]:
    """Names of members that differ in their bytes, time or mode, and ``itself`` if the files differ."""
    members = [_members(first), _members(second)]
    names = sorted({*members[0], *members[1]})
    found = [name for name in names if members[0].get(name) != members[1].get(name)]
    return found + (["itself"] if _sha256(first) != _sha256(second) else [])


def _members(path: Path) -> dict[str, tuple]:
    if path.suffix == ".whl":
        with zipfile.ZipFile(path) as wheel:
            return {
                entry.filename: (wheel.read(entry), entry.date_time, entry.external_attr)
                for entry in wheel.infolist()
            }
    with tarfile.open(path) as archive:
        return {
            entry.name: (archive.extractfile(entry).read(), entry.mtime, entry.mode)
            for entry in archive
            if entry.isfile()
        }


@pytest.fixture
def elsewhere(monkeypatch):
    """Another time zone and another umask; the rest of a build differs by its folder and its time."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    before = os.umask(0o077)
    yield
    os.umask(before)


@pytest.mark.slow
def test_a_source_distribution_repeats(dist, elsewhere, tmp_path):
    shutil.copytree(dist.checkout, tmp_path / "in another folder", copy_function=shutil.copyfile)
    again = build_sdist(tmp_path / "in another folder", tmp_path)
    assert _differences(dist.sdist, again) == []


@pytest.mark.slow
def test_a_planted_time_is_found(dist, tmp_path):
    shutil.copytree(dist.checkout, tmp_path / "checkout")
    with (tmp_path / "checkout/setup.py").open("a") as script:
        script.write("# the time at which this was written follows\n")
        script.write(f"TIME = {time.time_ns()}\n")
    found = _differences(dist.sdist, build_sdist(tmp_path / "checkout", tmp_path))
    assert [name.rpartition("/")[2] for name in found] == ["setup.py", "itself"]


@pytest.mark.slow
def test_a_wheel_repeats(dist, elsewhere, tmp_path):
    """Compiled again in a longer path, from the source distribution alone, without SOURCE_DATE_EPOCH."""
    folder = tmp_path / "a folder with another and longer name"
    again = build_wheel(dist.sdist, folder, dist.libpvlr)
    found = _differences(dist.wheel, again)
    assert found == [], found[:9]
    # As a compiler does for __TIME__: eight bytes of the compiled core.
    planted = tmp_path / dist.wheel.name
    with zipfile.ZipFile(dist.wheel) as wheel, zipfile.ZipFile(planted, "w") as target:
        for entry in wheel.infolist():
            data = wheel.read(entry)
            if "_core.cpython" in entry.filename:
                data = data[:4096] + b"12:34:56" + data[4104:]
            target.writestr(entry, data)
    (core, itself) = _differences(dist.wheel, planted)
    assert ("_core.cpython" in core, itself) == (True, "itself")
