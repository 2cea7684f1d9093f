"""Labelled footage on disk: tables, YAML files and the list of sequences; what is wrong is one typed error."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.accuracy.cameras.score import ABSENT, PRESENT, UNKNOWN
from benchmarks.accuracy.cameras.sequences import (
    Interval,
    IntervalList,
    check_labels,
    read_intervals,
    read_sequences,
    read_table,
)
from pvlr_sdk import errors

CLIPS = Path("benchmarks/accuracy/cameras/clips")


def write_sequence(folder: Path, table: str | None, frames: int = 3) -> Path:
    folder.mkdir(parents=True)
    for number in range(frames):
        cv2.imwrite(str(folder / f"{number}.png"), np.zeros((8, 8, 3), np.uint8))
    if table is not None:
        (folder / "labels.csv").write_text(table)
    return folder


TABLE = "file,time,car,bus\n0.png,0,1,\n1.png,0.5,0,1\n2.png,1,,0\n"


def test_a_table_has_a_row_per_frame_and_unknown_cells(tmp_path: Path) -> None:
    table = read_table(write_sequence(tmp_path / "gate", TABLE))
    truth = table.values(np.array([0, 0.5, 1]), ["bus", "cat", "car"])
    assert truth.tolist() == [
        [UNKNOWN, UNKNOWN, PRESENT],
        [PRESENT, UNKNOWN, ABSENT],
        [ABSENT, UNKNOWN, UNKNOWN],
    ]


def test_frames_that_were_not_decoded_are_an_error(tmp_path: Path) -> None:
    table = read_table(write_sequence(tmp_path / "gate", TABLE))
    with pytest.raises(errors.LabelsFileError, match=r"3 frames.*got 1 that cannot be decoded"):
        table.values(np.array([0, 0.5]), ["car"])


@pytest.mark.parametrize(
    ("table", "kind", "match"),
    [
        (None, errors.LabelsFileError, "table of the sequence, got no such file"),
        ("file,car\n0.png,1\n", errors.LabelsFileError, "columns file and time"),
        ("file,time\n0.png,1\n", errors.LabelsFileError, "a column per label"),
        ("file,time,car,car\n0.png,1,0,0\n", errors.LabelsFileError, "a column per label"),
        ("file,time,\n0.png,1,0\n", errors.LabelsFileError, "a column per label"),
        ("file,time,car\n0.png,0,2\n", errors.LabelsFileError, "got '2' in line 2, column 'car'"),
        ("file,time,car\n0.png,0\n", errors.LabelsFileError, "3 cells.*got 2 in line 2"),
        ("file,time,car\n0.png,0,1,1\n", errors.LabelsFileError, "3 cells.*got 4 in line 2"),
        ("file,time,car\n0.png,0,yes\n", errors.LabelsFileError, "1, 0 or an empty cell"),
        ("file,time,car\n0.png,1,0\n1.png,1,0\n", errors.SourceOpenError, "a time after 1 s"),
        ("file,time,car\n0.png,-1,0\n", errors.SourceOpenError, "seconds, 0 or more"),
        ("file,time,car\n0.png,noon,0\n", errors.SourceOpenError, "seconds, 0 or more"),
        ("file,time,car\n9.png,1,0\n", errors.SourceOpenError, "frame '9.png' of line 2"),
        ("file,time,car\n", errors.SourceOpenError, "at least one frame"),
    ],
)
def test_a_wrong_table_is_refused(
    tmp_path: Path, table: str | None, kind: type[Exception], match: str
) -> None:
    write_sequence(tmp_path / "gate", table)
    with pytest.raises(kind, match=match):
        read_sequences(tmp_path)


def test_light_and_view_are_in_a_list_in_the_folder_or_next_to_it(tmp_path: Path) -> None:
    folder = tmp_path / "footage"
    write_sequence(folder / "gate", TABLE)
    write_sequence(folder / "yard", TABLE)
    assert [(item.light, item.view) for item in read_sequences(folder)] == [("", ""), ("", "")]
    (tmp_path / "sequences.csv").write_text("sequence,light,view,other\nyard,rain,high,x\n")
    assert [(item.light, item.view) for item in read_sequences(folder)] == [
        ("", ""),
        ("rain", "high"),
    ]
    (folder / "sequences.csv").write_text("sequence,light\ngate,day\n")
    assert [(item.light, item.view) for item in read_sequences(folder)] == [("day", ""), ("", "")]


@pytest.mark.parametrize(
    ("listed", "kind", "match"),
    [
        ("sequence\ngarden\n", errors.OptionError, "garden: expected a sequence"),
        ("name\ngate\n", errors.LabelsFileError, "the column sequence"),
    ],
)
def test_a_wrong_list_is_refused(
    tmp_path: Path, listed: str, kind: type[Exception], match: str
) -> None:
    write_sequence(tmp_path / "gate", TABLE)
    (tmp_path / "sequences.csv").write_text(listed)
    with pytest.raises(kind, match=match):
        read_sequences(tmp_path)


def test_a_folder_can_be_a_sequence_itself(tmp_path: Path) -> None:
    folder = write_sequence(tmp_path / "gate", TABLE)
    assert [(item.name, item.uri) for item in read_sequences(folder)] == [("gate", folder)]


def test_a_folder_without_sequences_is_refused(tmp_path: Path) -> None:
    with pytest.raises(errors.OptionError, match="at least one sequence, got none"):
        read_sequences(tmp_path)
    with pytest.raises(errors.OptionError, match="expected a folder"):
        read_sequences(tmp_path / "none")


def test_a_label_that_the_plan_does_not_have_is_refused(tmp_path: Path) -> None:
    write_sequence(tmp_path / "gate", TABLE.replace("bus", "lorry"))
    footage = read_sequences(tmp_path)
    check_labels(footage, ["car", "lorry"])
    with pytest.raises(errors.LabelsFileError, match=r"'lorry' of gate"):
        check_labels(footage, ["car", "bus"])


def test_intervals_are_present_or_unknown_and_all_else_is_absent() -> None:
    annotation = IntervalList(
        Path(), {"car": [Interval(1, 2)]}, {"car": [Interval(0, 1)], "bus": [Interval(2, 9)]}
    )
    truth = annotation.values(np.array([0, 1, 2, 3]), ["car", "bus", "cat"])
    assert truth.tolist() == [
        [UNKNOWN, ABSENT, ABSENT],
        [PRESENT, ABSENT, ABSENT],
        [PRESENT, UNKNOWN, ABSENT],
        [ABSENT, UNKNOWN, ABSENT],
    ]


def test_intervals_of_another_video_are_refused() -> None:
    annotation = IntervalList(Path("gate.yaml"), {"car": [Interval(0, 30)]})
    annotation.values(np.array([0, 29.5]), ["car"])
    with pytest.raises(errors.LabelsFileError, match=r"a video of 30 s.*got 0\.4 s"):
        annotation.values(np.array([0, 0.4]), ["car"])


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("present: {}", "file"),
        ("file: a.mp4\nlabels: {}", "labels"),
        ("file: a.mp4\npresent: [car]", "present"),
        ("file: a.mp4\npresent: {car: [[4, 2]]}", "car"),
        ("file: a.mp4\npresent: {car: [[1, 3], [2, 5]]}", "car"),
        ("file: a.mp4\npresent: {car: [[-1, 3]]}", "car"),
        ("file: a.mp4\nunknown: {car: [[1, x]]}", "car"),
        ("file: a.mp4\npresent: {car: 4-8}", "car"),
        ("file: a.mp4\npresent: {car: [[.nan, 3]]}", "car"),
    ],
)
def test_an_invalid_yaml_file_is_refused(tmp_path: Path, text: str, named: str) -> None:
    path = tmp_path / "clip.yaml"
    path.write_text(text)
    with pytest.raises(errors.ConfigError) as caught:
        read_intervals(path)
    assert named in caught.value.argument.partition("clip.yaml")[2] or named in caught.value.got


def test_the_video_of_a_yaml_file_is_relative_to_it_or_to_a_variable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gate.mp4").touch()
    path = tmp_path / "gate.yaml"
    path.write_text("file: gate.mp4\nlight: rain\npresent: {car: [[0, 1]]}")
    assert read_intervals(path).uri == tmp_path / "gate.mp4"
    assert read_sequences(tmp_path)[0].light == "rain"
    path.write_text("file: $FOOTAGE/gate.mp4")
    monkeypatch.setenv("FOOTAGE", str(tmp_path))
    assert read_intervals(path).uri == tmp_path / "gate.mp4"
    monkeypatch.delenv("FOOTAGE")
    with pytest.raises(errors.SourceOpenError, match="a video, got no such file"):
        read_intervals(path)


def test_the_files_of_the_clips_are_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "video").mkdir()
    for name in ("bottle-detection", "car-detection"):
        (tmp_path / f"video/{name}.mp4").touch()
    monkeypatch.setenv("PVLR_DATA", str(tmp_path))
    assert [item.name for item in read_sequences(CLIPS)] == ["bottle-detection", "car-detection"]
