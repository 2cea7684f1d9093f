"""No data races in libpvlr: 32 threads on one handle under ThreadSanitizer, beside one that opens and closes handles.

The engine is fake_engine/engine.cpp, so that all code that runs is compiled with ThreadSanitizer, without suppressions,
and inferences can fail. OpenVINO's own thread safety is not tested here.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from .sources import FAKE, LIBRARY, Sources

pytestmark = pytest.mark.slow

ROUNDS = os.environ.get("PVLR_RACE_ROUNDS", "20")
TSAN = ["-fsanitize=thread", "-O0"]
# Of Tagger::recycle.
LOCK = "  const std::lock_guard<std::mutex> lock(owner->mutex_);\n"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    sources = Sources(tmp_path_factory.mktemp("races"), "c++", TSAN, TSAN)
    sources.check("int main() {}\n")
    return sources


def run(program: Path, plan: Path, rounds: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1 second_deadlock_stack=1"}
    command = [program, plan, rounds]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=3600, check=False)


def test_threads_share_a_tagger_without_a_race(sources: Sources, plan: Path) -> None:
    done = run(sources.program("races", [*LIBRARY, FAKE / "engine.cpp"]), plan, ROUNDS)
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    print(done.stdout)
    found = re.fullmatch(r"(\d+) frames, (\d+) errors, (\d+) openings, (\d+) bytes left, 0 wrong\n", done.stdout)
    assert found, done.stdout
    frames, errors, openings, left = map(int, found.groups())
    assert frames > 32 * int(ROUNDS)
    assert errors > 2 * 32 * int(ROUNDS)
    assert openings > 0
    assert left == 0


def test_a_lock_that_is_missing_is_reported(sources: Sources, plan: Path) -> None:
    changes = {"csrc/runtime/tagger.cpp": (LOCK, "")}
    done = run(sources.program("races", [*LIBRARY, FAKE / "engine.cpp"], changes), plan, ROUNDS)
    assert done.returncode != 0
    assert "WARNING: ThreadSanitizer: data race" in done.stderr
    assert "pvlr::runtime::Tagger::recycle" in done.stderr
