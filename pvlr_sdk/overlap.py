"""Work on many items at once, with the results in order and only a few items in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 2
"""Items waiting for each worker: enough that none idles while the caller is busy with a result."""


def overlapped(work: Callable[[Item], Result], items: Iterable[Item], *, workers: int) -> Iterator[Result]:
    """``work(item)`` for each item, computed by ``workers`` threads and given in the order of the items.

    ``items`` is read in the caller's thread, at most ``workers * (1 + _AHEAD)`` items ahead of the results. An error of
    ``work`` or ``items`` ends the iteration; what was under way then still ends, what was waiting is dropped.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix="pvlr")
    waiting: deque[Future[Result]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            while waiting and (len(waiting) >= workers * (1 + _AHEAD) or waiting[0].done()):
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
