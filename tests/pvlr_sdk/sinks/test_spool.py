"""The way around a full disk: nothing is lost, nothing is sent twice, and the order stays."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pvlr_sdk import errors
from pvlr_sdk.events import Event
from pvlr_sdk.sinks import DiskQueue, SpooledWorker
from pvlr_sdk.sinks.spool import Spool


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


def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.002)


def test_a_full_disk_and_a_receiver_that_is_there(small_disk, make_event) -> None:
    """Version 0.1 lost 5,148 of these events."""
    receiver = Receiver()
    worker = SpooledWorker(receiver, DiskQueue(small_disk.folder / "q.sqlite"), longest_pause=0.1)
    worker.submit(make_event(0))
    until(lambda: len(receiver.items) == 1)
    small_disk.fill()
    for number in range(1, 8000):
        until(lambda: worker.stats().waiting < 900)  # slower than memory overflows
        worker.submit(make_event(number))
    until(lambda: len(receiver.items) == 8000)
    assert "Free some space" in (worker.stats().error or "")
    small_disk.free()
    number = 8000
    while worker.stats().error is not None:
        worker.submit(make_event(number))
        number += 1
        time.sleep(0.05)
    until(lambda: len(receiver.items) == number)
    stats = worker.close(2)
    assert receiver.items == [make_event(one) for one in range(number)]
    assert (stats.delivered, stats.waiting, stats.lost) == (number, 0, 0)


def test_disk_and_receiver_fail_in_turn(small_disk, tmp_path, make_event) -> None:
    receiver = Receiver()
    path = small_disk.folder / "q.sqlite"
    worker = SpooledWorker(receiver, DiskQueue(path), longest_pause=0.05)
    receiver.open.clear()
    for number in range(50):
        worker.submit(make_event(number))
    until(lambda: worker._spool._memory == worker._spool._memory.__class__())  # all on disk
    small_disk.fill()
    number = 50
    while worker.stats().error is None or not worker._error:  # until the disk is full
        worker.submit(make_event(number))
        number += 1
        time.sleep(0.001)
    for more in range(number, number + 100):
        worker.submit(make_event(more))
    number = more
    receiver.open.set()  # those on disk first, then those in memory
    until(lambda: len(receiver.items) == number + 1)
    receiver.open.clear()
    for extra in range(number + 1, number + 50):  # the first of them is taken from memory, and fails
        worker.submit(make_event(extra))
    time.sleep(0.3)
    small_disk.free()
    until(lambda: worker._error is None)
    until(lambda: not worker._spool._memory)
    stats = worker.close(0.5)
    assert (stats.waiting, stats.lost) == (49, 0)
    worker = SpooledWorker(receiver, DiskQueue(path), longest_pause=0.05)
    receiver.open.set()
    until(lambda: len(receiver.items) == number + 50)
    assert receiver.items == [make_event(one) for one in range(number + 50)]
    assert worker.close(1).waiting == 0


def test_what_exceeds_memory_is_counted(small_disk, make_event) -> None:
    receiver = Receiver()
    worker = SpooledWorker(receiver, DiskQueue(small_disk.folder / "q.sqlite"), longest_pause=0.1)
    receiver.open.clear()
    small_disk.fill()
    for number in range(6000):
        worker.submit(make_event(number))
    until(lambda: worker._error is not None)
    stats = worker.stats()
    assert stats.waiting + stats.lost == 6000
    assert stats.lost > 0
    receiver.open.set()
    until(lambda: len(receiver.items) == 6000 - stats.lost)
    assert [event.time for event in receiver.items] == sorted(event.time for event in receiver.items)
    assert worker.close(1).lost == stats.lost


class Disk:
    """A queue on disk whose space the test controls."""

    def __init__(self) -> None:
        self.items: list[int] = []
        self.full = False
        self.taken = False
        self.lost = 0

    def put(self, item: int, *, taken: bool = False) -> None:
        if self.full:
            raise errors.OutputError("q", expected="space", got="none", hint="Free some.")
        assert not (taken and self.items)
        self.items.append(item)
        self.taken = taken or self.taken

    def take(self, timeout: float) -> int:
        assert not self.taken
        self.taken = True
        return self.items[0]

    def done(self) -> None:
        assert self.taken
        self.items.pop(0)
        self.taken = False

    def __len__(self) -> int:
        return len(self.items)

    def close(self) -> None:
        pass


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(["put", "put", "store", "take", "done", "full", "free"]), max_size=80), st.integers(2, 6)
)
def test_any_order_of_steps(steps: list[str], capacity: int) -> None:
    """Compared with a list: what comes out is what went in, in order, less what was counted as lost."""
    disk, number, delivered, taken = Disk(), 0, [], None
    spool = Spool(disk, capacity)  # type: ignore[arg-type]
    for step in [*steps, "done", "free", *["store"] * 100, *["take", "done"] * 100]:
        if step == "put":
            spool.put(number)  # type: ignore[arg-type]
            number += 1
        elif step == "store":
            try:
                spool.store()
            except errors.OutputError:
                assert disk.full
        elif step == "take" and taken is None:
            taken = spool.take(0)
        elif step == "done" and taken is not None:
            spool.done()
            delivered.append(taken)
            taken = None
        elif step in ("full", "free"):
            disk.full = step == "full"
        assert number == len(delivered) + len(spool) + spool.lost
    assert delivered == sorted(set(delivered))
    assert len(delivered) + spool.lost == number


@pytest.mark.parametrize("full", [False, True])
def test_close_stores_what_is_in_memory(full: bool) -> None:
    disk = Disk()
    spool = Spool(disk)  # type: ignore[arg-type]
    disk.full = True
    for number in range(3):
        spool.put(number)  # type: ignore[arg-type]
    with pytest.raises(errors.OutputError):
        spool.store()
    assert spool.take(0) == 0
    disk.full = full
    spool.close()
    assert (disk.items, spool.lost) == (([], 3) if full else ([0, 1, 2], 0))
