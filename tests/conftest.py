"""For all tests: the benchmarks are scripts and no package, Ctrl-C works, and the log is as a new process has it."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

# At the end of the path, where they shadow nothing.
sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

# A shell that runs us in the background has SIGINT ignored, for our children too; the tests of Ctrl-C need it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _log_as_it_was() -> Iterator[None]:
    """Commands that run inside a test set up the log for their process, which is everybody's here."""
    logger = logging.getLogger("pvlr_sdk")
    handlers, level, propagate = list(logger.handlers), logger.level, logger.propagate
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
    logger.propagate = propagate
