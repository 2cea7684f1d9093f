"""A worker: a slow, failing or dead sink never blocks the caller, and every event is counted."""

from __future__ import annotations

import itertools
import logging
import threading
import time

import pytest

from pvlr_sdk.cameras.sinks import DiskQueue, MemoryQueue, SinkWorker
from pvlr_sdk.cameras.sinks.worker import CallbackSink
from tests.pvlr_sdk.cameras.sinks.events import make_event
from tests.waiting import LONG, until


class Gate:
    """A sink that a test can block or make fail."""

    name = "gate"

    def __init__(self, failures=()):
        self.open = threading.Event()
        self.open.set()
        self.failures = list(failures)
        self.items = []
        self.tries = 0

    def write(self, item):
        self.tries += 1
        self.open.wait()
        if self.failures:
            raise self.failures.pop(0)
        self.items.append(item)

    def close(self):
        self.open.set()


def test_items_arrive_in_order():
    sink = Gate()
    worker = SinkWorker(sink, MemoryQueue(1000))
    for number in range(500):
        worker.submit(number)
    stats = worker.close(10)
    assert sink.items == list(range(500))
    assert (stats.delivered, stats.waiting, stats.lost, stats.error) == (500, 0, 0, None)


def test_a_sink_that_hangs_stops_nobody_and_the_oldest_are_given_up():
    sink = Gate()
    sink.open.clear()
    worker = SinkWorker(sink, MemoryQueue(10))
    worker.submit(0)
    until(lambda: sink.tries == 1)
    for number in range(1, 1000):
        worker.submit(number)  # returns although the sink hangs
    assert worker.stats().waiting == 10
    assert worker.stats().lost == 990
    sink.open.set()
    until(lambda: len(sink.items) == 10)
    assert sink.items == [0, *range(991, 1000)]
    assert worker.close(1).lost == 990


def test_closing_does_not_wait_for_a_sink_that_hangs():
    sink = Gate()
    sink.open.clear()
    worker = SinkWorker(sink, MemoryQueue(10))
    worker.submit(0)
    worker.submit(1)
    until(lambda: sink.tries == 1)
    began = time.monotonic()
    stats = worker.close(0.2)
    assert time.monotonic() - began < LONG
    assert (stats.delivered, stats.lost) == (0, 2)


def test_idle_workers_end_at_once(tmp_path, monkeypatch):
    workers = [SinkWorker(Gate(), DiskQueue(tmp_path / f"{number}.sqlite")) for number in range(8)]
    # What they wait for if the end does not wake them.
    monkeypatch.setattr("pvlr_sdk.cameras.sinks.worker._TICK", 10 * LONG)
    began = time.monotonic()
    for worker in workers:
        worker.close(LONG)
    assert time.monotonic() - began < LONG


def test_what_failed_is_tried_again_in_order_with_one_warning(caplog):
    sink = Gate([OSError("no space"), OSError("no space"), OSError("no space")])
    with caplog.at_level(logging.WARNING):
        worker = SinkWorker(sink, MemoryQueue(10))
        for number in range(3):
            worker.submit(number)
        until(lambda: len(sink.items) == 3)
    stats = worker.close(1)
    assert sink.items == [0, 1, 2]
    assert sink.tries == 6
    assert (stats.delivered, stats.lost, stats.error) == (3, 0, None)
    assert [record.message for record in caplog.records] == ["gate: no space", "gate: works again"]


@pytest.mark.slow
def test_pauses_between_tries_grow_up_to_the_longest():
    moments = []

    class Down(Gate):
        def write(self, item):
            moments.append(time.monotonic())
            raise OSError("down")

    worker = SinkWorker(Down(), MemoryQueue(10), longest_pause=0.4)
    worker.submit(0)
    until(lambda: len(moments) == 7)
    began = time.monotonic()
    assert worker.close(5).lost == 1
    assert time.monotonic() - began < LONG  # a pause is cut short
    pauses = [b - a for a, b in itertools.pairwise(moments)]
    for pause, longest in zip(pauses, [0.1, 0.2, 0.4, 0.4, 0.4, 0.4], strict=False):
        assert longest / 2 <= pause < longest + 0.3


def test_a_bug_in_a_callback_costs_only_its_item(caplog):
    def callback(item):
        if item == 1:
            raise RuntimeError("a bug")
        seen.append(item)

    seen = []
    worker = SinkWorker(CallbackSink(callback), MemoryQueue(10))
    for number in range(3):
        worker.submit(number)
    stats = worker.close(5)
    assert seen == [0, 2]
    assert (stats.delivered, stats.lost) == (2, 1)
    assert "a bug" in caplog.text


def test_without_retries_a_failure_costs_its_item():
    sink = Gate([OSError("disk")])
    worker = SinkWorker(sink, MemoryQueue(10), retry=False)
    worker.submit(0)
    worker.submit(1)
    stats = worker.close(5)
    assert (sink.items, stats.lost, stats.error) == ([1], 1, None)


def test_a_reader_that_is_gone_makes_the_sink_dead():
    worker = SinkWorker(Gate([BrokenPipeError()]), MemoryQueue(10))
    assert not worker.dead
    worker.submit(0)
    until(lambda: worker.dead)
    worker.submit(1)
    assert worker.close(1).lost == 2


@pytest.mark.parametrize("hangs", [False, True])
def test_what_is_not_delivered_waits_on_the_disk_for_the_next_process(tmp_path, hangs):
    sink = Gate([] if hangs else [OSError("away")] * 1000)
    if hangs:
        sink.open.clear()
    worker = SinkWorker(sink, DiskQueue(tmp_path / "q.sqlite"), longest_pause=0.1)
    for number in range(20):
        worker.submit(make_event(number))
    until(lambda: sink.tries >= 1)
    stats = worker.close(0.3)
    assert (stats.delivered, stats.waiting, stats.lost) == (0, 20, 0)

    back = Gate()
    worker = SinkWorker(back, DiskQueue(tmp_path / "q.sqlite"))
    worker.submit(make_event(20))
    until(lambda: len(back.items) == 21)
    assert back.items == [make_event(number) for number in range(21)]
    assert worker.close(1).waiting == 0
