"""A tagger, a slow engine, and selections from a stream's events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import Tagger
from pvlr_sdk.result import TagResult


@pytest.fixture(scope="session")
def tagger(plan: Path) -> Iterator[Tagger]:
    """The tiny network; a frame takes well under a millisecond."""
    with Tagger(plan, num_threads=1) as made:
        yield made


class SlowTagger:
    """A tagger whose engine takes ``seconds`` per frame or tile, one after the other; the results are the real ones."""

    def __init__(self, tagger: Tagger, seconds: float) -> None:
        self.info = tagger.info
        self.predict = tagger.predict
        self._tagger = tagger
        self._seconds = seconds
        self._free = 0.0
        self._waiting = ThreadPoolExecutor(4)

    def predict_async(self, frame: Any, **options: Any) -> Future[TagResult]:
        inner = self._tagger.predict_async(frame, **options)
        columns, rows = options.get("tiles") or (1, 1)
        count = 1 + (columns * rows if columns * rows > 1 else 0) - len(options.get("kept") or ())
        self._free = max(self._free, time.monotonic()) + count * self._seconds
        return self._waiting.submit(self._finish, inner, self._free)

    def _finish(self, inner: Future[TagResult], done: float) -> TagResult:
        time.sleep(max(done - time.monotonic(), 0))
        return inner.result()


@pytest.fixture
def slow(tagger: Tagger) -> Callable[[float], Any]:
    """Makes a tagger whose engine takes so many seconds per frame."""
    return lambda seconds: SlowTagger(tagger, seconds)
