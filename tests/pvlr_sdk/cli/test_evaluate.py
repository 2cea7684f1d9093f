"""``pvlr eval`` and ``pvlr thresholds``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest


def test_eval_json(pvlr, plan, folder):
    labels = folder / "labels.csv"
    labels.write_text(
        "file,split,human,photographer\na.jpg,val,1,0\nb.png,val,0,1\nsub/a.jpg,train,1,0\n"
    )
    mapping = folder / "voc=tiny.json"
    mapping.write_text('{"human": "person"}')
    call = [
        "eval",
        plan,
        "--images",
        folder,
        "--labels",
        labels,
        "--split",
        "val",
        "--map",
        mapping,
    ]
    done = pvlr(*call, "--json")
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    assert list(report)[:4] == ["mAP", "mAP_11pt", "images", "per_class"]
    assert report["images"] == 2
    assert report["mAP"] == report["per_class"]["person"]
    assert report["mAP"] in (50.0, 100.0)
    assert set(report["missing_labels"]) == {"cat", "coffee cup", "rocket", "dining table"}
    assert report["extra_columns"] == ["photographer"]
    text = pvlr(*call)
    assert "'rocket'" in text.out  # of many labels, the first
    assert text.code == 0
    assert f"{report['mAP']:.2f}" in text.out
    assert "photographer" in text.out


@pytest.mark.slow
def test_thresholds(pvlr, own_plan, folder):
    labels = folder / "labels.csv"
    labels.write_text("file,split,human,cat\na.jpg,val,1,0\nb.png,val,1,0\nsub/a.jpg,train,0,1\n")
    call = [
        "thresholds",
        own_plan,
        "--images",
        folder,
        "--labels",
        labels,
        "--split",
        "val",
        "--map",
        "human=person",
    ]
    old = json.loads(pvlr("labels", own_plan, "--json").out)
    done = pvlr(*call, "--objective", "recall=1", "--dry-run", "--json")
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    assert (report["objective"], report["images"], report["written"]) == ("recall=1", 2, False)
    assert json.loads(pvlr("labels", own_plan, "--json").out) == old
    text = pvlr(*call, "--objective", "recall=1")
    assert (text.code, text.err) == (0, "")
    assert "person" in text.out
    assert "without images  cat, coffee cup, rocket, dining table" in text.out
    assert "\nprecise thresholds\n  person  " in text.out
    new = json.loads(pvlr("labels", own_plan, "--json").out)
    assert [row["threshold"] for row in new] == [row["after"] for row in report["labels"]]
    assert new[0] != old[0]
    assert [row["threshold"] for row in new[1:]] == [row["threshold"] for row in old[1:]]
    # No image decides about a second threshold of the others.
    assert [row["precise_threshold"] for row in new[1:]] == [row["threshold"] for row in old[1:]]
    assert [row["precise_threshold"] for row in new] == [row["precise"] for row in report["labels"]]
    tags = [
        json.loads(line)["tags"]
        for line in pvlr("tag", folder, "--plan", own_plan, "--json").out.splitlines()
    ]
    assert all("person" in {tag["label"] for tag in of_photo} for of_photo in tags[:2])


@pytest.mark.slow
def test_tiles(pvlr, own_plan, folder):
    labels = folder / "labels.csv"
    labels.write_text("file,person,cat\na.jpg,1,0\nb.png,1,0\nsub/a.jpg,0,1\n")
    labelled = [own_plan, "--images", folder, "--labels", labels]
    done = pvlr("thresholds", *labelled, "--tiles", "2x2", "--json")
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    assert report["tiles"] == "2x2"
    text = pvlr("thresholds", *labelled, "--tiles", "2x2", "--dry-run")
    assert "thresholds with 2x2 tiles for precision without tiles on 3 images" in text.out
    assert "thresholds for 2x2\n" in pvlr("info", own_plan).out
    measured = [
        json.loads(pvlr("eval", *labelled, *tiles, "--json").out)["mAP"]
        for tiles in ((), ("--tiles", "2x2"), ("--tiles", "1x1"))
    ]
    assert measured[0] == measured[2]
    lines = pvlr(
        "tag", folder / "a.jpg", "--plan", own_plan, "--tiles", "2x2", "--json"
    ).out.splitlines()
    by_label = {row["label"]: row["after"] for row in report["labels"]}
    assert all(
        tag["threshold"] == pytest.approx(by_label[tag["label"]])
        for tag in json.loads(lines[0])["tags"]
    )
    for command in ("thresholds", "eval"):
        for tiles in ("0x1", "100x100", "2", *(("auto", "1x1") if command == "thresholds" else ())):
            done = pvlr(command, *labelled, "--tiles", tiles)
            assert (done.code, done.out) == (2, "")
            assert "tiles: expected" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("command", ["eval", "thresholds"])
def test_it_says_what_is_wrong(pvlr, own_plan, folder, command):
    labels, mapping = folder / "labels.csv", folder / "map.json"
    labels.write_text("file,split,person\na.jpg,val,1\ngone.jpg,val,1\nb.png,val,0\n")
    mapping.write_text('{"person": "persom"}')
    call = [command, own_plan, "--images", folder, "--labels", labels, "--json"]
    for extra, error in (
        (["--map", mapping], "UnknownLabelError"),
        (["--map", folder / "none.json"], "LabelsFileError"),
        (["--split", "test"], "LabelsFileError"),
        (["--images", folder / "nowhere"], "ImageNotFoundError"),
        *([(["--objective", "accuracy"], "OptionError")] if command == "thresholds" else []),
    ):
        done = pvlr(*call, *extra)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"pvlr: {error}: ")
    done = pvlr(*call)
    assert done.code == 2  # one image is missing: the others are used, and the status reports it
    assert json.loads(done.out)["images"] == 2
    assert "gone.jpg" in done.err


def test_thresholds_never_are_those_of_the_bundled_model(pvlr, folder):
    (folder / "labels.csv").write_text("file,person\na.jpg,1\n")
    assert pvlr("thresholds", "--images", folder, "--labels", folder / "labels.csv").code == 2


@pytest.mark.slow
@pytest.mark.parametrize("option", ["--words", "--bank"])
def test_words_and_banks_are_measured_on_labels_of_ones_own(pvlr, tmp_path, option):
    """A photo of a cup of espresso, and one of a cat: the word ranks them in this order."""
    images = Path(__file__).parents[3] / "docs/images"
    labels = tmp_path / "labels.csv"
    labels.write_text("file,espresso,castle\ncoffee.jpg,1,\nchelsea.jpg,-1,\n")
    value = "espresso"
    if option == "--bank":
        value = tmp_path / "bank.safetensors"
        assert pvlr("bank", "make", "-w", "espresso", "-o", value).code == 0
    done = pvlr("eval", "--images", images, "--labels", labels, option, value, "--json")
    assert done.code == 0
    report = json.loads(done.out)
    assert report["per_class"] == {"espresso": 100.0}
    assert report["extra_columns"] == ["castle"]
