"""Overlapped work: the order of the items, bounded reading ahead, errors, and early ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from pvlr_sdk.overlap import overlapped


def test_results_come_in_the_order_of_the_items() -> None:
    def work(n: int) -> int:
        time.sleep(0.003 * (n % 3))
        return n * n

    assert list(overlapped(work, range(40), workers=4)) == [n * n for n in range(40)]


def test_works_on_several_items_at_once() -> None:
    meeting = threading.Barrier(3, timeout=20)  # breaks unless three threads get here together
    assert len(list(overlapped(lambda _: meeting.wait(), range(6), workers=3))) == 6


def test_reads_only_a_few_items_ahead() -> None:
    read = []

    def items() -> Iterator[int]:
        for n in range(100):
            read.append(n)
            yield n

    results = overlapped(lambda n: n, items(), workers=2)
    for taken in range(1, 21):
        next(results)
        assert len(read) <= taken + 6


def test_gives_a_result_before_the_next_item_is_there() -> None:
    """A camera's first frame must not wait for its seventh."""
    results = overlapped(lambda n: n, iter_slowly(), workers=2)
    assert next(results) == 0
    results.close()


def iter_slowly() -> Iterator[int]:
    yield 0
    time.sleep(0.2)
    yield 1
    raise AssertionError("read further than needed")


def test_errors_of_work_and_items_end_it() -> None:
    with pytest.raises(ZeroDivisionError):
        list(overlapped(lambda n: 1 // n, [2, 1, 0, 1], workers=2))

    def broken() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(overlapped(lambda n: n, broken(), workers=2))


def test_closing_it_drops_what_waits_and_leaves_no_thread() -> None:
    done = []

    def work(n: int) -> int:
        time.sleep(0.01)
        done.append(n)
        return n

    results = overlapped(work, range(1000), workers=2)
    next(results)
    results.close()
    assert len(done) < 10
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("pvlr")]


def test_an_interrupt_does_not_wait_for_a_worker_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pvlr_sdk.overlap._PATIENCE", 0.1)
    free = threading.Event()

    def work(n: int) -> int:
        if n == 1:
            free.wait(60)
        return n

    results = overlapped(work, range(9), workers=2)
    assert next(results) == 0
    began = time.monotonic()
    results.close()
    assert time.monotonic() - began < 10
    free.set()
