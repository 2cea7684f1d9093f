"""``pvlr tag --spans``: its three forms, sidecars and bad input."""

from __future__ import annotations

import csv
import json

import pytest

from pvlr_sdk import Tagger

COLUMNS = ["source", "label", "start", "end", "best", "frame", "score", "threshold", "share"]


def test_json_csv_and_text_have_the_same_spans(pvlr, plan, clip):
    arguments = ("tag", clip, "--plan", plan, "--threshold", 0, "--spans")
    done = pvlr(*arguments, "--json")
    assert (done.code, done.err) == (0, "")
    (line,) = map(json.loads, done.out.splitlines())
    names = ["source", "seconds", "frames", "computed", "tags", "spans", "plan"]
    assert list(line) == names
    with Tagger(plan) as tagger:
        assert {span["label"] for span in line["spans"]} == set(tagger.labels)
        assert line["plan"] == tagger.info["sha256"]
    assert line["source"] == str(clip)
    assert (line["seconds"], line["frames"]) == (1.9, 20)
    assert 2 <= line["computed"] <= 4
    assert all((span["start"], span["end"], span["share"]) == (0, 1.9, 1) for span in line["spans"])

    rows = list(csv.DictReader(pvlr(*arguments, "--csv").out.splitlines()))
    assert list(rows[0]) == COLUMNS
    for row, span in zip(rows, line["spans"], strict=True):
        assert row["label"] == span["label"]
        assert float(row["best"]) == span["best"]
        assert float(row["score"]) == pytest.approx(span["score"], abs=1e-6)

    text = pvlr(*arguments).out.splitlines()
    first = line["spans"][0]
    assert len(text) == len(rows)
    assert text[0].startswith(f"{clip}: 0.0 to 1.9 s, 100 %: {first['label']} {first['score']:.2f}")


def test_a_video_without_spans(pvlr, plan, clip):
    arguments = ("tag", clip, "--plan", plan, "--threshold", 1, "--spans")
    assert pvlr(*arguments).out == f"{clip}: -\n"
    assert pvlr(*arguments, "--csv").out.splitlines()[1] == f"{clip},,,,,,,,"
    assert json.loads(pvlr(*arguments, "--json").out)["spans"] == []


def test_photos_are_refused(pvlr, plan, folder, clip):
    done = pvlr("tag", clip, folder, "--plan", plan, "--spans")
    assert (done.code, done.out) == (2, "")
    assert f"OptionError: --spans: expected videos only, got {folder / 'a.jpg'}. " in done.err
    done = pvlr("tag", clip, "--plan", plan, "--spans", "--draw", folder)
    assert (done.code, "OptionError: --spans: expected no --draw" in done.err) == (2, True)


def test_bad_videos_are_reported_and_all_others_tagged(pvlr, plan, clip, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no video")
    videos = (tmp_path / "bad.mp4", tmp_path / "gone.mp4", clip)
    done = pvlr("tag", *videos, "--plan", plan, "--threshold", 0, "--spans", "--json")
    assert done.code == 2
    assert [json.loads(line)["source"] for line in done.out.splitlines()] == [str(clip)]
    assert "ImageDecodeError" in done.err
    assert "ImageNotFoundError" in done.err
    assert "Traceback" not in done.err


def odd_frame(source, count=30):
    """Lines of ``pvlr tag --json``: a cat in all frames, and a dog in a single one."""
    tag = {"score": 0.9, "threshold": 0.5}
    for frame in range(count):
        labels = ["cat", "dog"] if frame == 7 else ["cat"]
        tags = [{"label": label, **tag} for label in labels]
        yield json.dumps(
            {"source": str(source), "frame": frame, "seconds": frame / 10, "tags": tags}
        )


def test_one_odd_frame_of_an_earlier_run_is_no_tag(clip, folder, tmp_path):
    from pvlr_sdk.workshop.export.results import read_results

    photo = {"source": "a.jpg", "frame": None, "tags": [{"label": "dog", "score": 0.7}]}
    lines = tmp_path / "tags.jsonl"
    lines.write_text("\n".join([*odd_frame(clip), json.dumps(photo)]) + "\n")
    assert read_results(lines) == {str(clip): {"cat": 0.9}, "a.jpg": {"dog": 0.7}}


@pytest.mark.parametrize("form", [["--spans"], []])
def test_sidecars_have_the_tags_of_spans(pvlr, plan, clip, monkeypatch, form):
    """With a label that is a tag in one frame of the video only."""
    pytest.importorskip("lxml.etree")
    from pvlr_sdk.result import TagResult
    from pvlr_sdk.workshop.export import xmp

    written = {}
    monkeypatch.setattr(
        xmp, "tag_photo", lambda path, scores, **_: written.update({path: scores}) or True
    )
    with Tagger(plan) as tagger:
        often, once = tagger.labels[:2]
    frames = []
    tags = TagResult.tags.fget

    def odd(result):
        if not any(result is frame for frame in frames):
            frames.append(result)
        labels = [often, once] if len(frames) > 1 and result is frames[1] else [often]
        return tuple(tag for tag in tags(result) if tag.label in labels)

    monkeypatch.setattr(TagResult, "tags", property(odd))
    done = pvlr("tag", clip, "--plan", plan, "--threshold", 0, "--xmp", "--json", *form)
    assert (done.code, done.err) == (0, "")
    assert {path: [*scores] for path, scores in written.items()} == {clip: [often]}


def test_batch_tags_videos_by_spans(pvlr, plan, folder, make_clip, tmp_path):
    pytest.importorskip("pyarrow")
    pytest.importorskip("lxml.etree")
    make_clip(20, step=0).rename(folder / "clip.avi")
    arguments = ("batch", folder, "--out", tmp_path / "out", "--plan", plan, "--threshold", 0)
    done = pvlr(*arguments, "--spans", "--xmp", "--json")
    assert done.code == 0
    assert json.loads(done.out)["images"] == 4
    assert (folder / "clip.avi.xmp").is_file()
    assert json.loads(pvlr("xmp", tmp_path / "out", "--json").out)["changed"] == 0
