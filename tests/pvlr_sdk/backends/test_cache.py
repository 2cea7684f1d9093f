"""The cache of compiled networks: fast if it can be trusted, never required, and ignored if it is unsafe."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger
from pvlr_sdk.backends import cache


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own, which does not exist yet."""
    path = tmp_path / "parent" / "cache"
    monkeypatch.setenv("PVLR_CACHE_DIR", str(path))
    return path


@pytest.fixture(autouse=True)
def _trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    """No isolated loads: each test has a new cache."""
    monkeypatch.setenv("PVLR_ALLOW_UNSIGNED", "1")


def entries(folder: Path) -> list[Path]:
    """All files but the marks of plans that were built here."""
    return (
        sorted(path for path in folder.glob("*") if path.suffix != ".loaded")
        if folder.is_dir()
        else []
    )


def test_second_start_comes_from_the_cache(folder: Path, plan: Path, photo: np.ndarray) -> None:
    first, second = Tagger(plan), Tagger(plan)
    assert (first.info["from_cache"], second.info["from_cache"]) == (False, True)
    assert first.predict(photo).logits.tobytes() == second.predict(photo).logits.tobytes()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [entry.stat().st_mode & 0o777 for entry in entries(folder)] == [0o600]


def test_other_precision_and_threads_are_other_entries(folder: Path, plan: Path) -> None:
    Tagger(plan, precision="fp32", num_threads=1)
    assert not Tagger(plan, precision="fp32", num_threads=2).info["from_cache"]
    assert len(entries(folder)) == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda data: data[:-1],
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: data[::-1],
    ],
)
def test_damaged_entries_are_made_anew(folder: Path, plan: Path, change: object) -> None:
    Tagger(plan)
    entry = entries(folder)[0]
    entry.write_bytes(change(entry.read_bytes()))  # type: ignore[operator]
    assert not Tagger(plan).info["from_cache"]
    assert Tagger(plan).info["from_cache"]


def test_entry_that_openvino_does_not_like(folder: Path, plan: Path) -> None:
    Tagger(plan)
    cache.store(folder, entries(folder)[0].stem, b"whole, but no compiled network")
    assert not Tagger(plan).info["from_cache"]


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o755, 0o720])
def test_folder_open_to_others_is_not_used(folder: Path, plan: Path, mode: int) -> None:
    folder.mkdir(parents=True)
    folder.chmod(mode)
    assert cache.cache_folder() is None
    Tagger(plan)
    assert entries(folder) == []


def test_links_and_other_users_are_not_trusted(
    folder: Path, tmp_path: Path, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = tmp_path / "real"
    real.mkdir(mode=0o700)
    folder.parent.mkdir()
    folder.symlink_to(real)
    assert cache.cache_folder() is None
    folder.unlink()
    Tagger(plan)
    (entry,) = entries(folder)
    key, data = entry.stem, cache.load(folder, entry.stem)
    assert data
    entry.rename(real / entry.name)
    entry.symlink_to(real / entry.name)
    assert cache.load(folder, key) is None
    entry.unlink()
    (real / entry.name).rename(entry)
    entry.chmod(0o622)
    assert cache.load(folder, key) is None
    entry.chmod(0o600)
    assert cache.load(folder, key) == data
    monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert cache.load(folder, key) is None
    assert cache.cache_folder() is None


def test_goes_on_without_a_cache(
    tmp_path: Path, plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    for setting in (
        "",
        str(tmp_path / "file"),
        str(tmp_path / "file" / "below"),
        "/proc/nothing/here",
    ):
        monkeypatch.setenv("PVLR_CACHE_DIR", setting)
        assert cache.cache_folder() is None
        assert not Tagger(plan).info["from_cache"]


def test_full_disk_is_no_error(folder: Path, plan: Path) -> None:
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    before = (
        resource.getrlimit(resource.RLIMIT_FSIZE),
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
    )
    resource.setrlimit(resource.RLIMIT_FSIZE, (500, before[0][1]))
    try:
        Tagger(plan)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before[0])
        signal.signal(signal.SIGXFSZ, before[1])
    assert entries(folder) == []


def test_old_entries_are_dropped(folder: Path) -> None:
    assert cache.cache_folder() == folder
    for number in range(30):
        cache.store(folder, f"key{number}", b"data")
        os.utime(folder / f"key{number}.blob", (number, number))
    assert cache.load(folder, "key29") == b"data"
    assert cache.load(folder, "key0") is None
    assert len(entries(folder)) <= 17


def test_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PVLR_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.cache_folder() == tmp_path / "pvlr_sdk" / "openvino"


@pytest.mark.slow
@pytest.mark.parametrize("optimize", ["latency", "throughput"])
def test_entry_of_another_network_is_replaced(
    folder: Path,
    plan: Path,
    make_network: Callable[..., Any],
    tmp_path: Path,
    photo: np.ndarray,
    optimize: str,
) -> None:
    """Whole, and of the same shapes: only the self-test can tell."""
    from pvlr_sdk.workshop.compile.build import build

    other = tmp_path / "other" / "engine.plan"
    build(make_network(tmp_path / "network", seed=1).onnx, other)
    Tagger(other, optimize=optimize)
    wrong = [cache.load(folder, entry.stem) for entry in entries(folder)]
    for entry in entries(folder):
        entry.unlink()
    expected = Tagger(plan, optimize=optimize).predict(photo).logits.tobytes()
    for entry, data in zip(entries(folder), wrong, strict=True):
        assert data
        cache.store(folder, entry.stem, data)
    tagger = Tagger(plan, optimize=optimize)
    assert not tagger.info["from_cache"]
    assert tagger.predict(photo).logits.tobytes() == expected
    assert Tagger(plan, optimize=optimize).info["from_cache"]


@pytest.mark.slow
def test_any_damage_anywhere_is_repaired(folder: Path, plan: Path, photo: np.ndarray) -> None:
    """Flipped bits, zeros, cuts, insertions and noise, each at ten random places: what a disk does to a file."""
    random = np.random.default_rng(0)
    expected = Tagger(plan).predict(photo).logits.tobytes()
    (entry,) = entries(folder)
    whole = entry.read_bytes()
    for number in range(50):
        data, at = bytearray(whole), int(random.integers(len(whole)))
        kind = ("flip", "zeros", "cut", "insert", "noise")[number % 5]
        if kind == "flip":
            data[at] ^= 1 << int(random.integers(8))
        elif kind == "cut":
            del data[at:]
        elif kind == "insert":
            data[at:at] = b"x" * 7
        else:
            data[at : at + 64] = bytes(64) if kind == "zeros" else random.bytes(64)
        entry.write_bytes(data)
        assert Tagger(plan).predict(photo).logits.tobytes() == expected, (kind, at)
        assert entry.read_bytes() != data or bytes(data) == whole, (kind, at)
        assert Tagger(plan).info["from_cache"], (kind, at)
