"""Every image once, equal to ``pvlr tag``; what is there is not done again; changed folders."""

from __future__ import annotations

import os
import shutil
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pvlr_sdk.batch import Job
from pvlr_sdk.batch.job import Worker, here
from pvlr_sdk.batch.shards import Input, _chunks


@pytest.fixture
def job(photos, plan, tmp_path):
    def make(source=photos, size=2, exclude=(), options=None, **more):
        where = Input(str(source), exclude, size), str(tmp_path / "out"), plan
        return Job(
            *where,
            options={"precision": "fp32", **(options or {})},
            machine={"num_threads": 2},
            **more,
        )

    return make


def files(dataset: str) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in Path(dataset).iterdir()}


def test_a_folder(job, photos, rows, tagger):
    summary = job(scores=True).run()
    found = rows(summary.dataset)
    assert (summary.images, summary.tagged, dict(summary.failed)) == (
        12,
        11,
        {"ImageDecodeError": 1},
    )
    assert summary.shards == len(files(summary.dataset)) > 3
    assert set(found) == {str(path) for path in photos.rglob("*.*")}
    for name, row in found.items():
        if not row["error"]:
            assert row["tags"] == tagger.predict(name).to_dict()["tags"]
    assert summary.to_dict()["images_per_second"] > 0
    assert summary.core_hours > 0


def test_paths_hold_in_another_working_directory(job, photos, monkeypatch):
    monkeypatch.chdir(photos.parent)
    assert job(source=photos.name).input.source == str(photos)
    assert job(source="s3://bucket/photos").input.source == "s3://bucket/photos"


def test_a_restart_does_only_what_is_missing(job, rows):
    whole = job().run()
    before = files(whole.dataset)
    gone = sorted(before)[::2]
    for name in gone:
        (Path(whole.dataset) / name).unlink()
    summary = job().run()
    after = files(summary.dataset)
    assert sorted(before) == sorted(after)
    assert (summary.shards, summary.present) == (len(gone), len(before) - len(gone))
    assert all(after[name] == before[name] for name in before if name not in gone)
    assert len(rows(summary.dataset)) == 12


@pytest.mark.slow
def test_another_plan_or_option_is_another_dataset(job, plans, photos, tmp_path):
    sets = {
        job().run().dataset,
        job(options={"threshold": 0.5}).run().dataset,
        job(scores=True).run().dataset,
    }
    for name in ("first", "second"):
        sets.add(
            Job(Input(str(photos)), str(tmp_path / "out"), plans / name / "engine.plan")
            .run()
            .dataset
        )
    assert len(sets) == 5


def test_the_contents_of_a_bank_and_of_the_knowledge_are_part_of_the_dataset(
    own_plan, photos, tmp_path
):
    bank, knowledge = tmp_path / "bank.safetensors", own_plan.with_suffix(".knowledge.safetensors")
    for options, file in (({"bank": str(bank)}, bank), ({"words": ["castle"]}, knowledge)):
        addresses = set()
        for contents in (b"one", b"another"):
            file.write_bytes(contents)
            made = Job(Input(str(photos)), str(tmp_path / "out"), own_plan, options=options)
            addresses.add(made.dataset().address)
        assert len(addresses) == 2


def test_tiles_are_part_of_the_dataset(job):
    addresses = [
        job(options=options).dataset().address
        for options in ({}, {"tiles": None}, {"tiles": (2, 2)})
    ]
    assert addresses[0] == addresses[1] != addresses[2]
    assert job(options={"tiles": "auto"}).dataset().address not in addresses
    assert job(options={"tiles": (2, 2)}).run().failed == job().run().failed  # the damaged one


def test_new_thresholds_are_another_dataset(photos, own_plan, tmp_path):
    import numpy as np

    from pvlr_sdk.bundle.bundle import write_thresholds
    from pvlr_sdk.models.find import load_bundle

    first = Job(Input(str(photos)), str(tmp_path / "out"), own_plan).run()
    bundle = load_bundle(own_plan)
    write_thresholds(bundle, np.full(len(bundle.labels.names), 0.5, np.float32))
    assert Job(Input(str(photos)), str(tmp_path / "out"), own_plan).run().dataset != first.dataset


