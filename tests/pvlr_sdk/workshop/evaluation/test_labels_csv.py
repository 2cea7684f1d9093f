"""The labels file: the meaning of its cells, and its errors."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.workshop.evaluation.labels_csv import (
    parse_renames,
    read_columns,
    read_labels,
    read_rename,
)

VOC_STYLE = """file,split,dog,cat,sofa
a.jpg,train,1,-1,0
b/c.jpg,val,,1,-1
d.jpg,val,-1,-1,1
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(text: str | bytes) -> Path:
        path = tmp_path / "labels.csv"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_zero_beside_minus_one_is_ignored(write):
    table = read_labels(write(VOC_STYLE))
    assert table.files == ["a.jpg", "b/c.jpg", "d.jpg"]
    assert table.targets.dtype == np.int8
    assert table.targets.tolist() == [[1, -1, 0], [0, 1, -1], [-1, -1, 1]]
    assert table.missing == []
    assert table.extra == []


def test_zero_is_absent_in_a_file_of_zeros_and_ones(write):
    table = read_labels(write("file,dog,cat\na.jpg,1,0\nb.jpg,,1\n"))
    assert table.targets.tolist() == [[1, -1], [0, 1]]


def test_what_zero_means_does_not_depend_on_the_split_or_the_labels(write):
    text = "file,split,dog,cat\na.jpg,train,1,0\nb.jpg,val,1,-1\n"
    assert read_labels(write(text), "train", ["dog"]).targets.tolist() == [[1]]
    assert read_labels(write(text), "train", ["dog", "cat"]).targets.tolist() == [[1, 0]]


def test_columns_go_where_the_model_has_the_label(write):
    table = read_labels(write(VOC_STYLE), "val", ["couch", "bus", "dog"], {"sofa": "couch"})
    assert table.targets.tolist() == [[-1, 0, 0], [1, 0, -1]]
    assert table.missing == ["bus"]
    assert table.extra == ["cat"]


def test_a_column_that_is_no_label_may_hold_anything(write):
    table = read_labels(write("file,dog,photographer\na.jpg,1,Ansel\n"), names=["dog"])
    assert table.extra == ["photographer"]


def test_spreadsheet_habits(write):
    text = '\ufefffile,split,"hot, dog",cat\r\n"my, photo.jpg",val, 1 ,-1.0\r\n\r\n'
    table = read_labels(write(text))
    assert table.files == ["my, photo.jpg"]
    assert table.targets.tolist() == [[1, -1]]
    assert read_columns(write(text)) == ["hot, dog", "cat"]


@pytest.mark.parametrize(
    ("text", "split", "says"),
    [
        ("", None, "an empty file"),
        ("photo,dog\na.jpg,1\n", None, "'file'"),
        ("file,split\na.jpg,val\n", None, "one column per label"),
        ("file,dog\na.jpg,2\n", None, "'2' in line 2, column 'dog'"),
        ("file,dog\na.jpg,1\n\nb.jpg,maybe\n", None, "'maybe' in line 4"),
        ("file,dog\na.jpg,1,1\n", None, "3 cells in line 2"),
        ("file,dog,dog\na.jpg,1,1\n", None, "'dog' twice"),
        ("file,dog\na.jpg,1\na.jpg,0\n", None, "'a.jpg' twice"),
        ("file,dog\n", None, "rows"),
        ("file,dog\na.jpg,1\n", "val", "a column 'split'"),
        (VOC_STYLE, "test", "'train', 'val'"),
        (b"file,dog\n\xff\xfe.jpg,1\n", None, "UTF-8"),
        ('file,dog\n"a.jpg,1\n', None, "CSV"),
    ],
)
def test_a_wrong_file(write, text, split, says):
    path = write(text)
    with pytest.raises(errors.LabelsFileError, match=says) as caught:
        read_labels(path, split)
    assert caught.value.argument == str(path)


def test_a_file_that_cannot_be_read(tmp_path):
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(errors.LabelsFileError):
            read_labels(path)
        with pytest.raises(errors.LabelsFileError):
            read_rename(path)


def test_a_file_without_one_label_of_the_model(write):
    with pytest.raises(errors.LabelsFileError, match="--map"):
        read_labels(write(VOC_STYLE), names=["airplane"])


def test_the_map_must_name_what_exists(write):
    path = write(VOC_STYLE)
    with pytest.raises(errors.UnknownLabelError, match="Did you mean 'couch'"):
        read_labels(path, names=["couch"], rename={"sofa": "coach"})
    with pytest.raises(errors.UnknownLabelError, match="Did you mean 'sofa'"):
        read_labels(path, names=["couch"], rename={"sofas": "couch"})
    with pytest.raises(errors.LabelsFileError, match="'dog' twice"):
        read_labels(path, names=["dog"], rename={"cat": "dog"})


def test_rename_reads_json(write):
    assert read_rename(write('{"sofa": "couch", "tvmonitor": "tv"}')) == {
        "sofa": "couch",
        "tvmonitor": "tv",
    }
    assert read_rename(write("{}")) == {}


@pytest.mark.parametrize(
    "text", ["", "sofa=couch", "[]x", '["sofa"]', '{"sofa": 1}', '{"a": "b", "a": "c"}', "[[1]]"]
)
def test_rename_rejects_the_rest(write, text):
    with pytest.raises(errors.LabelsFileError):
        read_rename(write(text))


def test_the_maps_that_ship_fit_each_other():
    renames = read_rename(Path(__file__).parents[4] / "training" / "configs" / "voc_to_coco.json")
    assert len(renames) == len(set(renames.values())) == 6


def test_voc_and_coco(tmp_path):
    data = os.environ.get("PVLR_DATA")
    if not data:
        pytest.skip("PVLR_DATA is not set")
    voc, coco = Path(data, "voc2007/labels.csv"), Path(data, "coco/labels.csv")
    if not (voc.is_file() and coco.is_file()):
        pytest.skip("PVLR_DATA has no VOC and COCO labels")
    table = read_labels(voc, "testdev")
    assert table.targets.shape == (2461, 20)
    assert (table.targets == 0).any()
    assert read_labels(coco, "testdev").targets.all()
    names = [name for name in read_columns(coco) if name != "person_biased"]
    renames = json.loads(
        (Path(__file__).parents[4] / "training" / "configs" / "voc_to_coco.json").read_text()
    )
    both = read_labels(voc, "testdev", names, renames)
    assert len(both.missing) == 60
    assert both.extra == []
    assert (both.targets == 1).sum() == (table.targets == 1).sum()


def test_renames_come_from_files_and_pairs(tmp_path: Path) -> None:
    path = tmp_path / "voc.json"
    path.write_text('{"sofa": "couch", "tvmonitor": "tv"}')
    assert parse_renames([]) == {}
    assert parse_renames([str(path)]) == {"sofa": "couch", "tvmonitor": "tv"}
    assert parse_renames([str(path), "tvmonitor=screen"]) == {
        "sofa": "couch",
        "tvmonitor": "screen",
    }
    with pytest.raises(errors.LabelsFileError):
        parse_renames(["nowhere.json"])
