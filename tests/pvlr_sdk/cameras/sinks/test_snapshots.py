"""Snapshots as JPEG files."""

from __future__ import annotations

import uuid

import cv2
import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.cameras.sinks.snapshots import Snapshot, SnapshotSink


def named(number: int) -> str:
    return f"{uuid.UUID(int=number)}.jpg"


@pytest.mark.parametrize("order", ["bgr", "rgb", "gray", "nv12"])
def test_the_picture_is_the_frame(tmp_path, photo, order):
    frame = {
        "bgr": photo,
        "rgb": photo[:, :, ::-1],
        "gray": cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY),
        "nv12": np.concatenate(
            [cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY), np.full((256, 512), 128, np.uint8)]
        ),
    }[order]
    path = tmp_path / "pvlr/door" / named(1)
    SnapshotSink(tmp_path).write(snapshot(path, frame, order))
    written = cv2.imread(str(path)).astype(np.float64)
    expected = (
        photo
        if order in ("bgr", "rgb")
        else cv2.cvtColor(cv2.cvtColor(photo, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)
    )
    # nv12's grey is in video range
    assert np.abs(written - expected).mean() < (20 if order == "nv12" else 4)


def test_a_folder_that_cannot_be_created_is_an_error_at_the_start(tmp_path):
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "sub"):
        with pytest.raises(
            errors.OutputError, match=f"{folder}/pvlr: expected a folder to write snapshots to"
        ):
            SnapshotSink(folder)


def snapshot(*args) -> Snapshot:
    return Snapshot("door", *args)


def test_a_full_disk(small_disk, photo):
    SnapshotSink(small_disk.folder).write(
        snapshot(small_disk.folder / "pvlr/door" / named(0), photo[:64], "bgr")
    )
    small_disk.fill(leave=10_000)
    with pytest.raises(errors.OutputError):
        SnapshotSink(small_disk.folder).write(
            snapshot(small_disk.folder / "pvlr/door" / named(1), photo, "bgr")
        )
    assert [path.name for path in (small_disk.folder / "pvlr/door").iterdir()] == [named(0)]


def test_the_oldest_make_room(tmp_path, photo):
    sink = SnapshotSink(tmp_path, max_bytes=300_000)
    for number in range(30):
        sink.write(snapshot(tmp_path / "pvlr/door" / named(number), photo, "bgr"))
    kept = sorted(path.name for path in tmp_path.rglob("*.jpg"))
    size = (tmp_path / "pvlr/door" / named(29)).stat().st_size
    assert kept == [named(number) for number in range(30 - len(kept), 30)]
    assert 1 <= len(kept) <= 300_000 // size + 1


def test_what_earlier_processes_left_makes_room_too(tmp_path, photo):
    sink = SnapshotSink(tmp_path)
    for number in range(3):
        sink.write(snapshot(tmp_path / "pvlr/door" / named(number), photo[:64], "bgr"))
        (tmp_path / "pvlr/door" / named(number)).write_bytes(bytes(400_000))
    SnapshotSink(tmp_path, max_bytes=1_000_000).write(
        snapshot(tmp_path / "pvlr/door" / named(9), photo[:64], "bgr")
    )
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.jpg")) <= 1_000_000
    assert (tmp_path / "pvlr/door" / named(9)).exists()
