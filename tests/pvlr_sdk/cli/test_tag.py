"""``pvlr tag``: its three formats, videos, bad files and annotated copies."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from typing import Any

import cv2
import numpy as np
import pytest

from pvlr_sdk import Tagger


def test_json_lines_say_exactly_what_predict_says(pvlr, plan, folder):
    done = pvlr("tag", folder, "--plan", plan, "--json")
    assert (done.code, done.err) == (0, "")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["source"] for line in lines] == [
        str(folder / name) for name in ("a.jpg", "b.png", "sub/a.jpg")
    ]
    with Tagger(plan) as tagger:
        for line in lines:
            assert list(line) == ["source", "frame", "seconds", "tags", "timing_ms", "plan"]
            assert line["frame"] is line["seconds"] is None
            assert line["plan"] == tagger.info["sha256"]
            assert line["tags"] == [
                {"label": tag.label, "score": tag.score, "threshold": tag.threshold}
                for tag in tagger.predict(line["source"])
            ]
            assert set(line["timing_ms"]) == {"decode", "preprocess", "inference", "head", "total"}


@pytest.mark.slow
def test_threshold_and_top_k(pvlr, plan, folder):
    everything = json.loads(
        pvlr("tag", folder / "a.jpg", "--plan", plan, "--json", "--threshold", 0).out
    )
    with Tagger(plan) as tagger:
        assert {tag["label"] for tag in everything["tags"]} == set(tagger.labels)
    two = json.loads(pvlr("tag", folder / "a.jpg", "--plan", plan, "--json", "-t", 0, "-k", 2).out)
    assert two["tags"] == everything["tags"][:2]
    for wrong in (("--threshold", 1.5), ("--threshold", "nan"), ("--top-k", 0), ("--threads", 0)):
        done = pvlr("tag", folder / "a.jpg", "--plan", plan, *wrong)
        assert (done.code, done.out) == (2, "")
        assert "OptionError" in done.err


@pytest.mark.slow
def test_a_decoder_prints_nothing_of_its_own(plan, tmp_path):
    cv2.imwrite(str(tmp_path / "a.tiff"), np.random.default_rng(0).random((64, 64), np.float32))
    command = "from pvlr_sdk.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", command, "tag", tmp_path / "a.tiff", "--plan", plan],
        capture_output=True,
        text=True,
        check=False,
    )
    (message,) = done.stderr.splitlines()
    assert "ImageDecodeError" in message
    assert "of an unusual kind such as 32-bit samples" in message


def test_csv(pvlr, plan, folder, clip):
    done = pvlr(
        "tag", folder / "a.jpg", clip, "--every", 10, "--plan", plan, "--csv", "--threshold", 0
    )
    assert (done.code, done.err) == (0, "")
    rows = list(csv.DictReader(done.out.splitlines()))
    assert list(rows[0]) == ["source", "frame", "label", "score", "threshold", "seconds"]
    assert [(row["frame"], row["seconds"]) for row in rows[::5]] == [
        ("", ""),
        ("0", "0.000"),
        ("10", "1.000"),
    ]
    with Tagger(plan, threshold=0) as tagger:
        assert [row["label"] for row in rows[:5]] == [
            tag.label for tag in tagger.predict(folder / "a.jpg")
        ]
    none = pvlr("tag", folder / "a.jpg", "--plan", plan, "--csv", "--threshold", 1)
    assert none.out.splitlines()[1] == f"{folder / 'a.jpg'},,,,,"


def test_a_video_is_tagged_frame_by_frame(pvlr, plan, clip):
    def frames(*pace: Any) -> list[int]:
        done = pvlr("tag", clip, "--plan", plan, "--json", *pace)
        assert (done.code, done.err) == (0, "")
        lines = [json.loads(line) for line in done.out.splitlines()]
        assert [line["seconds"] for line in lines] == [
            pytest.approx(line["frame"] / 10) for line in lines
        ]
        return [line["frame"] for line in lines]

    text = pvlr("tag", clip, "--plan", plan, "--every", 12, "--threshold", 1).out
    assert text == f"{clip} [0] 0.00 s: -\n{clip} [12] 1.20 s: -\n"
    assert frames() == list(range(20))
    assert frames("--every", 8) == [0, 8, 16]
    assert frames("--fps", 2) == [0, 5, 10, 15]
    assert pvlr("tag", clip, "--plan", plan, "--fps", 2, "--every", 2).code == 2


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_bad_files_in_a_folder_are_reported_and_all_others_tagged(pvlr, plan, folder, form):
    (folder / "aa.jpg").write_text("not an image")
    whole = (folder / "a.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "broken.mp4").write_bytes(b"no video")
    done = pvlr("tag", folder, folder / "gone.jpg", str(folder / "*.bmp"), "--plan", plan, *form)
    assert done.code == 2
    for name in ("a.jpg", "b.png", "sub/a.jpg"):
        assert str(folder / name) in done.out
    for name, error in (
        ("aa.jpg", "ImageDecodeError"),
        ("cut.jpg", "ImageDecodeError"),
        ("broken.mp4", "ImageDecodeError"),
        ("gone.jpg", "ImageNotFoundError"),
        ("*.bmp", "ImageNotFoundError"),
    ):
        assert name not in done.out
        assert any(name in line and error in line for line in done.err.splitlines())
    assert "5 of the inputs" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


def test_one_bad_file_is_one_message(pvlr, plan, tmp_path):
    path = tmp_path / "note.jpg"
    path.write_text("not an image")
    done = pvlr("tag", path, "--plan", plan)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("pvlr: ImageDecodeError: ")


def test_draw_writes_one_annotated_copy_of_each_picture_and_touches_no_source(
    pvlr, plan, folder, clip
):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = pvlr(
        "tag", folder, clip, "--every", 10, "--plan", plan, "--threshold", 0, "--draw", folder
    )
    assert (done.code, done.err) == (0, "")
    assert {path: path.read_bytes() for path in before} == before
    drawn = {str(path.relative_to(folder)) for path in folder.rglob("*-tags.jpg")}
    photos = {"photos/a-tags.jpg", "photos/b-tags.jpg", "photos/sub/a-tags.jpg"}
    assert drawn == photos | {"clip-000000-tags.jpg", "clip-000010-tags.jpg"}
    copy, image = (
        cv2.imread(str(folder / name)).astype(int) for name in ("photos/a-tags.jpg", "a.jpg")
    )
    assert np.abs(copy - image).max() > 50


def test_draw_into_a_place_that_is_no_folder(pvlr, plan, folder):
    done = pvlr("tag", folder, "--plan", plan, "--draw", folder / "a.jpg")
    assert done.code == 2
    assert "OutputError" in done.err


def test_json_and_csv_exclude_each_other(pvlr, plan, folder):
    done = pvlr("tag", folder, "--plan", plan, "--json", "--csv")
    assert (done.code, done.out) == (2, "")
    assert "both" in done.err
