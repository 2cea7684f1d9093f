"""Folders of frames with a table of their times."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from pvlr_sdk import errors, open_source
from pvlr_sdk.cameras.sources.timed import read_times
from tests.pvlr_sdk.cameras.sources.frames import grey, read_all


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three frames that ``frames.grey`` numbers 0, 1 and 2, and one that the table does not name."""
    for level, name in enumerate(("c", "a", "b", "unlisted")):
        cv2.imwrite(str(tmp_path / f"{name}.png"), np.full((4, 6, 3), 5 * level, np.uint8))
    (tmp_path / "labels.csv").write_text("file,time,cat\nc.png,2.5,1\na.png,3,\nb.png,4.5,0\n")
    return tmp_path


def test_frames_have_the_order_and_the_times_of_the_table(folder: Path) -> None:
    frames = read_all(open_source(str(folder)))
    assert [grey(frame) for frame in frames] == [0, 1, 2]
    assert [frame.source_time for frame in frames] == [0, 0.5, 2]


def test_a_loop_goes_on_in_time(folder: Path) -> None:
    source = open_source(str(folder), loop=True)
    times = [source.read().source_time for _ in range(6)]
    assert times == [
        0,
        0.5,
        2,
        3,
        3.5,
        5,
    ]  # the last frame stays for one second, the mean of the others


def test_a_frame_that_cannot_be_decoded_is_skipped_and_others_keep_their_times(
    folder: Path,
) -> None:
    (folder / "a.png").write_bytes(b"not an image")
    source = open_source(str(folder))
    assert [frame.source_time for frame in read_all(source)] == [0, 2]
    assert source.decode_errors == 1


@pytest.mark.parametrize("table", [None, "file,split,cat\nc.png,train,1\n", ""])
def test_without_a_column_of_times_it_is_a_folder_of_images(
    folder: Path, table: str | None
) -> None:
    (folder / "labels.csv").unlink()
    if table is not None:
        (folder / "labels.csv").write_text(table)
    assert read_times(folder) is None
    frames = read_all(open_source(str(folder)))
    assert [grey(frame) for frame in frames] == [1, 2, 0, 3]
    assert {frame.source_time for frame in frames} == {None}


@pytest.mark.parametrize(
    ("rows", "expected", "got"),
    [
        ("c.png,1\na.png,1\n", "a time after 1 s, that of the frame before", "1 s in line 3"),
        ("c.png,1\na.png,0.5\n", "a time after 1 s", "0.5 s in line 3"),
        ("c.png,-1\n", "seconds, 0 or more", "'-1' in line 2"),
        ("c.png,soon\n", "seconds, 0 or more", "'soon' in line 2"),
        ("c.png,nan\n", "seconds, 0 or more", "'nan' in line 2"),
        ("c.png,inf\n", "seconds, 0 or more", "'inf' in line 2"),
        ("c.png,\n", "seconds, 0 or more", "'' in line 2"),
        ("c.png\n", "seconds, 0 or more", "None in line 2"),
        ("c.png,1\nc.png,2\n", "a file for each frame", "'c.png' twice"),
        (",1\n", "a file for each frame", "none in line 2"),
        ("c.png,1\nnone.png,2\n", "the frame 'none.png' of line 3", "no such file"),
        ("", "at least one frame", "none"),
        ("\xff,1\n", "a CSV file in UTF-8", "invalid start byte"),
    ],
)
def test_a_wrong_table_is_refused(folder: Path, rows: str, expected: str, got: str) -> None:
    (folder / "labels.csv").write_bytes(f"file,time\n{rows}".encode("latin-1"))
    with pytest.raises(errors.SourceOpenError) as caught:
        open_source(str(folder))
    assert caught.value.argument == str(folder / "labels.csv")
    assert caught.value.expected.startswith(expected)
    assert got in caught.value.got
