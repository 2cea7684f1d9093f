"""The queues of the sinks: compared with a list, across a killed process, on a full disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pvlr_sdk import errors
from pvlr_sdk.sinks import DiskQueue, MemoryQueue

steps = st.lists(st.sampled_from(["put", "put", "take", "done"]), max_size=60)


def follow(queue, steps, capacity, make_event):
    """Run the steps on a queue and on a plain list, and compare after each."""
    items, taken, lost, number = [], False, 0, 0
    for step in steps:
        if step == "put":
            event = make_event(number)
            number += 1
            queue.put(event)
            if len(items) == capacity:
                del items[1 if taken else 0]
                lost += 1
            items.append(event)
        elif step == "take" and not taken:
            assert queue.take(0) == (items[0] if items else None)
            taken = bool(items)
        elif step == "done" and taken:
            queue.done()
            items.pop(0)
            taken = False
        assert (len(queue), queue.lost) == (len(items), lost)


@settings(deadline=None)
@given(steps, st.integers(2, 5))
def test_memory_queue_is_a_bounded_list(steps, capacity):
    queue = MemoryQueue(capacity)
    follow(queue, steps, capacity, lambda number: number)
    waiting, lost = len(queue), queue.lost
    queue.close()
    assert (len(queue), queue.lost) == (0, lost + waiting)


@settings(max_examples=30, deadline=None)
@given(steps=steps, capacity=st.integers(2, 5))
@example(steps=["put", "put", "take", "put", "done", "take"], capacity=2)
def test_disk_queue_is_the_same(tmp_path_factory, make_event, steps, capacity):
    queue = DiskQueue(tmp_path_factory.mktemp("queue") / "q.sqlite", capacity)
    follow(queue, steps, capacity, make_event)
    queue.close()


def test_a_taken_item_outlives_the_process_until_it_is_done(tmp_path, make_event):
    path = tmp_path / "new" / "q.sqlite"
    queue = DiskQueue(path)
    for number in range(3):
        queue.put(make_event(number))
    assert queue.take(0) == make_event(0)
    queue.done()
    assert queue.take(0) == make_event(1)
    queue.close()
    again = DiskQueue(path)
    assert len(again) == 2
    assert again.take(0) == make_event(1)
    again.close()
    assert path.stat().st_mode & 0o077 == 0  # events are private to the user


@pytest.mark.parametrize("make", [lambda path: MemoryQueue(), lambda path: DiskQueue(path / "q.sqlite")])
def test_take_waits_for_an_item(tmp_path, make_event, make):
    queue = make(tmp_path)
    assert queue.take(0.01) is None
    timer = threading.Timer(0.1, queue.put, [make_event(0)])
    timer.start()
    began = time.monotonic()
    assert queue.take(10) == make_event(0)
    assert time.monotonic() - began < 5
    queue.close()


WRITER = """
import sys, itertools
from pvlr_sdk.events import Event
from pvlr_sdk.sinks import DiskQueue
queue = DiskQueue(sys.argv[1])
for number in itertools.count():
    queue.put(Event("on", str(number), "door", "car", 1.0, 0.5, 0.5, 1.0, 1.0))
    print(number, flush=True)
"""


def test_a_killed_process_loses_nothing_that_was_put(tmp_path):
    path = tmp_path / "q.sqlite"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout
    while int(writer.stdout.readline()) < 50:
        pass
    with pytest.raises(errors.OutputError, match="two processes"):
        DiskQueue(path)
    os.kill(writer.pid, signal.SIGKILL)
    printed = [50, *(int(line) for line in writer.stdout if line.endswith("\n"))]
    writer.wait()
    queue = DiskQueue(path)
    numbers = []
    while (event := queue.take(0)) is not None:
        numbers.append(int(event.id))
        queue.done()
    queue.close()
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > printed[-1]


def test_what_another_version_left_is_passed_over(tmp_path, make_event):
    import sqlite3

    path = tmp_path / "q.sqlite"
    queue = DiskQueue(path)
    queue.put(make_event(0))
    queue.put(make_event(1))
    queue.close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE queue SET event = '{}' WHERE seq = 1")
    database.close()
    queue = DiskQueue(path)
    assert queue.take(0) is None
    assert (len(queue), queue.lost) == (1, 1)
    assert queue.take(0) == make_event(1)
    queue.close()


def test_a_full_disk_is_said_and_nothing_is_lost_or_doubled(small_disk, make_event):
    queue = DiskQueue(small_disk.folder / "q.sqlite")
    small_disk.fill(leave=200_000)
    numbers = iter(range(5000))
    with pytest.raises(errors.OutputError, match="Free some space"):
        deque(map(queue.put, map(make_event, numbers)), maxlen=0)
    kept = next(numbers) - 1
    assert len(queue) == kept > 10
    for number in range(kept):
        assert queue.take(0) == make_event(number)
        queue.done()
    small_disk.free()
    queue.put(make_event(kept))
    assert queue.take(0) == make_event(kept)
    queue.close()
    again = DiskQueue(small_disk.folder / "q.sqlite")
    assert again.take(0) == make_event(kept)
    assert len(again) == 1
    again.close()


def test_a_file_that_is_no_queue(tmp_path):
    (tmp_path / "q.sqlite").write_text("x" * 5000)
    with pytest.raises(errors.OutputError, match="not a database"):
        DiskQueue(tmp_path / "q.sqlite")


@pytest.mark.slow
def test_a_failed_attempt_to_open_leaves_no_lock(tmp_path, make_event):
    path = tmp_path / "q.sqlite"
    queue = DiskQueue(path)
    failed = []  # keeps the tracebacks, and so what they refer to
    for _ in range(2):
        with pytest.raises(errors.OutputError, match="two processes") as caught:
            DiskQueue(path)
        failed.append(caught)
    queue.put(make_event(0))  # still locked by this one
    with pytest.raises(errors.OutputError, match="two processes"):
        DiskQueue(path)
    queue.close()
    again = DiskQueue(path)
    assert again.take(0) == make_event(0)
    again.close()