def test_a_changed_folder_is_tagged_again_where_it_changed(job, photos, rows, images):
    before = job().run()
    (photos / "04a.jpg").write_bytes(images(1)[0])
    (photos / "10.png").unlink()
    (photos / "trip/05.webp").write_bytes(images(1)[0])
    summary = job().run()
    assert 0 < summary.shards < before.shards
    found = rows(summary.dataset)
    assert set(found) == {str(path) for path in photos.rglob("*.*")}
    assert not any(row["error"] for row in found.values())


def test_only_new_tags_only_what_has_no_row(job, photos, rows, images):
    job().run()
    shutil.copy(photos / "00.jpg", photos / "04a.jpg")
    (photos / "10.png").unlink()
    summary = job(only_new=True).run()
    assert summary.images == 1
    assert len(rows(summary.dataset)) == 13
    assert job(only_new=True).run().images == 0
    assert len(rows(job().run().dataset)) == 12  # again what is in the folder


def test_retry_failed(job, tmp_path, photos, rows, tagger):
    source, late = tmp_path / "source", tmp_path / "late.jpg"
    source.mkdir()
    urls = [*map(str, sorted(photos.rglob("*.*"))), str(late)]
    pq.write_table(pa.table({"url": urls}), source / "urls.parquet")
    shutil.copy(photos / "00.jpg", source)
    assert job(source).run().failed == {"ImageDecodeError": 1, "ImageNotFoundError": 1}
    assert job(source).run().images == 0
    shutil.copy(photos / "00.jpg", late)
    summary = job(source, retry_failed=True).run()
    assert (summary.images, dict(summary.failed), summary.present) == (
        2,
        {"ImageDecodeError": 1},
        1,
    )
    found = rows(summary.dataset)
    assert set(found) == {*urls, str(source / "00.jpg")}
    assert found[str(late)]["tags"] == tagger.predict(late).to_dict()["tags"]
    shutil.copy(photos / "00.jpg", photos / "trip/05.webp")
    assert job(source, retry_failed=True, only_new=True).run().failed == {}
    assert job(source, retry_failed=True).run().images == 0
    assert len(rows(summary.dataset)) == 14


def test_exclude_hidden_files_patterns_and_the_dataset_itself(job, photos, rows, plan):
    (photos / ".hidden").mkdir()
    shutil.copy(photos / "00.jpg", photos / ".hidden/a.jpg")
    shutil.copy(photos / "00.jpg", photos / "_a.jpg")
    (photos / "b.txt").write_text("text")
    os.symlink(photos, photos / "loop")
    assert len(rows(job(exclude=("trip", "0?.*")).run().dataset)) == 1
    inside = Job(Input(str(photos)), str(photos / "tags"), plan)
    assert inside.run().images == 12
    assert inside.run().images == 0


def test_links_to_files_are_followed(job, photos, tmp_path, rows, tagger):
    links = tmp_path / "links"
    links.mkdir()
    (links / "a.jpg").symlink_to(photos / "00.jpg")
    (links / "b.jpg").symlink_to(photos / "none.jpg")
    (links / "c.jpg").symlink_to(photos)
    summary = job(links).run()
    found = rows(summary.dataset)
    assert found[f"{links}/a.jpg"]["tags"] == tagger.predict(photos / "00.jpg").to_dict()["tags"]
    assert found[f"{links}/b.jpg"]["error"]["type"] == "ImageNotFoundError"
    assert len(found) == 2


def test_a_pattern(job, photos, rows):
    summary = job(photos / "**/*.png").run()
    assert set(rows(summary.dataset)) == {str(path) for path in photos.rglob("*.png")}
    job(photos / "*.jpg").run()
    assert len(rows(summary.dataset)) == 4 + 2  # a second pattern adds to the first


