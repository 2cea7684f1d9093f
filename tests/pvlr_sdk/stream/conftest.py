"""A tagger, and a slow engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
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
    """A tagger whose engine takes ``seconds`` a frame, one after the other; the answers are the real ones."""

    def __init__(self, tagger: Tagger, seconds: float) -> None:
        self.info = tagger.info
        self.predict = tagger.predict
        self._tagger = tagger
        self._seconds = seconds
        self._free = 0.0

    def submit(self, frame: Any, *, color: str = "bgr") -> Any:
        pending = self._tagger.submit(frame, color=color)
        self._free = max(self._free, time.monotonic()) + self._seconds
        return _SlowPending(pending, self._free)


class _SlowPending:
    def __init__(self, pending: Any, done: float) -> None:
        self._pending, self._done = pending, done

    def result(self) -> TagResult:
        time.sleep(max(self._done - time.monotonic(), 0))
        return self._pending.result()


@pytest.fixture
def slow(tagger: Tagger) -> Callable[[float], Any]:
    """Makes a tagger whose engine takes so many seconds a frame."""
    return lambda seconds: SlowTagger(tagger, seconds)
