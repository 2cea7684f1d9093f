"""Overlapped work: the order of the items, bounded reading ahead, errors, and early ends."""

from __future__ import annotations

import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from pvlr_sdk.inference.overlap import Workers, overlapped
from tests.waiting import LONG


def each(work: Callable[[int], int]) -> Callable[[list[int]], list[int]]:
    return lambda items: [work(item) for item in items]


def test_results_come_in_the_order_of_the_items() -> None:
    """Also where a later item is done first."""
    later = [threading.Event() for _ in range(21)]

    def work(n: int) -> int:
        if n % 2 == 0:
            assert later[n // 2].wait(LONG)
        later[n // 2].set()
        return n * n

    assert list(overlapped(each(work), range(40), workers=4)) == [n * n for n in range(40)]


def test_works_on_several_items_at_once() -> None:
    meeting = threading.Barrier(3, timeout=LONG)  # breaks unless three threads get here together
    assert len(list(overlapped(each(lambda _: meeting.wait()), range(6), workers=3))) == 6


def test_takes_several_together_only_where_enough_wait() -> None:
    """Results stay in order; near the end, and of a few items, each worker has its own."""
    groups: list[list[int]] = []

    def work(items: list[int]) -> list[int]:
        groups.append(items)
        time.sleep(0.01)
        return [n * n for n in items]

    assert list(overlapped(work, range(41), workers=2, together=2)) == [n * n for n in range(41)]
    assert sorted(n for group in groups for n in group) == list(range(41))
    assert {len(group) for group in groups} == {1, 2}
    assert sum(len(group) == 2 for group in groups) > 10
    assert [len(group) for group in groups if 40 in group] == [1]
    groups.clear()
    assert list(overlapped(work, range(2), workers=2, together=2)) == [0, 1]
    assert [len(group) for group in groups] == [1, 1]


def test_reads_only_a_few_items_ahead() -> None:
    read = []

    def items() -> Iterator[int]:
        for n in range(100):
            read.append(n)
            yield n

    results = overlapped(each(lambda n: n), items(), workers=2)
    for taken in range(1, 21):
        next(results)
        assert len(read) <= taken + 6


def test_gives_a_result_before_the_next_item_is_there() -> None:
    """A camera's first frame must not wait for its seventh."""
    done = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        assert done.wait(LONG)
        for n in range(1, 6):
            time.sleep(0.01)
            yield n
        raise AssertionError("read further than needed")

    results = overlapped(each(lambda n: done.set() or n), items(), workers=2)
    assert next(results) == 0
    results.close()


def test_errors_of_work_and_items_end_it() -> None:
    with pytest.raises(ZeroDivisionError):
        list(overlapped(each(lambda n: 1 // n), [2, 1, 0, 1], workers=2))

    def broken() -> Iterator[int]:
        yield 1
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(overlapped(each(lambda n: n), broken(), workers=2))


def test_closing_it_drops_what_waits_and_leaves_no_thread() -> None:
    done, before = [], set(threading.enumerate())

    def work(n: int) -> int:
        done.append(n)
        return n

    results = overlapped(each(work), range(1000), workers=2)
    next(results)
    results.close()
    assert len(done) < 20
    assert set(threading.enumerate()) <= before


def test_an_interrupt_does_not_wait_for_a_worker_that_hangs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("pvlr_sdk.inference.overlap._PATIENCE", 0.1)
    free = threading.Event()

    def work(n: int) -> int:
        if n == 1:
            free.wait(2 * LONG)
        return n

    results = overlapped(each(work), range(9), workers=2)
    assert next(results) == 0
    began = time.monotonic()
    results.close()
    assert time.monotonic() - began < LONG
    free.set()


@pytest.mark.slow
def test_the_exit_waits_for_threads_of_a_closed_pool():
    """They may still release the memory of the model, in C++."""
    code = """
import time
from pvlr_sdk.inference.overlap import Workers

class Slow:
    def __del__(self):
        time.sleep(0.3)
        print("released", flush=True)

pool = Workers(lambda items: [1], 1)
pool.submit(Slow()).result()
pool.close()
del pool
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "released\n", "")


def test_a_group_does_not_wait_for_items_that_others_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a look at the queue's length and the next item, other workers may take all that is there."""

    class Emptied(queue.SimpleQueue):  # type: ignore[type-arg]
        def qsize(self) -> int:
            return 9

    monkeypatch.setattr("pvlr_sdk.inference.overlap.SimpleQueue", Emptied)
    pool = Workers(lambda items: items, 1, together=2)
    assert pool.submit("alone").result(LONG) == "alone"
    pool.close()
    pool.join(time.monotonic() + LONG)
