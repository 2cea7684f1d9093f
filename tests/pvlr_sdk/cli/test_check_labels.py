"""``pvlr check-labels``: from photos to corrected labels, and input that does not fit."""

from __future__ import annotations

import csv
import json
import sys

import cv2
import numpy as np
import pytest

from pvlr_sdk.workshop.evaluation.labels_csv import read_labels

COUNT = 40


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Pictures of discs (even numbers) or stripes; the labels of 6 and 7 are wrong, and 8 is a copy of 38."""
    folder = tmp_path_factory.mktemp("check") / "photos"
    folder.mkdir()
    random = np.random.default_rng(3)
    for number in range(COUNT):
        picture = np.full((240, 240, 3), random.integers(0, 255, 3), np.uint8)
        colour = tuple(map(int, random.integers(0, 255, 3)))
        for _ in range(6):
            x, y = map(int, random.integers(20, 220, 2))
            if number % 2:
                cv2.line(picture, (0, y), (240, x), colour, 8)
            else:
                cv2.circle(picture, (x, y), 22, colour, -1)
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    (folder / "8.png").write_bytes((folder / "38.png").read_bytes())
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.fixture
def labels(photos, tmp_path):
    def cells(number):
        disc = (number % 2 == 0) != (number in (6, 7, 8))
        return [f"{number}.png", "train", 1 if disc else -1, "?" if number == 10 else 1, -1]

    with open(tmp_path / "labels.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "split", "disc", "picture", "=cat"])
        table.writerows(cells(number) for number in range(COUNT))
    return tmp_path / "labels.csv"


@pytest.mark.slow
def test_suspects_are_listed_answered_and_applied(pvlr, photos, labels, tmp_path):
    pytest.importorskip("cleanlab")
    out = tmp_path / "suspects"
    call = ["check-labels", "--images", photos, "--labels", labels, "-o", out]
    done = pvlr(*call)
    assert done.code == 0, done.err
    assert done.out.endswith(f"{out}.html\n{out}.csv\n")
    with open(f"{out}.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert (rows[0]["file"], rows[0]["twin"]) in (("8.png", "38.png"), ("38.png", "8.png"))
    assert {row["label"] for row in rows} == {
        "disc"
    }  # the other labels are on all photos, or on none
    assert {"6.png", "7.png"} <= {row["file"] for row in rows[1:6]}
    assert {row["value"] for row in rows} == {"?"}
    page = (tmp_path / "suspects.html").read_text()
    assert "<script" not in page
    assert "disc is labelled present, score" in page
    assert page.count("<figure>") == len(rows) + sum(bool(row["twin"]) for row in rows)

    again = pvlr(*call)
    assert again.code == 2
    assert "--out: expected a new file" in again.err  # answers are not overwritten

    answers = tmp_path / "answers.csv"
    answers.write_text('file,label,value\n6.png,disc,1\n7.png,disc,?\n8.png,"\'=cat",1\n')
    apply = ["check-labels", "--labels", labels, "--apply", answers, "-o"]
    assert pvlr(*apply, tmp_path / "new").out == f"{tmp_path / 'new.csv'}\n"
    before, after = read_labels(labels), read_labels(tmp_path / "new.csv", "train")
    assert (after.files, after.extra) == (before.files, [])
    changed = {tuple(cell) for cell in np.argwhere(after.targets != before.targets).tolist()}
    assert changed == {(6, 0), (7, 0), (8, 2)}
    assert after.targets[[6, 7, 8], [0, 0, 2]].tolist() == [1, 0, 1]
    assert after.targets[10, 1] == 0  # unknown before and after


@pytest.mark.slow
def test_json_and_photos_that_cannot_be_read(pvlr, photos, labels, tmp_path):
    pytest.importorskip("cleanlab")
    with open(labels, "a") as file:
        file.write("broken.png,train,1,1,-1\ngone.png,train,1,1,-1\n")
    done = pvlr(
        "check-labels", "--images", photos, "--labels", labels, "-o", tmp_path / "a", "--json"
    )
    assert done.code == 2
    assert "2 of 42 images failed" in done.err
    report = json.loads(done.out)
    assert [label["label"] for label in report["labels"]] == ["disc", "picture", "=cat"]
    disc, picture, _ = report["labels"]
    assert disc["present"] + disc["absent"] == report["images"] == COUNT
    assert 50 < disc["average_precision"] <= disc["twice"] <= 100
    assert (picture["unknown"], picture["average_precision"], picture["twice"]) == (1, None, None)
    assert any("fewer than 10" in doubt or "too few" in doubt for doubt in report["doubts"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"LabelsFileError: .*an empty file"),
        ("file\n0.png\n", r"LabelsFileError: .*one column per label"),
        ("name,disc\n0.png,1\n", r"LabelsFileError: .*'file'"),
        ("file,disc\n", r"LabelsFileError: .*expected rows, got none"),
        (
            "file,disc\n0.png,1\n",
            r"OptionError: --labels: expected .* 5 different photos .*'disc: 1 and 0'",
        ),
        ("file,disc\n0.png,?\n1.png,?\n", r"OptionError: --labels: .*disc: 0 and 0"),
        ("file,disc\ngone.png,1\n", r"ImageNotFoundError: .*gone\.png"),
        ("file,disc\nbroken.png,1\n", r"ImageDecodeError: .*broken\.png"),
    ],
)
def test_labels_that_do_not_fit(pvlr, photos, tmp_path, text, message):
    import re

    pytest.importorskip("cleanlab")
    (tmp_path / "labels.csv").write_text(text)
    out = tmp_path / "suspects"
    done = pvlr("check-labels", "--images", photos, "--labels", tmp_path / "labels.csv", "-o", out)
    assert done.code == 2
    assert re.search(message, done.err), done.err
    assert "Traceback" not in done.err
    assert not list(tmp_path.glob("suspects*"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the columns file, label and value, got none"),
        ("file,disc\n6.png,1\n", "expected the columns file, label and value, got 'file', 'disc'"),
        ("file,label,value\nno.png,disc,1\n", "got 'no.png', 'disc', '1' in line 2"),
        ("file,label,value\n6.png,dog,1\n", "got '6.png', 'dog', '1' in line 2"),
        ("file,label,value\n6.png,disc,maybe\n", "got '6.png', 'disc', 'maybe' in line 2"),
        ("file,label,value\n6.png\n", "got '6.png', '', '' in line 2"),
    ],
)
def test_answers_that_do_not_fit(pvlr, labels, tmp_path, text, message):
    (tmp_path / "answers.csv").write_text(text)
    call = ["check-labels", "--labels", labels, "--apply", tmp_path / "answers.csv"]
    done = pvlr(*call, "-o", tmp_path / "new")
    assert (done.code, done.out) == (2, "")
    assert "LabelsFileError: " in done.err
    assert message in done.err
    assert not (tmp_path / "new.csv").exists()


def test_options_that_do_not_fit(pvlr, photos, labels, tmp_path, plan):
    call = ["check-labels", "--labels", labels, "-o", tmp_path / "suspects"]
    assert "--images: expected the folder of the images, got none" in pvlr(*call).err
    assert (
        "OptionError: --out: expected a new file"
        in pvlr(*call[:-1], labels, "--images", photos).err
    )
    if pytest.importorskip("cleanlab"):
        assert "PLAN: expected an open plan" in pvlr(*call, "--images", photos, plan).err
        gone = pvlr(*call, "--images", tmp_path / "gone")
        assert "ImageNotFoundError: " in gone.err
        assert "expected the folder of the images" in gone.err


def test_without_cleanlab(pvlr, photos, labels, tmp_path, monkeypatch):
    for name in ["cleanlab", *(name for name in sys.modules if name.startswith("cleanlab."))]:
        monkeypatch.setitem(sys.modules, name, None)
    done = pvlr("check-labels", "--images", photos, "--labels", labels, "-o", tmp_path / "a")
    assert done.code == 2
    assert "MissingPartError: pvlr check-labels: expected cleanlab" in done.err
    assert '[check]"' in done.err
