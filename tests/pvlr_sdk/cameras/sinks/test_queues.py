"""The queues of the sinks: compared with a list, across a killed process, on a full disk."""

from __future__ import annotations

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import asdict

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pvlr_sdk import errors
from pvlr_sdk.cameras.events import Event
from pvlr_sdk.cameras.sinks import DiskQueue, MemoryQueue, SinkWorker
from tests.pvlr_sdk.cameras.sinks.events import make_event
from tests.waiting import until


class Storable(Event):
    """An event that cannot be stored while the disk is ``full``."""

    full = threading.Event()

    def pack(self) -> str:
        if self.full.is_set():
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return super().pack()


def follow(queue, steps, capacity, make_event):
    """Run the steps on a queue and on a plain list, and compare after each; returns the list."""
    items, taken, lost, number = [], False, 0, 0
    for step in steps:
        if step == "put":
            event = Storable(**asdict(make_event(number)))
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
        elif step in ("full", "free"):
            (Storable.full.set if step == "full" else Storable.full.clear)()
        elif step == "stored" and not Storable.full.is_set():
            until(lambda: not queue._new())
        assert (len(queue), queue.lost) == (len(items), lost)
    return items


def contents(queue) -> list[Event]:
    """Take everything, and close."""
    found = []
    while (event := queue.take(0)) is not None:
        found.append(event)
        queue.done()
    queue.close()
    return found


@settings(deadline=None)
@given(st.lists(st.sampled_from(["put", "put", "take", "done"]), max_size=60), st.integers(2, 5))
def test_memory_queue_is_a_bounded_list(steps, capacity):
    queue = MemoryQueue(capacity)
    items = follow(queue, steps, capacity, make_event)
    lost = queue.lost
    queue.close()
    assert (len(queue), queue.lost) == (0, lost + len(items))


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.sampled_from(["put", "put", "stored", "take", "done", "full", "free"]), max_size=60
    ),
    st.integers(2, 5),
)
@example(["put", "put", "take", "put", "done", "take"], 2)
@example(["put", "take", "put", "stored", "put"], 2)
@example(["full", "put", "take", "free", "put", "put", "put"], 3)
def test_disk_queue_is_the_same_and_survives(tmp_path_factory, steps, capacity):
    """What is in the queue when it is closed is what the next process finds, in order."""
    path = tmp_path_factory.mktemp("queue") / "q.sqlite"
    queue = DiskQueue(path, capacity)
    items = follow(queue, [*steps, "free"], capacity, make_event)
    queue.close(20)
    assert len(queue) == len(items)
    assert [asdict(event) for event in contents(DiskQueue(path))] == [
        asdict(event) for event in items
    ]
    assert contents(DiskQueue(path)) == []


def test_a_file_with_more_than_the_capacity(tmp_path):
    queue = DiskQueue(tmp_path / "q.sqlite")
    for number in range(9):
        queue.put(make_event(number))
    queue.close()
    queue = DiskQueue(tmp_path / "q.sqlite", 4)
    assert (len(queue), queue.lost) == (4, 5)
    queue.close()
    assert contents(DiskQueue(tmp_path / "q.sqlite")) == [
        make_event(number) for number in range(5, 9)
    ]


def test_the_file_is_private_and_of_one_process(tmp_path):
    path = tmp_path / "new" / "q.sqlite"
    queue = DiskQueue(path)
    queue.put(make_event(0))
    assert path.stat().st_mode & 0o077 == 0
    failed = []  # keeps the tracebacks, and so what they refer to
    for _ in range(2):
        with pytest.raises(errors.OutputError, match="two processes") as caught:
            DiskQueue(path)
        failed.append(caught)
    queue.close()
    assert contents(DiskQueue(path)) == [make_event(0)]


@pytest.mark.parametrize(
    "make", [lambda path: MemoryQueue(), lambda path: DiskQueue(path / "q.sqlite")]
)
def test_take_waits_for_an_item(tmp_path, make):
    queue = make(tmp_path)
    assert queue.take(0.01) is None
    timer = threading.Timer(0.1, queue.put, [make_event(0)])
    timer.start()
    assert queue.take(60) == make_event(0)
    queue.close()


WRITER = """
import sys, itertools, time
from pvlr_sdk.cameras.events import Event
from pvlr_sdk.cameras.sinks import DiskQueue
queue = DiskQueue(sys.argv[1])
for number in itertools.count():
    queue.put(Event("on", str(number), "door", "car", 1.0, 0.5, 0.5, 1.0, 1.0))
    while queue._new():
        time.sleep(0.0001)
    print(number, flush=True)
"""


@pytest.mark.slow
def test_a_killed_process_loses_nothing_that_was_stored(tmp_path):
    path = tmp_path / "q.sqlite"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout
    while int(writer.stdout.readline()) < 50:
        pass
    with pytest.raises(errors.OutputError, match="two processes"):
        DiskQueue(path)
    os.kill(writer.pid, signal.SIGKILL)
    printed = [50, *(int(line) for line in writer.stdout if line.endswith("\n"))]
    writer.wait()
    numbers = [int(event.id) for event in contents(DiskQueue(path))]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > printed[-1]


def test_what_another_version_left_is_passed_over(tmp_path):
    path = tmp_path / "q.sqlite"
    queue = DiskQueue(path)
    queue.put(make_event(0))
    queue.put(make_event(1))
    queue.close()
    with sqlite3.connect(path) as database:
        database.execute("UPDATE queue SET event = '{}' WHERE seq = (SELECT min(seq) FROM queue)")
    database.close()
    queue = DiskQueue(path)
    assert (len(queue), queue.lost) == (1, 1)
    assert contents(queue) == [make_event(1)]


