"""Every format of labels that people have gives the same table."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import errors
from pvlr_sdk.workshop.evaluation.label_formats import read_annotations
from pvlr_sdk.workshop.evaluation.labels_csv import read_labels


def coco() -> str:
    images = [{"id": 7, "file_name": "a.jpg"}, {"id": 9, "file_name": "b c.jpg"}]
    categories = [{"id": 1, "name": "dog"}, {"id": 5, "name": "garden chair"}]
    pairs = [
        {"image_id": 7, "category_id": 1},
        {"image_id": 9, "category_id": 5},
        {"image_id": 9, "category_id": 1},
    ]
    return json.dumps({"images": images, "annotations": pairs, "categories": categories})


def label_studio(minimal: bool) -> str:
    def task(image: str, *labels: str) -> dict[str, Any]:
        if minimal:
            choice: Any = labels[0] if len(labels) == 1 else {"choices": list(labels)}
            return {"image": image, "id": 3, "choice": choice, "annotator": 1, "lead_time": 4.1}
        result = {
            "value": {"choices": list(labels)},
            "from_name": "choice",
            "to_name": "image",
            "type": "choices",
        }
        box = {"value": {"x": 1.0, "rectanglelabels": [labels[0]]}, "type": "rectanglelabels"}
        return {
            "id": 3,
            "data": {"image": image},
            "annotations": [{"result": [result, box], "was_cancelled": False}],
        }

    skipped = {
        "id": 4,
        "data": {"image": "c.jpg"},
        "annotations": [{"result": [], "was_cancelled": True}],
    }
    tasks = [task("a.jpg", "dog"), task("/data/local-files/?d=b%20c.jpg", "dog", "garden chair")]
    return json.dumps(tasks + ([] if minimal else [skipped, {**skipped, "annotations": []}]))


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><job><labels><label><name>dog</name></label>
<label><name>garden chair</name></label></labels></job></meta>
<image id="0" name="a.jpg" width="2" height="2"><tag label="dog" source="manual"></tag></image>
<image id="1" name="b c.jpg" width="2" height="2"><box label="garden chair" xtl="0"></box><tag label="dog"/></image>
</annotations>"""


