"""Videos of an archive: one row each, with its spans."""

from __future__ import annotations

import pytest

from pvlr_sdk.batch import Job
from pvlr_sdk.batch.shards import Input, Shard
from pvlr_sdk.cameras.stream.video import tag_video


@pytest.fixture
def archive(photos, make_clip):
    """The folder of photos, with a video, and one that is damaged."""
    clip = make_clip(20, step=0)
    clip.rename(photos / "trip" / "clip.avi")
    (photos / "bad.mp4").write_bytes(b"no video")
    return photos


@pytest.fixture
def job(archive, plan, tmp_path):
    def make(**more):
        options = {"threshold": 0.0, "precision": "fp32"}
        machine = {"num_threads": 2}
        place = Input(str(archive)), str(tmp_path / "out"), plan
        return Job(*place, options=options, machine=machine, **more)

    return make


def test_a_video_is_a_row_with_its_spans(job, archive, rows, tagger):
    summary = job(tag_video=tag_video).run()
    found = rows(summary.dataset)
    clip = str(archive / "trip/clip.avi")
    assert len(found) == 14
    assert dict(summary.failed) == {"ImageDecodeError": 2}
    assert {span["label"] for span in found[clip]["spans"]} == set(tagger.labels)
    assert {tag["label"] for tag in found[clip]["tags"]} == set(tagger.labels)
    first = found[clip]["spans"][0]
    assert (first["start"], first["end"], first["share"]) == (0, pytest.approx(1.9), 1)
    bad = found[str(archive / "bad.mp4")]
    assert (bad["tags"], bad["spans"], bad["error"]["type"]) == (None, None, "ImageDecodeError")
    assert found[str(archive / "00.jpg")]["spans"] is None
    again = job(tag_video=tag_video).run()
    assert (again.images, again.shards) == (0, 0)
    retried = job(tag_video=tag_video, retry_failed=True).run()
    assert (retried.images, dict(retried.failed)) == (2, {"ImageDecodeError": 2})


def test_without_spans_videos_are_left_out_and_the_dataset_is_another(job, rows):
    without = job().run()
    found = rows(without.dataset)
    assert len(found) == 12
    assert all("spans" not in row for row in found.values())
    assert job(tag_video=tag_video).run().dataset != without.dataset


def test_an_odd_frame_is_no_tag_of_a_video(job, archive, rows, monkeypatch):
    from pvlr_sdk.result import TagResult

    tags = TagResult.tags.fget
    frames = []

    def odd(result):
        if not any(result is frame for frame in frames):
            frames.append(result)
        return tags(result) if result is frames[0] else ()

    monkeypatch.setattr(TagResult, "tags", property(odd))
    for path in archive.rglob("*.*"):
        if path.name != "clip.avi":
            path.unlink()
    (row,) = rows(job(tag_video=tag_video).run().dataset).values()
    assert len(frames) > 1
    assert (row["tags"], row["spans"], row["error"]) == ([], [], None)


def test_parents_are_tags_of_a_video(job, archive, rows):
    made = job(tag_video=tag_video)
    made.options["parents"] = True
    row = rows(made.run().dataset)[str(archive / "trip/clip.avi")]
    labels = {span["label"] for span in row["spans"]}
    assert {tag["label"] for tag in row["tags"]} > labels


def test_a_video_in_a_store_is_a_row_with_its_error(job):
    from pvlr_sdk.batch.job import Summary, Task, Worker

    url = "s3://bucket/clip.mp4"
    worker = Worker(job(tag_video=tag_video))
    shard = Shard("a", "b", url, "video", (url,))
    (table,) = worker._tables(Task(shard, "a-b.parquet"), Summary())
    worker.close()
    (row,) = table.to_pylist()
    assert (row["id"], row["error"]["type"]) == (url, "ImageNotFoundError")
    assert "expected a local video" in row["error"]["message"]
