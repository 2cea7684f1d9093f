"""The store: whole after a kill, bounded, deletable, and no obstacle to events whatever its disk does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.events import EventSettings
from pvlr_sdk.memory import store as module
from pvlr_sdk.memory.replay import events_of
from pvlr_sdk.memory.sink import MemoryConfig, MemorySink
from pvlr_sdk.memory.store import Store
from tests.pvlr_sdk.memory.conftest import WALL, play, random_scene, values

AT_ONCE = EventSettings(smoothing=0, min_duration=0, min_gap=0)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def sink(tmp_path):
    made = MemorySink(MemoryConfig(folder=tmp_path / "memory", samples_per_hour=360))
    yield made
    made.close()


def write(sink, scene) -> None:
    for item in scene.items:
        sink.write(item)
    scene.items.clear()


def events_in(store) -> list:
    return [one for row in store.rows() for one in (row.began, row.ended) if one is not None]


def features(random, count=64):
    vector = random.normal(0, 1, count).astype(np.float32)
    return vector / np.linalg.norm(vector)


def test_what_is_read_is_what_was_written(sink, tmp_path):
    random = np.random.default_rng(0)
    scene = random_scene(random, 6)
    play(scene, random, 400)
    write(sink, scene)
    store = Store(tmp_path / "memory")
    assert sorted(values(events_in(store))) == sorted(values(scene.events))
    assert sorted(values(events_of(store))) == sorted(values(scene.events))
    moments = store.rows("kind = 'event'")
    assert all(one.time is not None for one in moments)
    assert all(store.picture(one.id).startswith(b"\xff\xd8") for one in moments)


def test_a_moment_has_the_frame_of_its_peak(sink, tmp_path, make_scene):
    scene, random = make_scene(settings=AT_ONCE), np.random.default_rng(1)
    seen = [features(random) for _ in range(6)]
    for step, score in enumerate([0.1, 0.6, 0.9, 0.7, 0.1, 0.1]):
        scene.see(step, [score, 0.2], features=seen[step])
    write(sink, scene)
    store = Store(tmp_path / "memory")
    (moment,) = store.rows()
    assert (moment.time, moment.label, moment.kind) == (WALL + 2, "car", "event")
    assert moment.score == pytest.approx(0.9)
    numbers, products = store.features.products("tiny", seen[2])
    assert numbers.tolist() == [moment.id]
    assert products == pytest.approx(1, abs=0.01)
    assert 1 / (1 + np.exp(-moment.logits)) == pytest.approx([0.9, 0.2], abs=1e-3)


def test_frames_are_sampled_by_quota(sink, tmp_path, make_scene):
    scene, random = make_scene(samples_per_hour=12), np.random.default_rng(2)
    for step in range(3600):
        scene.see(step, [0.1, 0.2 if step != 400 else 0.45], features=features(random))
    write(sink, scene)
    rows = Store(tmp_path / "memory").rows()
    counts = {kind: sum(one.kind == kind for one in rows) for kind in ("uncertain", "new", "random", "event")}
    assert counts == {"uncertain": 1, "new": pytest.approx(11, abs=2), "random": pytest.approx(11, abs=2), "event": 0}
    assert next(one.time for one in rows if one.kind == "uncertain") == WALL + 400


@pytest.mark.slow
def test_kill_9_leaves_a_whole_store_and_every_acknowledged_event(tmp_path):
    folder, writer = tmp_path / "memory", Path(__file__).with_name("writer.py")
    done = subprocess.run(
        [sys.executable, str(writer), str(folder), "100"],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    acknowledged = {tuple(line.split()) for line in done.stdout.splitlines()}
    assert (len(acknowledged) > 500, done.stderr) == (True, "")
    store = Store(folder)
    assert [one for (one,) in store.query("PRAGMA integrity_check")] == ["ok"]
    stored = {(one.id, one.state) for one in events_in(store)} | {(one, "yes") for one in store.answers()}
    assert acknowledged - stored == set()
    list(events_of(store))  # every chunk can be read
    assert not (folder / "damaged").exists()


@pytest.mark.parametrize("damage", ["garbage", "cut", "page", "empty"])
def test_a_damaged_store_is_set_aside_and_a_new_one_begun(tmp_path, make_scene, caplog, damage):
    config, scene = MemoryConfig(folder=tmp_path), make_scene(settings=AT_ONCE)
    for step in range(400):
        scene.see(step, [0.9 * (step % 2), 0.2])
    sink = MemorySink(config)
    write(sink, scene)
    sink.close()
    path = tmp_path / "memory.sqlite"
    data = bytearray(path.read_bytes())
    if damage == "garbage":
        data[:] = b"x" * len(data)
    elif damage == "cut":
        del data[len(data) // 2 :]
    elif damage == "page":
        data[4096:] = b"\xff" * (len(data) - 4096)
    else:
        data.clear()
    path.write_bytes(data)
    for name in ("memory.sqlite-wal", "memory.sqlite-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    sink = MemorySink(config)
    for step in range(400, 420):
        scene.see(step, [0.9 * (step % 2), 0.2])
    write(sink, scene)
    sink.close()
    store = Store(tmp_path)
    assert {one.id for one in events_in(store)} >= {one.id for one in scene.events[-10:]}
    if damage != "empty":
        assert (tmp_path / "damaged/memory.sqlite").is_file()
        assert "a new one begins" in caplog.text


def test_a_store_damaged_while_it_is_written_is_replaced(tmp_path, sink, make_scene):
    scene = make_scene(settings=AT_ONCE)
    for step in range(100):
        scene.see(step, [0.9 * (step % 2), 0.2])
    write(sink, scene)
    sink._close_store()
    (tmp_path / "memory/memory.sqlite").write_bytes(os.urandom(8192))
    scene.see(100, [0.1, 0.9])
    write(sink, scene)
    assert [one.label for one in Store(tmp_path / "memory").rows()] == ["cat"]


def test_a_full_disk_is_reported_and_what_follows_is_kept(small_disk, make_scene):
    scene = make_scene(settings=AT_ONCE)
    sink = MemorySink(MemoryConfig(folder=small_disk.folder / "memory"))
    scene.see(0, [0.9, 0.1])
    write(sink, scene)
    small_disk.fill()
    for step in range(1, 12):
        scene.see(step, [0.9 * (step % 2 == 0), 0.1])
    with pytest.raises(errors.OutputError, match="full"):
        write(sink, scene)
    small_disk.free()
    scene.see(50, [0.1, 0.9])
    write(sink, scene)
    assert len(Store(small_disk.folder / "memory").rows()) > 1
    sink.close()


def test_a_disk_that_is_read_only_at_the_start_is_tried_again(tmp_path, make_scene, caplog):
    blocked = tmp_path / "file"
    blocked.write_text("")
    sink = MemorySink(MemoryConfig(folder=blocked / "memory"))
    assert "a folder for the memory of one process" in caplog.text
    scene = make_scene(settings=AT_ONCE)
    scene.see(0, [0.9, 0.1])
    with pytest.raises(errors.OutputError):
        sink.write(scene.items[0])
    blocked.unlink()
    write(sink, scene)
    sink.close()
    assert len(Store(blocked / "memory").rows()) == 1


def test_two_processes_cannot_record_to_one_store(sink, tmp_path):
    with pytest.raises(errors.OutputError, match="one process"):
        MemorySink(MemoryConfig(folder=tmp_path / "memory"))
    sink.close()
    MemorySink(MemoryConfig(folder=tmp_path / "memory")).close()


def test_no_store_and_one_of_a_newer_version_are_refused(sink, tmp_path):
    with pytest.raises(errors.OptionError, match="got none"):
        Store(tmp_path)
    sink._opened()._database.execute("PRAGMA user_version = 99")
    with pytest.raises(errors.OptionError, match="version 99"):
        Store(tmp_path / "memory")
    sink.close()
    with pytest.raises(errors.OptionError, match="version 99"):
        MemorySink(MemoryConfig(folder=tmp_path / "memory"))


def fill(sink, make_scene, **options):
    random = np.random.default_rng(7)
    for camera in ("door", "yard"):
        scene = make_scene(settings=AT_ONCE, camera=camera, samples_per_hour=360, **options)
        for step in range(200):
            scene.see(step, [0.9 * (step % 3 == 0), 0.9 * (step % 5 == 0)], features=features(random))
        scene.close(200)
        write(sink, scene)
    return random


def test_everything_can_be_deleted_by_camera_label_and_time(sink, tmp_path, make_scene):
    random = fill(sink, make_scene)
    store = Store(tmp_path / "memory")
    store.delete(camera="yard")
    assert {one.camera for one in store.places()} == {one.camera for one in store.rows()} == {"door"}
    store.delete(label="car", until=WALL + 100)
    assert all(one.start > WALL + 100 for one in store.rows("label = 'car'"))
    replayed = {(one.label, one.start > WALL + 101) for one in events_of(store)}
    assert replayed == {("car", True), ("cat", False), ("cat", True)}
    numbers, _ = store.features.products("tiny", features(random))
    assert set(numbers.tolist()) <= {one.id for one in store.rows()}
    store.delete()
    assert [store.places(), store.rows()] == [[], []]
    assert not list((tmp_path / "memory/features").glob("*/*"))
    assert store.size() < 100_000


def test_deleted_rows_leave_no_bytes_on_disk(sink, tmp_path, make_scene):
    fill(sink, make_scene)
    store = Store(tmp_path / "memory")
    key = store.rows("kind = 'event'")[0].began.id.encode()
    files = [path for path in (tmp_path / "memory").rglob("*") if path.is_file()]
    assert any(key in path.read_bytes() for path in files)
    store.delete()
    assert not any(key in path.read_bytes() for path in files if path.exists())


@pytest.mark.slow
def test_the_oldest_is_deleted_above_the_size(tmp_path, make_scene):
    sink = MemorySink(MemoryConfig(folder=tmp_path, max_mb=0.5))
    scene, random = make_scene(settings=AT_ONCE, samples_per_hour=360), np.random.default_rng(0)
    for step in range(4000):
        scene.see(step, [0.9 * (step % 3 == 0), random.random() / 3], features=features(random))
        write(sink, scene)
    store = Store(tmp_path)
    assert store.size() < 1e6
    newest = max(one.start for one in store.rows())
    assert newest > WALL + 3990
    oldest = min(one.start for one in store.rows())
    assert oldest == pytest.approx(next(store.chunks(*store.places())).arrays["wall"][0], abs=120)
    sink.close()


def test_a_clock_that_jumps_deletes_nothing_until_it_has_been_steady(tmp_path, monkeypatch, sink, make_scene):
    fill(sink, make_scene)
    store, clock = sink._opened(), {"wall": 5e9, "monotonic": 100.0}
    monkeypatch.setattr(module, "_CHECKED", 1)
    monkeypatch.setattr(module.time, "time", lambda: clock["wall"] + clock["monotonic"])
    monkeypatch.setattr(module.time, "monotonic", lambda: clock["monotonic"])
    store.trim(10**12, 30)
    clock["monotonic"] += 7200
    clock["wall"] = 1.76e9  # it is set back before it has been wrong for an hour
    store.trim(10**12, 1000)
    assert store.rows()
    clock["monotonic"] += 3601
    store.trim(10**12, 1000)
    assert store.rows()
    store.trim(10**12, 1)  # within the hour: it does not look again
    assert store.rows()
    clock["monotonic"] += 3601
    store.trim(10**12, 1)
    assert not store.rows()


def test_wall_times_that_jump_back_are_recorded_and_replayed_in_their_order(sink, tmp_path, make_scene):
    scene = make_scene(settings=AT_ONCE)
    for step in range(100):
        scene.see(step, [0.9 * (step % 10 < 5), 0], wall=WALL + step - (1e6 if step > 50 else 0))
    scene.close(100)
    write(sink, scene)
    store = Store(tmp_path / "memory")
    assert values(events_of(store)) == values(scene.events)
