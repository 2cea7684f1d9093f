"""Sinks delete their own files only: the user's photos and videos in the same folder stay."""

from __future__ import annotations

import os
import sqlite3
import uuid
from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk import Tagger
from pvlr_sdk.sinks import DiskQueue
from pvlr_sdk.sinks.disk import Retention
from pvlr_sdk.sinks.jsonl import JsonlFile, RotatingJsonl
from pvlr_sdk.sinks.snapshots import Snapshot, SnapshotSink
from pvlr_sdk.sinks.sqlite import SqliteSink
from pvlr_sdk.sinks.video import VideoSink
from pvlr_sdk.sources import CapturedFrame
from pvlr_sdk.stream import Observation

FORM = r"[a-z]+/\d+\.jpg"


def age(path: Path, size: int) -> Path:
    """A file that is older than everything that a test writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (1e9, 1e9))
    return path


def test_snapshots_beside_the_users_photos(tmp_path: Path, photo: np.ndarray) -> None:
    """Version 0.1 deleted 23 of 30 photos, and all behind a link."""
    folder, elsewhere = tmp_path / "pictures", tmp_path / "archive"
    own = [age(folder / "holiday" / f"{number}.jpg", 400_000) for number in range(20)]
    own += [age(folder / "door" / f"{uuid.uuid4()}.jpg", 400_000) for _ in range(10)]  # named as snapshots are
    own += [age(elsewhere / f"{number}.jpg", 400_000) for number in range(5)]
    (folder / "linked").symlink_to(elsewhere, target_is_directory=True)
    sink = SnapshotSink(folder, max_bytes=200_000)
    for _ in range(10):
        sink.write(Snapshot(folder / "door" / f"{uuid.uuid4()}.jpg", photo, "bgr"))
    assert [path for path in own if not path.exists()] == []
    written = set((folder / "door").glob("*.jpg")) - set(own)
    assert 1 <= len(written) < 10


def test_video_beside_the_users_videos(tmp_path: Path, plan: Path) -> None:
    pytest.importorskip("av")
    own = [age(tmp_path / name, 10**6) for name in ("film.mkv", "2020-01-31T120000.000Z.mkv")]
    with Tagger(plan) as tagger:
        result = tagger.predict(np.zeros((64, 64, 3), np.uint8))
    sink = VideoSink(tmp_path, minutes=1 / 60, max_bytes=1)
    for second in range(3):
        frame = CapturedFrame(np.zeros((64, 64, 3), np.uint8), "bgr", 1.01 * second, 1.75e9 + 1.01 * second, None, 0)
        sink.write(Observation("door", frame, result, 0.1, False))
    sink.close()
    assert all(path.exists() for path in own)
    assert len(list(tmp_path.glob("*.mkv"))) == 4  # these, the newest finished one and the one that was written


def test_a_recorded_file_replaced_by_a_link_stays(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    retention = Retention(folder, FORM, 1)
    for number in range(4):
        path = folder / "a" / f"{number}.jpg"
        retention.add(path)
        age(path, 10)
    kept = age(elsewhere / "0.jpg", 10)
    (folder / "a" / "0.jpg").unlink()
    (folder / "a" / "0.jpg").symlink_to(kept)
    retention.trim()
    assert kept.exists()
    assert (folder / "a" / "0.jpg").is_symlink()
    assert sorted(path.name for path in (folder / "a").iterdir()) == ["0.jpg", "3.jpg"]
    (folder / "a").rename(tmp_path / "real")
    (folder / "a").symlink_to(tmp_path / "real")
    retention.add(folder / "b" / "5.jpg")
    retention.trim()
    assert (tmp_path / "real" / "3.jpg").exists()


def test_a_forged_record_deletes_nothing_else(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    other = [age(tmp_path / "1.jpg", 10), age(folder / "1.jpg", 10), age(folder / "a" / "x.jpg", 10)]
    retention = Retention(folder, FORM, 1)
    retention.add(folder / "a" / "1.jpg")
    with sqlite3.connect(folder / Retention.RECORD) as record:
        names = ("../1.jpg", "1.jpg", "a/x.jpg", "a/../../1.jpg", str(tmp_path / "1.jpg"), "a/1.jpg\n")
        record.executemany("INSERT INTO files (name) VALUES (?)", [(name,) for name in names])
    retention.add(folder / "a" / "2.jpg")
    retention.trim()
    assert all(path.exists() for path in other)


def test_the_record_does_not_grow(tmp_path: Path) -> None:
    retention = Retention(tmp_path, FORM, 25)
    for number in range(40):
        retention.add(tmp_path / "a" / f"{number}.jpg")
        age(tmp_path / "a" / f"{number}.jpg", 10)
        retention.trim()
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["38.jpg", "39.jpg"]
    with sqlite3.connect(tmp_path / Retention.RECORD) as record:
        assert record.execute("SELECT count(*) FROM files").fetchone()[0] <= 2


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_no_file_is_world_readable(tmp_path: Path, photo: np.ndarray, make_event, umask: int) -> None:
    """A file that exists keeps its mode."""
    before = os.umask(umask)
    try:
        JsonlFile(tmp_path / "logs" / "e.jsonl").write(make_event(0))
        RotatingJsonl(tmp_path / "r.jsonl", 1, 2).write(make_event(0))
        SqliteSink(tmp_path / "e.db").write(make_event(0))
        DiskQueue(tmp_path / "queues" / "q.db").put(make_event(0))
        SnapshotSink(tmp_path / "s").write(Snapshot(tmp_path / "s" / "door" / f"{uuid.uuid4()}.jpg", photo, "bgr"))
    finally:
        os.umask(before)
    for path in tmp_path.rglob("*"):
        folders = [folder for folder in path.parents if folder.is_relative_to(tmp_path) and folder != tmp_path]
        reachable = all(folder.stat().st_mode & 0o007 for folder in folders)
        assert not (path.is_file() and reachable and path.stat().st_mode & 0o007), path
    (tmp_path / "open.jsonl").touch()
    (tmp_path / "open.jsonl").chmod(0o644)
    JsonlFile(tmp_path / "open.jsonl").write(make_event(0))
    assert (tmp_path / "open.jsonl").stat().st_mode & 0o777 == 0o644
