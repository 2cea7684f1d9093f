"""What the knowledge file of the plan in use says of words."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from ...bundle.bundle import knowledge_path
from ...bundle.label_bank import LabelBank
from ...labels import Knowledge
from ...tagger import Tagger

_WORDS = 256
"""Words whose label banks are kept: some kB each."""


class Words:
    """Label banks of words for a tagger. Thread-safe.

    The knowledge file stays in memory, and is read again after it or the plan was replaced: to read it takes a second,
    a word then takes some milliseconds.
    """

    def __init__(self, tagger: Tagger) -> None:
        self._tagger = tagger
        self._lock = threading.Lock()
        self._file: tuple[Path, tuple[int, ...]] | None = None
        self._make: Callable[[str, bool], LabelBank]

    def bank(self, word: str, *, force: bool = False) -> LabelBank:
        """The label bank of one word; ``force``: also if no concept is similar to it.

        Raises what ``Knowledge.of_plan`` and ``Knowledge.bank`` raise.
        """
        with self._lock:
            info = self._tagger.info
            file = _identity(knowledge_path(info["plan"]))
            if file is None or file != self._file:
                knowledge = Knowledge.of_plan(info, trust=self._tagger.trust or False)

                @lru_cache(_WORDS)
                def make(word: str, force: bool) -> LabelBank:
                    return knowledge.bank([word], force=force)

                self._make = make
                self._file = file
            return self._make(word, force)


def _identity(path: Path) -> tuple[Path, tuple[int, ...]] | None:
    """The path of a file, and what changes when another file takes its place; None: it is unreadable."""
    with suppress(OSError):
        status = os.stat(path)
        return path, (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return None
