"""No data races in libpvlr: 32 threads on one handle under ThreadSanitizer, beside one that opens and closes handles.

The engine is fake_engine/engine.cpp, so that all code that runs is compiled with ThreadSanitizer, without suppressions,
and inferences can fail. OpenVINO's own thread safety is not tested here.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import LabelBank
from tests.pvlr_sdk.labels import tiny_open

from .sources import FAKE, LIBRARY, RUNTIME, Sources

pytestmark = pytest.mark.slow

ROUNDS = os.environ.get("PVLR_RACE_ROUNDS", "20")
SWAPS = os.environ.get("PVLR_RACE_SWAPS", "300")
TSAN = ["-fsanitize=thread", "-O0"]
# Of Tagger::recycle.
LOCK = "  const std::lock_guard<std::mutex> lock(owner->mutex_);\n"
# Of Tagger::set_labels.
LABELS_LOCK = "  const std::lock_guard<std::mutex> lock(mutex_);\n  labels_.swap(labels);"


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Sources:
    sources = Sources(tmp_path_factory.mktemp("races"), "c++", TSAN, TSAN, RUNTIME / "tagger.cpp")
    sources.check("int main() {}\n")
    return sources


def run(program: Path, plan: Path, rounds: str, *banks: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1 second_deadlock_stack=1"}
    command = [program, plan, rounds, *banks]
    return subprocess.run(
        command, capture_output=True, text=True, env=environment, timeout=3600, check=False
    )


def test_threads_share_a_tagger_without_a_race(sources: Sources, plan: Path) -> None:
    done = run(sources.program("races", [*LIBRARY, FAKE / "engine.cpp"]), plan, ROUNDS)
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    print(done.stdout)
    found = re.fullmatch(
        r"(\d+) frames, (\d+) errors, (\d+) openings, (\d+) bytes left, 0 wrong\n", done.stdout
    )
    assert found, done.stdout
    frames, errors, openings, left = map(int, found.groups())
    assert frames > 32 * int(ROUNDS)
    assert errors > 2 * 32 * int(ROUNDS)
    assert openings > 0
    assert left == 0


def run_swaps(
    sources: Sources, folder: Path, changes: dict[str, tuple[str, str]], swaps: str
) -> Any:
    plan = tiny_open.build_plan(folder)
    paths = []
    for number in range(4):
        count = number % tiny_open.MAX + 1
        same = np.full(count, number, np.float32)
        bank = LabelBank(
            [f"{number} {index}" for index in range(count)],
            np.ones((count, tiny_open.WIDTH), np.float16),
            (same + 1) / 10,
            {"space": tiny_open.SPACE},
            biases=same,
        )
        paths.append(folder / f"{number}.safetensors")
        bank.save(paths[-1])
    return run(
        sources.program("swaps", [*LIBRARY, FAKE / "engine.cpp"], changes), plan, swaps, *paths
    )


def test_labels_change_without_a_race(sources: Sources, tmp_path: Path) -> None:
    """Every result has the names, thresholds and logits of one bank."""
    done = run_swaps(sources, tmp_path, {}, SWAPS)
    assert done.returncode == 0, done.stdout + done.stderr[-5000:]
    print(done.stdout)
    found = re.fullmatch(r"(\d+) swaps, (\d+) frames, 4 banks seen, 0 wrong\n", done.stdout)
    assert found, done.stdout
    assert int(found[2]) > 100


def test_labels_that_change_without_the_lock_are_reported(sources: Sources, tmp_path: Path) -> None:
    done = run_swaps(
        sources,
        tmp_path,
        {"csrc/runtime/tagger.cpp": (LABELS_LOCK, "  labels_.swap(labels);")},
        "200",
    )
    assert done.returncode != 0
    assert "WARNING: ThreadSanitizer: data race" in done.stderr


def test_a_lock_that_is_missing_is_reported(sources: Sources, plan: Path) -> None:
    changes = {"csrc/runtime/tagger.cpp": (LOCK, "")}
    done = run(sources.program("races", [*LIBRARY, FAKE / "engine.cpp"], changes), plan, ROUNDS)
    assert done.returncode != 0
    assert "WARNING: ThreadSanitizer: data race" in done.stderr
    assert "pvlr::runtime::Tagger::recycle" in done.stderr
