"""What is deleted from the store: by camera, label and time, and by size and age."""

from __future__ import annotations

import os
import time

import numpy as np
import pytest

from pvlr_sdk.cameras.memory import store as module
from pvlr_sdk.cameras.memory.replay import events_of
from pvlr_sdk.cameras.memory.sink import MemoryConfig, MemorySink
from pvlr_sdk.cameras.memory.store import Store
from tests.pvlr_sdk.cameras.memory.conftest import WALL, write
from tests.pvlr_sdk.cameras.memory.test_store import AT_ONCE, features


def fill(sink, make_scene, **options):
    random = np.random.default_rng(7)
    for camera in ("door", "yard"):
        scene = make_scene(settings=AT_ONCE, camera=camera, samples_per_hour=360, **options)
        for step in range(200):
            scene.see(
                step, [0.9 * (step % 3 == 0), 0.9 * (step % 5 == 0)], features=features(random)
            )
        scene.close(200)
        write(sink, scene)
    return random


@pytest.mark.slow
def test_everything_can_be_deleted_by_camera_label_and_time(sink, tmp_path, make_scene):
    random = fill(sink, make_scene)
    store = Store(tmp_path / "memory")
    store.delete(camera="yard")
    assert (
        {one.camera for one in store.places()} == {one.camera for one in store.rows()} == {"door"}
    )
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


@pytest.mark.slow
def test_what_others_put_among_the_features_stays(sink, tmp_path, make_scene):
    random = fill(sink, make_scene)
    store, folder = Store(tmp_path / "memory"), tmp_path / "memory/features"
    (own,) = folder.iterdir()
    foreign = [folder / "photos/0.i8", folder / "mine-1280/1.i8", own / "copy.i8"]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert len(store.features.products("tiny", features(random))[0])
    store.delete()
    assert sorted(folder.glob("*/*")) == sorted(foreign)
    assert store.features.size() == 0


def test_a_delete_that_is_killed_leaves_no_features(sink, tmp_path, make_scene, monkeypatch):
    scene, random = make_scene(settings=AT_ONCE), np.random.default_rng(3)
    for second in range(20):
        scene.see(second, [0.9 * (second % 2), 0.1], features=features(random))
    write(sink, scene)
    store = Store(tmp_path / "memory")
    rows = store.rows("time IS NOT NULL")
    monkeypatch.setattr(store.features, "clear", lambda numbers: os.kill(os.getpid(), 9))
    child = os.fork()
    if child == 0:
        store.delete(camera="door")
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == 9
    again = Store(tmp_path / "memory")
    assert [row.id for row in again.rows("time IS NOT NULL")] == [row.id for row in rows]
    assert again.delete(camera="door") == len(rows)
    assert len(again.features.products("tiny", features(random))[0]) == 0


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_clock_that_jumps_deletes_nothing_until_it_has_been_steady(
    tmp_path, monkeypatch, sink, make_scene
):
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


def test_a_damaged_store_is_deleted_at_the_same_age(tmp_path, monkeypatch, sink):
    store, wall, monotonic = sink._opened(), time.time(), time.monotonic()
    aside = tmp_path / "memory/damaged"
    (aside / "features").mkdir(parents=True)
    os.utime(aside, (wall, wall - 2 * 86400))
    monkeypatch.setattr(module, "_CHECKED", 1)
    for days, later in ((3, 3601), (1, 7202)):
        assert aside.exists()
        monkeypatch.setattr(module.time, "time", lambda later=later: wall + later)
        monkeypatch.setattr(module.time, "monotonic", lambda later=later: monotonic + later)
        store.trim(10**12, days)
    assert not aside.exists()
