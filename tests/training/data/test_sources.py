"""Small data sets in each format give the images and targets that the format defines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from pvlr_sdk.errors import ConfigError, LabelsFileError, UnknownLabelError
from pvlr_training.config import load_config
from pvlr_training.data.config import CsvSource, SourceConfig
from pvlr_training.data.images import load_dataset
from pvlr_training.data.sources import read_all, read_source

LABELS = ("dog", "person", "unicorn", "cat")


def read(raw: dict[str, Any], labels: tuple[str, ...] = LABELS) -> dict[str, list[int]]:
    """File (with the folder above it) -> target."""
    rows = read_source(TypeAdapter(SourceConfig).validate_python(raw), labels)
    return {f"{path.parent.name}/{path.name}": target.tolist() for path, target in rows}


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def annotation(*objects: tuple[str, int | None], inside: str = "") -> str:
    things = "".join(
        f"<object><name>{name}</name>{inside}{'' if hard is None else f'<difficult>{hard}</difficult>'}</object>"
        for name, hard in objects
    )
    return f"<annotation><filename>x.jpg</filename>{things}</annotation>"


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    """Three images in the layout of VOC2007."""
    root = tmp_path / "VOC2007"
    write(root / "ImageSets/Main/train.txt", "000001\n000002\n")
    write(root / "ImageSets/Main/val.txt", "000007\n")
    write(
        root / "Annotations/000001.xml",
        annotation(("dog", 1), ("person", 1), ("dog", 0), ("sofa", 0)),
    )
    write(root / "Annotations/000002.xml", annotation(("person", 1), ("cat", None)))
    # The parts of a person are not objects.
    write(
        root / "Annotations/000007.xml",
        annotation(("person", 0), inside="<part><name>head</name></part>"),
    )
    return root


def test_voc_counts_difficult_objects_as_unknown_and_other_labels_too(devkit: Path) -> None:
    found = read({"kind": "voc", "devkit": devkit, "splits": ["train", "val"]})
    assert found == {
        "JPEGImages/000001.jpg": [1, 0, 0, -1],
        "JPEGImages/000002.jpg": [-1, 0, 0, 1],
        "JPEGImages/000007.jpg": [-1, 1, 0, -1],
    }


def test_voc_rename_and_split(devkit: Path, tmp_path: Path) -> None:
    rename = write(tmp_path / "map.json", '{"sofa": "couch"}')
    found = read(
        {"kind": "voc", "devkit": devkit, "splits": ["train"], "rename": rename}, ("couch", "dog")
    )
    assert found == {"JPEGImages/000001.jpg": [1, 1], "JPEGImages/000002.jpg": [-1, -1]}


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (
            lambda root: (root / "ImageSets/Main/train.txt").unlink(),
            r"train\.txt: expected a readable file",
        ),
        (
            lambda root: (root / "Annotations/000002.xml").unlink(),
            r"000002\.xml: expected a readable file",
        ),
        (
            lambda root: write(root / "Annotations/000002.xml", "<annotation><object>"),
            r"000002\.xml: .* XML",
        ),
        (lambda root: write(root / "Annotations/000002.xml", annotation(("yak", 0))), "got 'yak'"),
        (
            lambda root: (root / "Annotations/000002.xml").write_bytes(b"\xff\xfe\x00"),
            "another encoding",
        ),
    ],
)
def test_a_wrong_devkit_is_named(
    devkit: Path, damage: Callable[[Path], object], named: str
) -> None:
    damage(devkit)
    with pytest.raises(LabelsFileError, match=named):
        read({"kind": "voc", "devkit": devkit, "splits": ["train"]})


INSTANCES: dict[str, Any] = {
    "images": [{"id": number, "file_name": f"{number:06}.jpg"} for number in (9, 25, 3)],
    "annotations": [
        {"image_id": 9, "category_id": 18, "iscrowd": 0},
        {"image_id": 9, "category_id": 18, "iscrowd": 0},
        {"image_id": 9, "category_id": 90, "iscrowd": 0},
        {"image_id": 25, "category_id": 1, "iscrowd": 1},
    ],
    # Ids have gaps, as in COCO.
    "categories": [
        {"id": 1, "name": "person"},
        {"id": 18, "name": "dog"},
        {"id": 90, "name": "toothbrush"},
    ],
}


def coco(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    path = write(tmp_path / "instances.json", json.dumps({**INSTANCES, **changes}))
    return {"images": tmp_path / "train2017", "labels": path}


def test_coco_takes_instances_and_crowds_and_keeps_empty_photos(tmp_path: Path) -> None:
    assert read(coco(tmp_path)) == {
        "train2017/000009.jpg": [1, -1, 0, 0],
        "train2017/000025.jpg": [-1, 1, 0, 0],
        "train2017/000003.jpg": [-1, -1, 0, 0],
    }


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"annotations": [{"image_id": 4, "category_id": 1}]}, "image 4"),
        ({"annotations": [{"image_id": 9, "category_id": 2}]}, "category 2"),
        ({"annotations": [{"image_id": 9, "caption": "a dog"}]}, "category_id"),
        ({"categories": None}, "another structure"),
        ({"categories": [{"id": 1, "name": "yak"}], "annotations": []}, "at least one column"),
    ],
)
def test_a_wrong_instances_file_is_named(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(LabelsFileError, match=named):
        read(coco(tmp_path, **changes))


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_file_that_is_no_instances_json(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "other.json", text)
    with pytest.raises(LabelsFileError, match=r"other\.json"):
        read({"images": tmp_path, "labels": path})


@pytest.fixture
def nuswide(tmp_path: Path) -> Path:
    root = tmp_path / "NUS-WIDE"
    write(root / "ImageList/TrainImagelist.txt", "actor\\0001_2124494179.jpg\nzebra\\0002_1.jpg \n")
    write(root / "ImageList/TestImagelist.txt", "bear\\0003_2.jpg\n")
    truth = root / "Groundtruth/TrainTestLabels"
    for concept, train, test in [
        ("dog", "1\n0\n", "0\n"),
        ("person", "1\n1\n", "1\n"),
        ("sky", "0\n1\n", "1\n"),
    ]:
        write(truth / f"Labels_{concept}_Train.txt", train)
        write(truth / f"Labels_{concept}_Test.txt", test)
    return root


def test_nuswide_lines_up_lists_and_ground_truth(nuswide: Path) -> None:
    source = {"kind": "nuswide", "root": nuswide, "splits": ["train"]}
    assert read(source) == {
        "actor/0001_2124494179.jpg": [1, 1, 0, 0],
        "zebra/0002_1.jpg": [-1, 1, 0, 0],
    }
    other = {**source, "splits": ["test"], "images": nuswide / "photos"}
    ((path, target),) = read_source(TypeAdapter(SourceConfig).validate_python(other), ("sky",))
    assert (path, target.tolist()) == (nuswide / "photos/bear/0003_2.jpg", [1])


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        (
            "Groundtruth/TrainTestLabels/Labels_dog_Train.txt",
            "1\n",
            r"Labels_dog_Train\.txt: expected 2 lines",
        ),
        ("Groundtruth/TrainTestLabels/Labels_dog_Train.txt", "1\n-1\n", "got '-1'"),
        ("ImageList/TrainImagelist.txt", "", "expected 0 lines"),
    ],
)
def test_wrong_nuswide_lists_are_named(nuswide: Path, file: str, text: str, named: str) -> None:
    write(nuswide / file, text)
    with pytest.raises(LabelsFileError, match=named):
        read({"kind": "nuswide", "root": nuswide, "splits": ["train"]})


def test_rename_maps_to_known_names_only(nuswide: Path, tmp_path: Path) -> None:
    rename = write(tmp_path / "map.json", '{"hound": "dog"}')
    with pytest.raises(UnknownLabelError, match="hound"):
        read({"kind": "nuswide", "root": nuswide, "splits": ["train"], "rename": rename})


def test_a_source_without_a_kind_is_a_csv_and_mistakes_are_named_by_their_key(
    write_config: Any,
) -> None:
    config = load_config(write_config())
    assert isinstance(config.data.sources[0], CsvSource)
    for source, named in [
        ({"kind": "vocc"}, r"data\.sources\.0: .*'vocc'"),
        ({"kind": "voc", "devkit": "x", "split": ["a"]}, r"data\.sources\.0\.splits?:"),
        (
            {"images": "x", "splits": ["a"]},
            r"data\.sources\.0\.labels: expected a value, got nothing[^\n]*$",
        ),
        (
            {"kind": "nuswide", "root": "x", "splits": ["val"]},
            r"data\.sources\.0\.splits\.0: .*'train' or 'test'",
        ),
    ]:
        with pytest.raises(ConfigError, match=named):
            load_config(write_config(data={"sources": [source]}))


def test_a_csv_without_splits_is_taken_whole(tmp_path: Path) -> None:
    labels = write(tmp_path / "labels.csv", "file,dog\n1.jpg,1\n2.jpg,-1\n")
    found = read({"images": tmp_path, "labels": labels}, ("dog",))
    assert list(found.values()) == [[1], [-1]]


def test_sources_of_several_kinds_are_joined(write_config: Any, photos: Path, devkit: Path) -> None:
    (devkit / "JPEGImages").mkdir()
    for name in ("000001", "000002"):
        (devkit / f"JPEGImages/{name}.jpg").write_bytes((photos / "0.png").read_bytes())
    both = [{"images": str(photos), "labels": str(photos / "labels.csv"), "splits": ["train"]}]
    both.append({"kind": "voc", "devkit": str(devkit), "splits": ["train"]})
    loaded = load_dataset(
        load_config(write_config(data={"sources": both, "labels": ["red", "dog"]})).data
    )
    assert loaded.names[-2:] == ["000001.jpg", "000002.jpg"]
    assert loaded.targets[-2:].tolist() == [[0, 1], [0, -1]]
    assert set(loaded.targets[:-2, 1].tolist()) == {0}


CAMERAS = (
    "file,split,source,dog,cat\n1.jpg,train,hall,1,\n2.jpg,train,yard,0,1\n"
    "3.jpg,train,roof,,0\n4.jpg,val,yard,1,1\n"
)


def test_frames_of_whole_cameras_are_left_out_and_their_empty_cells_stay_unknown(
    tmp_path: Path,
) -> None:
    labels = write(tmp_path / "labels.csv", CAMERAS)

    def files(**keys: Any) -> dict[str, list[int]]:
        found = read(
            {"images": tmp_path, "labels": labels, "splits": ["train"], **keys}, ("dog", "cat")
        )
        return {Path(name).stem: target for name, target in found.items()}

    assert files(without={"source": ["yard", "roof"]}) == {"1": [1, 0]}
    assert files(only={"source": ["yard", "roof"]}) == {"2": [-1, 1], "3": [0, -1]}
    assert files(only={"source": ["yard", "roof"]}, without={"source": ["roof"], "cat": ["0"]}) == {
        "2": [-1, 1]
    }


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"without": {"camera": ["hall"]}}, "a column 'camera'"),
        ({"only": {"source": ["cellar"]}}, "none of 3"),
    ],
)
def test_a_choice_that_cannot_be_meant_is_an_error(
    tmp_path: Path, keys: dict[str, Any], named: str
) -> None:
    labels = write(tmp_path / "labels.csv", CAMERAS)
    with pytest.raises(LabelsFileError, match=named):
        read({"images": tmp_path, "labels": labels, "splits": ["train"], **keys}, ("dog", "cat"))


def test_a_source_can_hold_out_another_share(write_config: Any, photos: Path) -> None:
    table = {"images": str(photos), "labels": str(photos / "labels.csv")}
    config = load_config(
        write_config(
            data={"sources": [table, {**table, "holdout": 0.0}, {**table, "holdout": 0.49}]}
        )
    )
    held = [is_held for _, _, is_held in read_all(config.data)]
    count = len(held) // 3
    shares = [sum(held[start : start + count]) / count for start in (0, count, 2 * count)]
    assert shares[1] == 0
    assert 0 < shares[0] < shares[2]
