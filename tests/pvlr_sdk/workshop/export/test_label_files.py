"""Tags as label files, read back by our own readers and by those of the formats' owners."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.workshop.evaluation.label_formats import read_annotations
from pvlr_sdk.workshop.export.label_files import FORMATS, write_labels


@pytest.fixture
def results(tmp_path: Path) -> dict[str, dict[str, float]]:
    names = {"a.jpg": {"dog": 0.9, "traffic light": 0.8}, "b ü.png": {"dog": 0.7}, 'c "&<.webp': {}}
    for number, name in enumerate(names):
        cv2.imwrite(str(tmp_path / name), np.zeros((20 + number, 30, 3), np.uint8))
    return {str(tmp_path / name): scores for name, scores in names.items()}


@pytest.mark.parametrize("kind", ["csv", "coco", "cvat", "fiftyone"])
def test_our_reader_gets_the_same_tags(results, tmp_path, kind):
    out = tmp_path / f"labels.{kind}"
    write_labels(results, out, kind)
    read = read_annotations(out)
    assert sorted(read.labels) == ["dog", "traffic light"]
    assert [Path(file).name for file in read.files] == [Path(file).name for file in results]
    for target, scores in zip(read.targets, results.values(), strict=True):
        assert {
            label for label, value in zip(read.labels, target, strict=True) if value == 1
        } == set(scores)
        assert set(target.tolist()) <= {1, -1}


def test_coco_has_the_sizes_of_the_images(results, tmp_path):
    write_labels(results, tmp_path / "coco.json", "coco")
    content = json.loads((tmp_path / "coco.json").read_text())
    assert [(image["width"], image["height"]) for image in content["images"]] == [
        (30, 20),
        (30, 21),
        (30, 22),
    ]
    assert {tuple(one["bbox"]) for one in content["annotations"]} == {
        (0, 0, 30, 20),
        (0, 0, 30, 21),
    }
    assert [one["score"] for one in content["annotations"]] == [0.9, 0.8, 0.7]
    pycocotools = pytest.importorskip("pycocotools.coco")
    assert len(pycocotools.COCO(str(tmp_path / "coco.json")).getAnnIds(catIds=[1])) == 2


def test_fiftyone_has_all_tags_with_their_scores(results, tmp_path):
    write_labels(results, tmp_path / "labels.json", "fiftyone")
    found = json.loads((tmp_path / "labels.json").read_text())["labels"]
    assert {
        file: {one["label"]: one["confidence"] for one in tags} for file, tags in found.items()
    } == results


def test_fiftyone_itself(results, tmp_path):
    # In an environment of its own: its requirements replace OpenCV.
    importers = pytest.importorskip("fiftyone.utils.data.importers")
    write_labels(results, tmp_path / "labels.json", "fiftyone")
    importer = importers.FiftyOneImageClassificationDatasetImporter(
        labels_path=str(tmp_path / "labels.json")
    )
    importer.setup()
    for path, _, label in importer:
        assert {one.label: one.confidence for one in label.classifications} == results[path]


def studio_tasks(results, path: Path) -> list[dict]:
    write_labels(results, path, "label-studio")
    return json.loads(path.read_text())


def test_predictions_that_are_accepted_as_they_are(results, tmp_path):
    tasks = studio_tasks(results, tmp_path / "tasks.json")
    assert [task["data"]["image"] for task in tasks] == list(results)
    assert [len(task["predictions"]) for task in tasks] == [1, 1, 0]
    assert tasks[0]["predictions"][0]["score"] == 0.8
    exported = [{**task, "annotations": task.pop("predictions")} for task in tasks]
    (tmp_path / "export.json").write_text(json.dumps(exported))
    read = read_annotations(tmp_path / "export.json")
    dog = read.labels.index("dog")
    assert read.targets[:, [dog, 1 - dog]].tolist() == [[1, 1], [1, -1]]


def test_label_studio_accepts_the_predictions(results, tmp_path):
    # pip install --no-deps label-studio-sdk: its requirements replace OpenCV and NumPy.
    interface = pytest.importorskip("label_studio_sdk.label_interface").LabelInterface(
        '<View><Image name="image" value="$image"/><Choices name="tags" toName="image" choice="multiple">'
        '<Choice value="dog"/><Choice value="traffic light"/></Choices></View>'
    )
    for task in studio_tasks(results, tmp_path / "tasks.json"):
        assert all(interface.validate_prediction(prediction) for prediction in task["predictions"])


def test_bad_input(results, tmp_path):
    with pytest.raises(errors.OptionError, match="--format"):
        write_labels(results, tmp_path / "x", "yolo")
    with pytest.raises(errors.OptionError, match="at least one image"):
        write_labels({}, tmp_path / "x", "csv")
    with pytest.raises(errors.OutputError, match="an image whose size can be read"):
        write_labels({**results, "gone.jpg": {}}, tmp_path / "x", "coco")
    assert not (tmp_path / "x").exists()
    assert set(FORMATS) == {"csv", "coco", "cvat", "fiftyone", "label-studio"}
