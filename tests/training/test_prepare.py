"""Images and labels as people have them: a good split, or one clear message."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pvlr_sdk.errors import ImageNotFoundError, LabelsFileError
from pvlr_sdk.workshop.evaluation.labels_csv import read_labels
from pvlr_training.config import load_config
from pvlr_training.prepare import prepare

RECIPE = {"data": {}, "train": {"head": {}, "finetune": {}}}


def noise(path: Path, seed: int) -> None:
    """Write a file, an image of 8 x 8 squares of noise if it has the name of one."""
    squares = np.random.default_rng(seed).integers(0, 255, (8, 8, 3), np.uint8)
    pixels = cv2.resize(squares, (64, 64), interpolation=cv2.INTER_NEAREST)
    path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., tuple[str, Path]]:
    """Prepare images of noise with a label file; returns the sentences and the run."""

    def make(text: str, files: int | list[str] = 40, limit: int | None = None) -> tuple[str, Path]:
        images, run = tmp_path / "photos", tmp_path / "run"
        for name in [f"{i}.jpg" for i in range(files)] if isinstance(files, int) else files:
            path = images / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                noise(path, zlib.crc32(name.encode()))
        labels = tmp_path / "labels.csv"
        if text:
            labels.write_text(text, encoding="utf-8")
        path, notes = prepare(images, labels if text else None, run, RECIPE, limit)
        load_config(path)
        return "\n".join(notes), run

    return make


def rows(count: int, *columns: Callable[[int], int]) -> str:
    return "".join(
        f"{i}.jpg,{','.join(str(column(i)) for column in columns)}\n" for i in range(count)
    )


even, third = (lambda i: int(i % 2 == 0)), (lambda i: int(i % 3 == 0))


def test_each_label_is_in_both_parts(make: Callable[..., tuple[str, Path]]) -> None:
    rare = lambda i: int(i in (3, 17))
    said, run = make("file,dog,garden chair\n" + rows(100, even, rare), 100)
    assert said.endswith("2 labels, 100 images (80 train, 20 val)")
    for split, images in (("train", 80), ("val", 20)):
        table = read_labels(run / "labels.csv", split)
        assert len(table.files) == images
        assert ((table.targets == 1).sum(0) >= [images / 2 - 1, 1]).all()
    before = (run / "labels.csv").read_text()
    make("file,dog,garden chair\n" + rows(100, even, rare), 100)
    assert (run / "labels.csv").read_text() == before


def test_a_split_val_is_held_out_and_test_is_not_used(
    make: Callable[..., tuple[str, Path]],
) -> None:
    split = lambda i: ["train", "validation", "test", ""][i % 4]
    said, run = make("file,subset,dog\n" + rows(40, split, third))
    assert said.endswith("1 label, 40 images (20 train, 10 val, 10 test)")
    assert len(read_labels(run / "labels.csv", "val").files) == 10


def test_tags_split_at_spaces_are_named(make: Callable[..., tuple[str, Path]]) -> None:
    table = rows(40, lambda i: ["big dog", "Kätzchen 猫", ""][i % 3])
    said, run = make("file;tags\n" + table.replace(",", ";"))
    assert "tags are separated by spaces, as in 'big dog'; a column 'tag'" in said
    assert read_labels(run / "labels.csv").targets.shape == (40, 4)
    said, run = make("file;tag\n" + table.replace(",", ";"))
    assert "separated" not in said
    assert (run / "labels.csv").read_text().splitlines()[0] == "file,split,big dog,Kätzchen 猫"


def test_similar_images_are_in_one_part(
    make: Callable[..., tuple[str, Path]], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    for i in range(40):
        noise(tmp_path / "photos" / f"{i}.jpg", i % 20)
    said, run = make("file,dog\n" + rows(40, lambda i: int(i % 20 < 9)))
    assert "20 images resemble others" in said
    held = set(read_labels(run / "labels.csv", "val").files)
    assert len(held) == 8
    assert {f"{(int(name[:-4]) + 20) % 40}.jpg" for name in held} == held
    said, run = make("file,split,dog\n" + rows(40, lambda i: "val" if i < 3 else "train", even))
    assert (
        "left out of training, because val has a similar image: '20.jpg', '21.jpg', '22.jpg'"
        in said
    )
    assert len(read_labels(run / "labels.csv", "train").files) == 34
    said, run = make("file,split,dog\n" + rows(40, lambda i: "test" if i < 3 else "train", even))
    assert (
        "left out of training, because test has a similar image: '20.jpg', '21.jpg', '22.jpg'"
        in said
    )
    used = {
        name for split in ("train", "val") for name in read_labels(run / "labels.csv", split).files
    }
    assert len(used) == 34
    assert not used & {"20.jpg", "21.jpg", "22.jpg"}
    said, run = make("file,split,dog\n" + rows(40, lambda i: "val" if i < 20 else "train", even))
    assert "most training images resemble images of val" in said
    assert len(read_labels(run / "labels.csv", "train").files) == 20


def test_a_folder_is_in_one_part(make: Callable[..., tuple[str, Path]]) -> None:
    names = [f"camera{i % 12}/{i}.jpg" for i in range(60)]
    said, run = make(
        "file,dog\n" + "".join(f"{name},{i % 2}\n" for i, name in enumerate(names)), names
    )
    assert "12 folders: the images of a folder are held out together" in said
    parts = [
        {name.split("/")[0] for name in read_labels(run / "labels.csv", split).files}
        for split in ("train", "val")
    ]
    assert not parts[0] & parts[1]
    assert len(parts[1]) in (2, 3)


def test_bad_rows_are_skipped_and_counted(make: Callable[..., tuple[str, Path]]) -> None:
    bad = "0.jpg,perhaps,0\n1.jpg,1\nnowhere.jpg,1,1\n2.jpg,0,1\n2.jpg,1,1\n"
    said, run = make(
        "file,dog,cat\n" + bad + rows(40, even, third).split("2.jpg", 1)[1].split("\n", 1)[1]
    )
    assert (
        "4 of 42 rows are skipped: 2 cells in line 3; 'perhaps' in line 2, column 'dog'; no image 'nowhere.jpg'"
        in said
    )
    assert (
        sum(len(read_labels(run / "labels.csv", split).files) for split in ("train", "val")) == 38
    )


def test_columns_of_text_are_not_labels(make: Callable[..., tuple[str, Path]]) -> None:
    said, run = make(
        ",file,dog,photographer\n" + "".join(f"{i},{i}.jpg,{i % 2},Ansel\n" for i in range(40))
    )
    assert "columns that are not labels: '', 'photographer'" in said
    assert read_labels(run / "labels.csv").targets.shape == (40, 1)


@pytest.mark.parametrize(
    ("text", "files", "says"),
    [
        ("", ["notes.txt"], "got no images"),
        ("", 40, r"images without a subfolder: 40\. Add the label file"),
        (
            "file,dog\n" + rows(40, even),
            ["notes.txt"],
            r"no image '0\.jpg' in line 2\. .*photos contains no images",
        ),
        ("", ["dog/1.jpg"], "at least 10 different images"),
        ("", [f"dog/{i}.jpg" for i in range(40)], "all with 'dog'"),
        ("file,dog\n0.jpg,1\n", 1, "at least 10 different images"),
        (
            "file,split,dog\n" + rows(40, lambda i: "val", even),
            40,
            "images: 40, in training: 0, labels on these: 0",
        ),
        (
            "file,dog,cat\n" + rows(40, lambda i: 0, lambda i: 0),
            40,
            "images: 40, in training: 3., labels on these: 0",
        ),
        (
            "file,tagz\n" + rows(40, lambda i: "dog"),
            40,
            "labels on these: 0; columns that are not labels: 'tagz'",
        ),
        (
            "file,dog\n" + rows(40, even),
            15,
            r"25 of 40 that cannot be used, such as no image '15\.jpg'",
        ),
        (
            "file,dog\n" + rows(40, lambda i: 7 if i % 5 < 2 else 1) + "x.jpg,1\n" * 30,
            40,
            "cannot be used",
        ),
    ],
)
def test_nothing_to_learn_from_is_one_message(
    make: Callable[..., tuple[str, Path]], text: str, files: int | list[str], says: str
) -> None:
    with pytest.raises(LabelsFileError, match=says):
        make(text, files)


def test_two_label_files_in_the_folder_are_a_question(
    make: Callable[..., tuple[str, Path]],
) -> None:
    with pytest.raises(LabelsFileError, match=r"got 2: 'a\.csv', 'b\.json'"):
        make("", ["a.csv", "b.json"])


@pytest.mark.parametrize(("name", "got"), [("nowhere", "no such folder"), ("labels.csv", "a file")])
def test_the_folder_must_exist(tmp_path: Path, name: str, got: str) -> None:
    (tmp_path / "labels.csv").touch()
    with pytest.raises(ImageNotFoundError, match=f"{name}.* got {got}"):
        prepare(tmp_path / name, None, tmp_path / "run", RECIPE)


def test_labels_without_images_are_left_out(make: Callable[..., tuple[str, Path]]) -> None:
    said, run = make("file,dog,unicorn,Straße 7\n" + rows(40, even, lambda i: 0, third))
    assert "labels without a training image are left out: 'unicorn'" in said
    assert load_config(run / "config.yaml").data.labels == ("dog", "Straße 7")


def test_folders_files_and_paths_of_tools_are_found(make: Callable[..., tuple[str, Path]]) -> None:
    names = [f"sub/{i}.jpg" for i in range(12)]
    written = [
        "sub/0.jpg",
        "1.jpg",
        "2",
        "/data/upload/4/0a1b2c3d-3.jpg",
        "C:\\photos\\4.jpg",
        "./sub/5.jpg",
    ]
    text = "file,dog\n" + "".join(
        f"{name},{i % 2}\n" for i, name in enumerate([*written, *names[6:]])
    )
    _, run = make(text, names)
    assert sorted(read_labels(run / "labels.csv").files) == sorted(names)


def test_a_limit_keeps_the_rare_labels(make: Callable[..., tuple[str, Path]]) -> None:
    said, run = make("file,dog,rare\n" + rows(100, even, lambda i: int(i < 4)), 100, limit=30)
    assert "30 of 100 images are used" in said
    table = read_labels(run / "labels.csv")
    assert 28 <= len(table.files) <= 32
    assert ((table.targets == 1).sum(0) >= np.array([14, 1])).all()


@pytest.mark.parametrize("name", ["\x1b[31mred", "x" * 1001])
def test_a_name_that_no_bundle_can_have_is_found_before_training(
    name: str, make: Callable[..., tuple[str, Path]]
) -> None:
    with pytest.raises(
        LabelsFileError, match=r"labels\.csv: expected label names of 1 to 1000 .* got '(\\x1b|xxx)"
    ):
        make(f"file,{name},dog\n" + rows(40, even, third))


def test_an_image_that_cannot_be_decoded_is_left_to_training(
    make: Callable[..., tuple[str, Path]], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "3.jpg").write_text("?")
    said, _ = make("file,dog\n" + rows(40, even))
    assert said.endswith("40 images (32 train, 8 val)")