def test_a_file_that_is_no_queue(tmp_path):
    (tmp_path / "q.sqlite").write_text("x" * 5000)
    with pytest.raises(errors.OutputError, match="not a database"):
        DiskQueue(tmp_path / "q.sqlite")


class Receiver:
    """Collects events while it is open."""

    name = "receiver"

    def __init__(self) -> None:
        self.items: list[Event] = []
        self.open = threading.Event()
        self.open.set()

    def write(self, item: Event) -> None:
        if not self.open.is_set():
            raise ConnectionError("away")
        self.items.append(item)

    def close(self) -> None:
        pass


def test_a_full_disk_and_a_receiver_that_is_there(small_disk, caplog) -> None:
    """Version 0.1 lost the events of this time."""
    receiver, queue = Receiver(), DiskQueue(small_disk.folder / "q.sqlite")
    worker = SinkWorker(receiver, queue, longest_pause=0.05)
    worker.submit(make_event(0))
    until(lambda: len(receiver.items) == 1)
    small_disk.fill()
    receiver.open.clear()
    for number in range(1, 2000):
        worker.submit(make_event(number))
    until(lambda: queue.error)
    receiver.open.set()
    until(lambda: len(receiver.items) == 2000)
    assert "Free some space" in (worker.stats().error or "")
    small_disk.free()
    until(lambda: worker.stats().error is None)
    stats = worker.close(20)
    assert receiver.items == [make_event(one) for one in range(2000)]
    assert (stats.delivered, stats.waiting, stats.lost) == (2000, 0, 0)
    assert (caplog.text.count("Free some space"), caplog.text.count("q.sqlite: works again")) == (
        1,
        1,
    )
    assert contents(DiskQueue(small_disk.folder / "q.sqlite")) == []


def test_a_disk_with_room_again_is_no_error_although_nothing_waits(small_disk) -> None:
    """A receiver that is faster than the disk leaves nothing to store."""
    queue = DiskQueue(small_disk.folder / "q.sqlite")
    small_disk.fill()
    queue.put(make_event(0))
    until(lambda: queue.error)
    queue.take(0)
    queue.done()
    small_disk.free()
    until(lambda: queue.error is None)
    queue.close()


def test_disk_and_receiver_fail_in_turn(small_disk) -> None:
    receiver, queue = Receiver(), DiskQueue(small_disk.folder / "q.sqlite")
    worker = SinkWorker(receiver, queue, longest_pause=0.05)
    receiver.open.clear()
    for number in range(50):
        worker.submit(make_event(number))
    until(lambda: not queue._new())
    small_disk.fill()
    for number in range(50, 151):
        worker.submit(make_event(number))
    until(lambda: queue.error)
    receiver.open.set()  # first those on disk, then those in memory
    until(lambda: len(receiver.items) == number + 1)
    receiver.open.clear()
    for extra in range(number + 1, number + 50):  # the delivery of the first of them fails
        worker.submit(make_event(extra))
    small_disk.free()
    until(lambda: not queue._new())
    stats = worker.close(0.5)
    assert (stats.waiting, stats.lost) == (49, 0)
    receiver.open.set()
    assert contents(DiskQueue(small_disk.folder / "q.sqlite")) == [
        make_event(one) for one in range(number + 1, number + 50)
    ]
    assert receiver.items == [make_event(one) for one in range(number + 1)]


def test_what_the_disk_rejects_until_the_end_is_counted(tmp_path) -> None:
    queue = DiskQueue(tmp_path / "q.sqlite")
    queue.put(make_event(0))
    until(lambda: not queue._new())
    Storable.full.set()
    for number in range(1, 4):
        queue.put(Storable(**asdict(make_event(number))))
    until(lambda: queue.error is not None)
    queue.close()
    Storable.full.clear()
    assert (len(queue), queue.lost) == (1, 3)
    assert contents(DiskQueue(tmp_path / "q.sqlite")) == [make_event(0)]


def test_a_disk_that_hangs_stops_nothing(tmp_path) -> None:
    released = threading.Event()

    class Slow(Event):
        def pack(self) -> str:
            released.wait()
            return super().pack()

    queue = DiskQueue(tmp_path / "q.sqlite")
    events = [
        Slow("on", str(number), "door", "car", 1.0, 0.5, 0.5, 1.0, 1.0) for number in range(3)
    ]
    for event in events:
        queue.put(event)
    assert queue.take(0) == events[0]
    queue.done()
    assert queue.take(0) == events[1]
    queue.close(0.01)
    assert (len(queue), queue.lost) == (0, 2)
    released.set()


def test_a_queue_with_nothing_to_store_leaves_the_disk_alone(tmp_path, monkeypatch):
    stores = []
    store = DiskQueue._store
    monkeypatch.setattr(DiskQueue, "_store", lambda queue: (stores.append(1), store(queue))[1])
    queue = DiskQueue(tmp_path / "queue")
    for number in range(3):
        queue.put(make_event(number))
        queue.take(0)
        queue.done()
    until(lambda: stores and queue._cleared == queue._removed)
    time.sleep(0.1)  # the store that told the disk has ended
    before = len(stores)
    time.sleep(0.2)
    assert len(stores) == before
    queue.close()
