"""Worker threads: ordered parallel mapping in bounded memory, and awaitable futures."""

from __future__ import annotations

import atexit
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeVar
from weakref import WeakSet

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 2
"""Items queued per worker: enough that none idles while the caller handles a result."""

_PATIENCE = 2.0
"""Seconds to wait for work in progress at the end; a thread that hangs, say on a dead network drive, is abandoned."""


def overlapped(
    work: Callable[[list[Item]], list[Result]],
    items: Iterable[Item],
    *,
    workers: int,
    together: int = 1,
    full: Callable[[], bool] = lambda: False,
) -> Iterator[Result]:
    """Compute a result for each item with ``workers`` threads and yield the results in the order of the items.

    ``work`` receives one item, or up to ``together`` items where more are queued than there are workers, and returns as
    many results. ``items`` is read in the caller's thread, at most ``workers * together * (1 + _AHEAD)`` items ahead of
    the results; while it is ``full``, not before all results were yielded. An exception of ``work`` or ``items`` ends
    the iteration: work in progress completes, queued items are dropped.
    """
    pool = Workers(work, workers, together)
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(item))
            while waiting and (
                len(waiting) >= workers * together * (1 + _AHEAD) or waiting[0].done() or full()
            ):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.cancel()
        pool.join(time.monotonic() + _PATIENCE)


class AwaitableFuture(Future[Result]):
    """A future that blocks with ``result()`` and can also be awaited in a coroutine."""

    def __await__(self) -> Generator[Any, None, Result]:
        import asyncio  # loaded already in every program that awaits

        return asyncio.wrap_future(self).__await__()


class Workers(Generic[Item, Result]):
    """Threads that process items in order of arrival.

    Unlike those of a ThreadPoolExecutor they are daemons: a worker that hangs cannot prevent the program's exit, which
    waits :data:`_PATIENCE` seconds for work in progress and drops the rest.

    Args:
        work: receives one item, or up to ``together``, and returns as many results.
        count: number of threads.
        together: most items per call of ``work``.
    """

    def __init__(
        self, work: Callable[[list[Item]], list[Result]], count: int, together: int = 1
    ) -> None:
        self._tasks: SimpleQueue[tuple[AwaitableFuture[Result], Item] | None] = SimpleQueue()
        self._arguments = (work, self._tasks, together, count)
        self._threads: list[Thread] = []
        _pools.add(self)

    def submit(self, item: Item) -> AwaitableFuture[Result]:
        """The future of an item's result; starts a thread until there are enough. Not in two threads at once."""
        future: AwaitableFuture[Result] = AwaitableFuture()
        self._tasks.put((future, item))
        if (number := len(self._threads)) < self._arguments[-1]:
            # Threads that run keep the pool in _pools: a closed one may still release the model's memory.
            thread = Thread(
                target=_serve, args=(self, *self._arguments), name=f"pvlr-{number}", daemon=True
            )
            thread.start()
            self._threads.append(thread)
        return future

    def close(self) -> None:
        """End the threads after the items already queued."""
        for _ in self._threads:
            self._tasks.put(None)

    def cancel(self) -> None:
        """Drop the queued items and end the threads after the work in progress."""
        with suppress(Empty):
            while True:
                if task := self._tasks.get_nowait():
                    task[0].cancel()
        self.close()

    def join(self, deadline: float) -> None:
        """Wait for the threads to end, until ``deadline`` in ``time.monotonic()`` seconds at the latest."""
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))


def _serve(
    _pool: Workers[Any, Any],
    work: Callable[[list[Any]], list[Any]],
    tasks: SimpleQueue[tuple[AwaitableFuture[Any], Any] | None],
    together: int,
    workers: int,
) -> None:
    while (task := tasks.get()) is not None:
        group = [task]
        # Leave one item for each other worker: near the end none may idle while another has two.
        while len(group) < together and tasks.qsize() >= workers:
            try:
                # waiting here, while others took the rest, would hold up this group
                task = tasks.get_nowait()
            except Empty:
                break
            if task is None:
                tasks.put(None)  # meant for another worker
                break
            group.append(task)
        group = [(future, item) for future, item in group if future.set_running_or_notify_cancel()]
        if group:
            try:
                for (future, _), result in zip(
                    group, work([item for _, item in group]), strict=True
                ):
                    future.set_result(result)
            except BaseException as error:  # reported by the future
                for future, _ in group:
                    future.set_exception(error)
        del task, group  # an idle worker keeps no frame alive


_pools: WeakSet[Workers[Any, Any]] = WeakSet()


@atexit.register
def _finish() -> None:
    # A thread that is inside the runtime's C++ code when the interpreter is finalised aborts the process.
    pools = list(_pools)
    for pool in pools:
        pool.cancel()
    deadline = time.monotonic() + _PATIENCE
    for pool in pools:
        pool.join(deadline)