def test_a_name_that_is_not_utf8(job, photos, rows):
    data = (photos / "00.jpg").read_bytes()
    shutil.copy(photos / "00.jpg", os.fsencode(photos) + b"/\xff.jpg")
    pq.write_table(pa.table({"bytes": [data]}), photos / "a.parquet")
    os.rename(photos / "a.parquet", os.fsencode(photos) + b"/\xff.parquet")
    found = rows(job().run().dataset)
    assert (
        found[f"{photos}/\\xff.jpg"]["error"] is found[f"{photos}/\\xff.parquet#0"]["error"] is None
    )


def test_parquet_with_bytes_and_urls(job, tmp_path, photos, images, rows, tagger):
    source = tmp_path / "parquet"
    source.mkdir()
    encoded = images(20)
    pq.write_table(
        pa.table({"id": [f"n{i}" for i in range(20)], "bytes": encoded}), source / "bytes.parquet"
    )
    urls = [path.as_uri() for path in sorted(photos.glob("*.*"))]
    pq.write_table(pa.table({"url": urls}), source / "urls.parquet")
    pq.write_table(pa.table({"bytes": encoded[:2]}), source / "numbers.parquet")
    summary = job(source).run()
    found = rows(summary.dataset)
    numbers = [f"{source}/numbers.parquet#{i}" for i in range(2)]
    assert set(found) == {*(f"n{i}" for i in range(20)), *urls, *numbers}
    assert summary.shards == 3
    assert found["n19"]["tags"] == tagger.predict(encoded[19]).to_dict()["tags"]
    assert found[urls[3]]["tags"] == tagger.predict(sorted(photos.glob("*.*"))[3]).to_dict()["tags"]


def test_tars(job, tmp_path, images, rows, make_tar, tagger):
    one, two, three = images(3)
    make_tar(tmp_path / "a.tar", {"000.jpg": one, "000.json": b"{}", "sub/001.png": two})
    make_tar(tmp_path / "b.tar", {"000.jpg": three})
    found = rows(job(tmp_path / "*.tar").run().dataset)
    assert set(found) == {
        f"{tmp_path}/a.tar/000.jpg",
        f"{tmp_path}/a.tar/sub/001.png",
        f"{tmp_path}/b.tar/000.jpg",
    }
    assert found[f"{tmp_path}/b.tar/000.jpg"]["tags"] == tagger.predict(three).to_dict()["tags"]


def test_a_shard_ends_where_the_name_says_so():
    names = [f"/photos/{number:05}.jpg" for number in range(5000)]

    def cut(names: list[str]) -> list[tuple[str, ...]]:
        return [
            tuple(name for (name,) in chunk) for chunk in _chunks([[name] for name in names], 100)
        ]

    before, after = cut(names), cut([*names[:1234], "/photos/01233a.jpg", *names[1234:]])
    assert all(50 <= len(chunk) <= 300 for chunk in before[:-1])
    assert 70 < len(names) / len(before) < 140
    assert len(set(after) - set(before)) <= 2


def test_two_runs_share_the_work(job, rows):
    class Twice:
        """Another run does the same shards, each a moment earlier."""

        def __call__(self, job, tasks):
            other, worker = Worker(job), Worker(job)
            for task in tasks:
                other(task)
                yield worker(task)

    summary = job().run(Twice())
    assert summary.images == 0
    assert len(rows(summary.dataset)) == 12


def test_a_run_that_is_stopped_keeps_what_is_complete(job, rows):
    def stopped(job, tasks):
        yield from islice(here(job, tasks), 3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        job().run(stopped)
    summary = job().run()
    assert summary.present == 3
    assert len(rows(summary.dataset)) == 12


def test_out_by_a_link_to_a_folder_in_the_input(photos, plan, tmp_path):
    (photos / "tags").mkdir()
    (tmp_path / "link").symlink_to(photos / "tags")
    job = Job(Input(str(photos)), str(tmp_path / "link"), plan)
    assert (job.run().images, job.run().images) == (12, 0)
