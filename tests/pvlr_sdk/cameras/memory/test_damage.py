"""A store that is damaged: it is set aside, or an error of whoever reads it."""

from __future__ import annotations

import os

import pytest

from pvlr_sdk import errors
from pvlr_sdk.cameras.events import EventSettings
from pvlr_sdk.cameras.memory.sink import MemoryConfig, MemorySink
from pvlr_sdk.cameras.memory.store import Store
from tests.pvlr_sdk.cameras.memory.conftest import write

AT_ONCE = EventSettings(smoothing=0, min_duration=0, min_gap=0)


@pytest.mark.parametrize(
    ("damage", "earlier"),
    [
        *((damage, "") for damage in ("garbage", "cut", "page", "empty", "context")),
        *(("garbage", earlier) for earlier in ("folder", "file", "link")),
    ],
)
def test_a_damaged_store_is_set_aside_and_a_new_one_begun(
    tmp_path, make_scene, caplog, damage, earlier
):
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
    elif damage == "context":
        (kept,) = Store(tmp_path).query("SELECT data FROM contexts")
        data = data.replace(kept[0], bytes(len(kept[0])))
    else:
        data.clear()
    path.write_bytes(data)
    if earlier == "file":
        (tmp_path / "damaged").write_bytes(b"")
    elif earlier == "link":
        (tmp_path / "damaged").symlink_to(tmp_path.parent)
    elif earlier == "folder":
        (tmp_path / "damaged").mkdir()
        (tmp_path / "damaged/memory.sqlite").write_bytes(b"older")
    for name in ("memory.sqlite-wal", "memory.sqlite-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    sink = MemorySink(config)
    for step in range(400, 420):
        scene.see(step, [0.9 * (step % 2), 0.2])
    write(sink, scene)
    sink.close()
    store = Store(tmp_path)
    assert {row.began.id for row in store.rows()} >= {one.id for one in scene.events[-10:]}
    if damage != "empty":
        assert (tmp_path / "damaged/memory.sqlite").read_bytes() != b"older"
        assert not (tmp_path / "damaged").is_symlink()
        assert "a new one begins" in caplog.text


@pytest.mark.parametrize("size", [100, 4096, 9000])
def test_a_damaged_store_is_an_error_of_whoever_reads_or_deletes(tmp_path, sink, make_scene, size):
    scene = make_scene(settings=AT_ONCE)
    for step in range(10):
        scene.see(step, [0.9 * (step % 2), 0.2])
    write(sink, scene)
    sink.close()
    store = Store(tmp_path / "memory")
    os.truncate(tmp_path / "memory/memory.sqlite", size)
    for work in (
        lambda: Store(tmp_path / "memory"),
        lambda: store.answer(1, "yes"),
        lambda: store.delete("door"),
    ):
        with pytest.raises(errors.OptionError, match="a damaged one"):
            work()


def test_a_damaged_picture_is_shown_without_its_map(tmp_path, sink, make_scene):
    scene = make_scene(settings=AT_ONCE)
    scene.see(0, [0.9, 0.1])
    write(sink, scene)
    store = Store(tmp_path / "memory")
    list(store.query("UPDATE pictures SET jpeg = x'00'"))
    assert store.picture(1, attention=True) == b"\0"


def test_a_damaged_schema_is_set_aside(tmp_path, sink, make_scene):
    """SQLite quotes it in its message, in whatever encoding it now has."""
    sink.close()
    path = tmp_path / "memory/memory.sqlite"
    path.write_bytes(path.read_bytes().replace(b"CREATE INDEX", b"CREATE \xc5NDEX"))
    scene = make_scene(settings=AT_ONCE)
    scene.see(0, [0.9, 0.1])
    again = MemorySink(MemoryConfig(folder=tmp_path / "memory"))
    write(again, scene)
    again.close()
    assert (tmp_path / "memory/damaged").is_dir()


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
