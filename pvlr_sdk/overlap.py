"""Work on many items at once, with the results in order and only a few items in memory."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 2
"""Items waiting for each worker: enough that none idles while the caller is busy with a result."""

_PATIENCE = 2.0
"""Seconds that the end waits for work that is under way; what hangs, say on a dead network drive, is left alone."""


def overlapped(
    work: Callable[[list[Item]], list[Result]], items: Iterable[Item], *, workers: int, together: int = 1
) -> Iterator[Result]:
    """A result for each item, computed by ``workers`` threads and given in the order of the items.

    ``work`` gets a single item, or up to ``together`` where more wait than there are workers, and gives as many
    results. ``items`` is read in the caller's thread, at most ``workers * together * (1 + _AHEAD)`` items ahead of the
    results. An error of ``work`` or ``items`` ends the iteration; what was under way then still ends, what was waiting
    is dropped.
    """
    # Not a ThreadPoolExecutor: Python waits for its threads at exit without end, so that Ctrl-C could not end a program
    # one of whose workers hangs. Daemon threads are left behind.
    tasks: SimpleQueue[tuple[Future[Result], Item] | None] = SimpleQueue()
    serve = partial(_serve, work, tasks, together, workers)
    threads = [Thread(target=serve, name=f"pvlr-{n}", daemon=True) for n in range(workers)]
    waiting: deque[Future[Result]] = deque()
    try:
        for thread in threads:
            thread.start()
        for item in items:
            future: Future[Result] = Future()
            waiting.append(future)
            tasks.put((future, item))
            while waiting and (len(waiting) >= workers * together * (1 + _AHEAD) or waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
        for _ in threads:
            tasks.put(None)
        deadline = time.monotonic() + _PATIENCE
        for thread in threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))


class Workers:
    """Daemon threads that run calls in the order they come; unlike an executor's they never hold up Python's end."""

    def __init__(self, count: int) -> None:
        self._tasks: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._threads = [
            Thread(target=_serve, args=(_call, self._tasks, 1, count), name=f"pvlr-async-{n}", daemon=True)
            for n in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, call: Callable[[], Result]) -> Future[Result]:
        """A future of what the call gives."""
        future: Future[Result] = Future()
        self._tasks.put((future, call))
        return future

    def close(self) -> None:
        """Let the threads end after the calls that are there already."""
        for _ in self._threads:
            self._tasks.put(None)


def _call(calls: list[Callable[[], Result]]) -> list[Result]:
    return [call() for call in calls]


def _serve(
    work: Callable[[list[Any]], list[Any]],
    tasks: SimpleQueue[tuple[Future[Any], Any] | None],
    together: int,
    workers: int,
) -> None:
    while (task := tasks.get()) is not None:
        group = [task]
        # The others keep one each: near the end, and of a few items, none has nothing to do while another has two.
        while len(group) < together and tasks.qsize() >= workers:
            if (task := tasks.get()) is None:
                tasks.put(None)  # another worker's sign to end
                break
            group.append(task)
        group = [(future, item) for future, item in group if future.set_running_or_notify_cancel()]
        if group:
            try:
                for (future, _), result in zip(group, work([item for _, item in group]), strict=True):
                    future.set_result(result)
            except BaseException as error:  # the caller's to see
                for future, _ in group:
                    future.set_exception(error)
        del task, group  # an idle worker keeps no frame alive