@pytest.mark.parametrize(
    "text",
    [
        "file,dog,garden chair\na.jpg,1,0\nb c.jpg,1,1\n",
        "Filename;dog;garden chair\na.jpg;1;-1\nb c.jpg;1;1\n",
        "image\tdog\tgarden chair\na.jpg\tyes\tno\nb c.jpg\tYES\tyes\n",
        "path|dog|garden chair\na.jpg|true|False\nb c.jpg|TRUE|True\n",
        "file,dog,garden chair\na.jpg,x,\nb c.jpg,X,x\n",  # marks: empty is absent
        "file,tags\na.jpg,dog\nb c.jpg,dog;garden chair\n",
        "file;labels\na.jpg;dog\nb c.jpg;garden chair,dog\n",
        "image,tags\na.jpg,dog\nb c.jpg,garden chair|dog\n",
        "file,tags\na.jpg,dog\nb c.jpg,dog,garden chair\n",  # not quoted
        "file,label\na.jpg,dog\nb c.jpg,dog\nb c.jpg,garden chair\n",  # a row per tag; no separator in them
        coco(),
        label_studio(minimal=False),
        label_studio(minimal=True),
        CVAT,
    ],
)
def test_every_format_gives_the_same_labels(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labels.txt"
    path.write_text(text, encoding="utf-8")
    table = read_labels(path, names=["dog", "garden chair"])
    assert dict(zip(table.files, table.targets.tolist(), strict=True)) == {
        "a.jpg": [1, -1],
        "b c.jpg": [1, 1],
    }
    assert (table.missing, table.extra) == ([], [])


def test_spaces_separate_tags_only_without_another_separator(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,split,tags\na.jpg,train,dog cat\nb.jpg,val,\n")
    read = read_annotations(path)
    assert (read.labels, read.splits, read.targets.tolist()) == (
        ["dog", "cat"],
        ["train", "val"],
        [[1, 1], [-1, -1]],
    )


def test_a_column_named_file_or_tags_may_be_a_label(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("image,file,tags,Straße\na.jpg,1,0,1\nb.jpg,0,1,0\n", encoding="utf-8")
    read = read_annotations(path)
    assert (read.labels, read.files) == (["file", "tags", "Straße"], ["a.jpg", "b.jpg"])
    path.write_text("file,split,file,split\na.jpg,train,1,-1\n")
    assert read_annotations(path).labels == ["file", "split"]


def test_classes_of_fiftyone_are_names_or_numbers(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    found = {
        "a.jpg": 1,
        "b.jpg": "cat",
        "c": [0, {"label": "dog", "confidence": 0.5}],
        "d.jpg": None,
        "e.jpg": [],
    }
    path.write_text(json.dumps({"classes": ["cat", "dog"], "labels": found}))
    read = read_annotations(path)
    assert (read.labels, read.files) == (["cat", "dog"], list(found))
    assert read.targets.tolist() == [[-1, 1], [1, -1], [1, 1], [-1, -1], [-1, -1]]


@pytest.mark.parametrize("below", ["", "train/"])
def test_folders_are_labels(tmp_path: Path, below: str) -> None:
    for name in ("dog/a.jpg", "garden chair/b.jpg", "dog/c.txt", "dog/deeper/d.png"):
        path = tmp_path / below / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    read = read_annotations(tmp_path)
    assert read.labels == ["dog", "garden chair"]
    assert read.files == [
        below + name for name in ("dog/a.jpg", "dog/deeper/d.png", "garden chair/b.jpg")
    ]
    assert read.targets.tolist() == [[1, -1], [1, -1], [-1, 1]]
    assert read.splits == (["train"] * 3 if below else None)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "damaged"),
        ("<a", "damaged"),
        ("<html></html>", "another format"),
        ("[]", "labelled images"),
        ('[{"data": {"text": "a"}, "annotations": []}]', "labelled images"),
        ("[3]", "labelled images"),
        ("{}", "images, annotations and categories"),
        ('{"classes": null, "labels": ["a.jpg"]}', "another structure"),
        ('{"classes": ["dog"], "labels": {"a.jpg": 1}}', "another structure"),
        ('{"classes": null, "labels": {"a.jpg": {"confidence": 1}}}', "another structure"),
        ('[{"image": "/d/a.jpg", "annotations": [{"results": []}]}]', ""),
        ('[{"image": "/d/a.jpg", "annotations": [[]]}]', ""),
        ('[{"image": "http://[/a.jpg"}]', ""),
        ('{"images": [{"id": [], "file_name": "a.jpg"}], "categories": [], "annotations": []}', ""),
        ('{"images": {"id": 1}, "categories": 1, "annotations": 1}', ""),
        ("[" * 100_000, ""),
    ],
)
def test_another_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "labels"
    path.write_text(text)
    with pytest.raises(errors.LabelsFileError, match=says):
        read_annotations(path)


def many(count: int) -> Iterator[tuple[str, str]]:
    """Label files whose images times labels are count x count."""
    numbers = range(count)
    yield "csv", "file,tag\n" + "".join(f"{number}.jpg,t{number}\n" for number in numbers)
    names = {f"{number}.jpg": f"t{number}" for number in numbers}
    yield "fiftyone", json.dumps({"classes": [], "labels": names})
    images = [{"id": number, "file_name": f"{number}.jpg"} for number in numbers]
    categories = [{"id": number, "name": f"t{number}"} for number in numbers]
    yield "coco", json.dumps({"images": images, "categories": categories, "annotations": []})
    marks = [{"image": f"{number}.jpg", "choice": f"t{number}"} for number in numbers]
    yield "label studio", json.dumps(marks)
    tags = "".join(
        f'<image name="{number}.jpg"><tag label="t{number}"/></image>' for number in numbers
    )
    yield "cvat", f"<annotations>{tags}</annotations>"


@pytest.mark.parametrize("text", [pytest.param(text, id=name) for name, text in many(40_000)])
def test_images_times_labels_are_bounded(tmp_path: Path, text: str) -> None:
    """A file of a few MB would need 1.6 GB, one of 1 GB thousands of times as much."""
    path = tmp_path / "labels"
    path.write_text(text)
    with pytest.raises(errors.LabelsFileError, match=r"got 40000 images and 40000 labels"):
        read_annotations(path)


def test_many_labels_that_no_image_has_take_no_time(tmp_path: Path) -> None:
    path = tmp_path / "labels.json"
    categories = [{"id": number, "name": f"t{number}"} for number in range(60_000)]
    path.write_text(
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "a.jpg"}],
                "categories": categories,
                "annotations": [],
            }
        )
    )
    start = time.perf_counter()
    assert read_labels(path).targets.shape == (1, 60_000)
    assert time.perf_counter() - start < 5


def test_a_folder_without_subfolders_is_named(tmp_path: Path) -> None:
    with pytest.raises(errors.LabelsFileError, match="no images"):
        read_annotations(tmp_path)
    (tmp_path / "a.jpg").touch()
    with pytest.raises(errors.LabelsFileError, match="images without a subfolder: 1"):
        read_annotations(tmp_path)


def test_rows_that_cannot_be_read_are_kept_apart(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("file,dog,cat\na.jpg,1,0\nb.jpg,1\n,1,1\nc.jpg,maybe,1\n")
    read = read_annotations(path)
    assert read.files == ["a.jpg", "c.jpg"]
    assert [error.got for error in read.broken] == ["2 cells in line 3", "no file name in line 4"]
    assert read.invalid == {(1, 0): "maybe"}
    with pytest.raises(errors.LabelsFileError, match="2 cells in line 3"):
        read_labels(path)


def test_what_is_not_a_regular_file_neither_blocks_nor_floods(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "labels.csv")
    for path in (tmp_path / "labels.csv", Path("/dev/zero")):
        with pytest.raises(
            errors.LabelsFileError, match="expected a readable file, got Not a regular file"
        ):
            read_annotations(path)
