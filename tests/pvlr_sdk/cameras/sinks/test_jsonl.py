"""JSON lines: whole lines only, on a full disk, through a slow pipe, across rotations."""

from __future__ import annotations

import itertools
import json
import os
from collections import deque

import pytest

from pvlr_sdk import errors
from pvlr_sdk.cameras.sinks.jsonl import JsonlFile, JsonlStream
from tests.pvlr_sdk.cameras.sinks.events import make_event


def lines(path):
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


def test_lines_are_appended_to_what_is_there(tmp_path):
    path = tmp_path / "new" / "events.jsonl"
    for _ in range(2):
        sink = JsonlFile(path)
        sink.write(make_event(0))
        sink.close()
    assert path.read_text() == 2 * (make_event(0).to_json() + "\n")


def test_a_part_of_a_line_from_a_power_cut_stays_alone(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text('{"event": "o')
    JsonlFile(path).write(make_event(0))
    assert path.read_text() == '{"event": "o\n' + make_event(0).to_json() + "\n"


def test_a_file_that_was_moved_away_is_made_anew(tmp_path):
    path = tmp_path / "events.jsonl"
    sink = JsonlFile(path)
    sink.write(make_event(0))
    path.rename(tmp_path / "old.jsonl")
    sink.write(make_event(2))
    assert lines(tmp_path / "old.jsonl") + lines(path) == ["event-0", "event-1"]


def test_a_full_disk_leaves_whole_lines_and_writing_goes_on_with_room(small_disk):
    path = small_disk.folder / "events.jsonl"
    sink = JsonlFile(path)
    small_disk.fill(leave=10_000)
    numbers = iter(range(0, 20_000, 2))
    with pytest.raises(errors.OutputError, match="No space left"):
        deque(map(sink.write, map(make_event, numbers)), maxlen=0)
    written = next(numbers) // 2 - 1
    assert lines(path) == [f"event-{number}" for number in range(written)]
    small_disk.free()
    sink.write(make_event(2 * written))
    assert lines(path) == [f"event-{number}" for number in range(written + 1)]
    assert written > 10


def test_rotation_keeps_the_newest(tmp_path):
    path = tmp_path / "events.jsonl"
    size = len(make_event(0).to_json()) + 1
    sink = JsonlFile(path, 3 * size + size // 2, keep=2)
    for number in range(11):
        sink.write(make_event(2 * number))
    kept = [lines(tmp_path / name) for name in ("events.jsonl.2", "events.jsonl.1", "events.jsonl")]
    assert [len(part) for part in kept] == [3, 3, 2]
    assert [*itertools.chain(*kept)] == [f"event-{number}" for number in range(3, 11)]
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        "events.jsonl",
        "events.jsonl.1",
        "events.jsonl.2",
    ]


def test_rotation_without_old_files(tmp_path):
    path = tmp_path / "events.jsonl"
    sink = JsonlFile(path, 1, keep=0)  # smaller than a line: a file for each
    for number in range(3):
        sink.write(make_event(2 * number))
    assert [item.name for item in tmp_path.iterdir()] == ["events.jsonl"]
    assert lines(path) == ["event-2"]


def test_a_full_stream_finishes_its_line_later():
    """A pipe that accepts only a part of a line: the next attempt writes the rest, and no part twice."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    sink = JsonlStream(writer)
    # Longer than the writes that a pipe accepts as a whole.
    events = [make_event(number, camera="x" * 10_000) for number in range(20)]
    numbers = iter(range(len(events)))
    with pytest.raises(BlockingIOError):
        deque(map(sink.write, map(events.__getitem__, numbers)), maxlen=0)
    stuck = next(numbers) - 1
    read = os.read(reader, 1 << 20)
    assert not read.endswith(b"\n")
    sink.write(events[stuck])
    read += os.read(reader, 1 << 20)
    assert read.decode().splitlines() == [event.to_json() for event in events[: stuck + 1]]
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        sink.write(events[-1])
    os.close(writer)
