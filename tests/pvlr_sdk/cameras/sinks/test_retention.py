"""Sinks delete their own files only: the user's photos and videos in the same folder stay."""

from __future__ import annotations

import os
import uuid
from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.cameras.sinks import DiskQueue
from pvlr_sdk.cameras.sinks.disk import own_folder, trim
from pvlr_sdk.cameras.sinks.jsonl import JsonlFile
from pvlr_sdk.cameras.sinks.snapshots import Snapshot, SnapshotSink
from pvlr_sdk.cameras.sinks.sqlite import SqliteSink
from pvlr_sdk.cameras.sinks.video import VideoSink
from pvlr_sdk.cameras.sources import CapturedFrame
from pvlr_sdk.cameras.stream import Observation
from tests.pvlr_sdk.cameras.sinks.events import make_event


def age(path: Path, size: int) -> Path:
    """A file that is older than everything that a test writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (1e9, 1e9))
    return path


def snapshot() -> str:
    return f"{uuid.uuid4()}.jpg"


def test_snapshots_beside_the_users_photos(tmp_path: Path, photo: np.ndarray) -> None:
    """Version 0.1 deleted 23 of 30 photos, and all behind a link."""
    folder, elsewhere = tmp_path / "pictures", tmp_path / "archive"
    sink = SnapshotSink(folder, max_bytes=200_000)
    own = [age(folder / "holiday" / f"{number}.jpg", 400_000) for number in range(20)]
    own += [age(folder / "door" / snapshot(), 400_000) for _ in range(10)]  # named as snapshots are
    own += [
        age(sink.folder / name, 400_000)
        for name in ("photo.jpg", snapshot(), "door/photo.jpg", "a/b/" + snapshot())
    ]
    own += [age(elsewhere / snapshot(), 400_000) for _ in range(5)]
    (folder / "linked").symlink_to(elsewhere, target_is_directory=True)
    (sink.folder / "linked").symlink_to(elsewhere, target_is_directory=True)
    link = sink.folder / "door" / snapshot()
    link.symlink_to(own[0])
    for _ in range(10):
        sink.write(Snapshot("door", sink.folder / "door" / snapshot(), photo, "bgr"))
    assert [path for path in own if not path.exists()] == []
    assert link.is_symlink()
    written = {path for path in (sink.folder / "door").glob("*-*.jpg") if not path.is_symlink()}
    assert 1 <= len(written) < 10


def test_video_beside_the_users_videos(tmp_path: Path, plan: Path) -> None:
    pytest.importorskip("av")
    name = "2020-01-31T120000.000Z.mkv"
    own = [age(tmp_path / path, 10**6) for path in ("film.mkv", name, f"door/{name}")]
    with Tagger(plan) as tagger:
        result = tagger.predict(np.zeros((64, 64, 3), np.uint8))
    sink = VideoSink(tmp_path, "door", minutes=1 / 60, max_bytes=1)
    own += [age(tmp_path / "pvlr" / path, 10**6) for path in (f"yard/{name}", "door/film.mkv")]
    old = age(tmp_path / "pvlr/door" / name, 10**6)
    for second in range(3):
        frame = CapturedFrame(
            np.zeros((64, 64, 3), np.uint8), "bgr", 1.01 * second, 1.75e9 + 1.01 * second, None, 0
        )
        sink.write(Observation("door", frame, result, 0.1, False))
    sink.close()
    assert all(path.exists() for path in own)
    assert not old.exists()
    assert len(list((tmp_path / "pvlr/door").glob("2025*.mkv"))) == 1  # the file in use


@pytest.mark.parametrize("kind", ["folder", "link", "link to an own folder"])
def test_a_folder_of_the_same_name(tmp_path: Path, kind: str) -> None:
    """It is refused, at the start and when it takes the place of the own one."""
    other = tmp_path / "other"
    photo = age((own_folder(other, "a folder") if "own" in kind else other) / "a.jpg", 10)
    folder = own_folder(tmp_path, "a folder")
    folder.rename(tmp_path / "before")
    if kind == "folder":
        photo = age(folder / "a.jpg", 10)
    else:
        folder.symlink_to(photo.parent)
    trim(folder, r"a\.jpg", 0, folder)
    assert photo.exists()
    with pytest.raises(errors.OutputError, match="a folder that pvlr did not create"):
        SnapshotSink(tmp_path)


def test_an_own_folder_is_used_again(tmp_path: Path) -> None:
    (tmp_path / "pvlr").mkdir()  # what a process left that was killed before it wrote the marker
    for _ in range(2):
        folder = own_folder(tmp_path, "a folder")
        assert "deletes the oldest" in next(folder.iterdir()).read_text()
    files = [age(folder / f"{number}.jpg", 10) for number in range(4)]
    os.utime(files[1], (9e8, 9e8))
    trim(folder, r"\d\.jpg", 20, files[0])
    assert [path.exists() for path in files] == [True, False, False, True]


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_no_file_is_world_readable(tmp_path: Path, photo: np.ndarray, umask: int) -> None:
    """A file that exists keeps its mode."""
    before = os.umask(umask)
    try:
        JsonlFile(tmp_path / "logs" / "e.jsonl").write(make_event(0))
        JsonlFile(tmp_path / "r.jsonl", 1, 2).write(make_event(0))
        SqliteSink(tmp_path / "e.db").write(make_event(0))
        DiskQueue(tmp_path / "queues" / "q.db").put(make_event(0))
        SnapshotSink(tmp_path / "s").write(
            Snapshot("door", tmp_path / "s/pvlr/door" / snapshot(), photo, "bgr")
        )
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        folders = [
            folder
            for folder in path.parents
            if folder.is_relative_to(tmp_path) and folder != tmp_path
        ]
        reachable = all(folder.stat().st_mode & 0o007 for folder in folders)
        assert not (path.is_file() and reachable and path.stat().st_mode & 0o007), path
    (tmp_path / "open.jsonl").touch()
    (tmp_path / "open.jsonl").chmod(0o644)
    JsonlFile(tmp_path / "open.jsonl").write(make_event(0))
    assert (tmp_path / "open.jsonl").stat().st_mode & 0o777 == 0o644
