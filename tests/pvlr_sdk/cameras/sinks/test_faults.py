"""Every system call of the sinks on disk fails once, or is the last one before SIGKILL (by strace's fault injection).

After a fault that passes, all events are there, each once and in order. After SIGKILL, all that were acknowledged are
there, and at most the one after them.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import multiprocessing.connection
import shutil
import socket
import sqlite3
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import pytest

from pvlr_sdk.cameras.sinks.queues import DiskQueue

from . import workload

# Python starts and imports once, not for each fault.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.pvlr_sdk.cameras.sinks.workload"])
# start() collects ended processes: beside a join() of another thread, one of the two reads 255 as the status.
COLLECTING = threading.Lock()
KINDS = ("jsonl", "rotating", "sqlite", "queue")
COUNT = 3  # the first, one between, the last
CALLS = (
    "write",
    "pwrite64",
    "fsync",
    "fdatasync",
    "ftruncate",
    "openat",
    "unlink",
    "rename",
    "close",
)
FAULTS = {
    "write": ("ENOSPC", "EIO", "EINTR"),
    "pwrite64": ("ENOSPC", "EIO", "EINTR"),
    "fsync": ("EIO",),
    "fdatasync": ("EIO",),
    "ftruncate": ("EIO",),
    "openat": ("EMFILE", "EINTR"),
    "rename": ("ENOSPC",),
}
FILES = ["e", "e-wal", "e-shm", "e-journal", *(f"e.{number}" for number in range(1, 10))]


class Run(NamedTuple):
    """What a run acknowledged, its exit status, and the traced system calls."""

    reported: list[str]
    status: int
    calls: list[str]


def run(kind: str, folder: Path, *injected: str, file_limit: int | None = None) -> Run:
    folder.mkdir()
    ours, theirs = socket.socketpair()
    worker = PROCESSES.Process(
        target=workload.begin, args=(kind, folder / "e", COUNT, theirs, file_limit)
    )
    with COLLECTING:
        worker.start()
    theirs.close()
    if traced := file_limit is None:
        paths = [part for name in FILES for part in ("-P", str(folder / name))]
        command = [
            "strace",
            "-f",
            "-p",
            str(worker.pid),
            "-o",
            str(folder / "log"),
            "-e",
            f"trace={','.join(CALLS)}",
        ]
        strace = subprocess.Popen([*command, *paths, *injected], stderr=subprocess.PIPE, text=True)
        assert strace.stderr is not None
        assert "attached" in strace.stderr.readline()
    ours.send(b"!")
    reported = b"".join(iter(lambda: ours.recv(65536), b"")).decode().split("\n")[:-1]
    ours.close()
    multiprocessing.connection.wait([worker.sentinel], 120)
    with COLLECTING:
        worker.join(0)
    status = worker.exitcode
    assert status is not None
    if traced:
        strace.communicate(timeout=120)
    log = (folder / "log").read_text() if traced else ""
    return Run(
        reported,
        status,
        [line.split()[1].partition("(")[0] for line in log.splitlines() if "(" in line],
    )


def contents(kind: str, folder: Path) -> list[int]:
    """The events that a reader, or the next process, finds."""
    if kind == "queue":
        queue, found = DiskQueue(folder / "e"), []
        while (event := queue.take(0)) is not None:
            found.append(event.id)
            queue.done()
        queue.close()
    elif kind == "sqlite":
        with contextlib.closing(sqlite3.connect(folder / "e")) as database:
            assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            tables = database.execute(
                "SELECT name FROM sqlite_master WHERE name = 'events'"
            ).fetchall()
            rows = database.execute("SELECT id FROM events ORDER BY id") if tables else ()
            found = [one for (one,) in rows]
    else:
        files = [folder / name for name in reversed(["e", *FILES[4:]]) if (folder / name).exists()]
        found = [json.loads(line)["id"] for path in files for line in path.read_text().splitlines()]
    return [int(one.removeprefix("event-")) for one in found]


@pytest.fixture(autouse=True)
def _strace(tmp_path: Path) -> None:
    if not shutil.which("strace"):
        pytest.skip("strace is not installed")
    probe = ["strace", "-qq", "-o", str(tmp_path / "log"), "-e", "inject=write:error=EIO", "true"]
    if subprocess.run(probe, capture_output=True, check=False).returncode:
        pytest.skip("this system does not allow ptrace")


def plans(kind: str, folder: Path) -> Iterator[tuple[str, int, str]]:
    """Each system call of an undisturbed run, with one of its faults in turn, and as the last one before SIGKILL."""
    plain = run(kind, folder)
    assert (plain.status, plain.reported) == (0, [str(number) for number in range(COUNT)])
    for call, times in Counter(plain.calls).items():
        for when in range(1, times + 1):
            if faults := FAULTS.get(call):
                yield call, when, f"error={faults[when % len(faults)]}"
            yield call, when, "signal=KILL"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_in_any_system_call(tmp_path: Path, kind: str) -> None:
    def check(plan: tuple[str, int, str]) -> str | None:
        call, when, fault = plan
        folder = tmp_path / f"{call}-{when}-{fault}"
        done = run(kind, folder, "-e", f"inject={call}:{fault}:when={when}")
        acknowledged = [int(number) for number in done.reported if number.isdigit()]
        found = contents(kind, folder)
        shutil.rmtree(folder)
        wanted = len(acknowledged)
        killed = "KILL" in fault
        good = found == list(range(len(found))) and acknowledged == list(range(wanted))
        good &= (
            (wanted <= len(found) <= wanted + 1)
            if killed
            else (len(found) == wanted == COUNT and not done.status)
        )
        state = f"status {done.status}, acknowledged {acknowledged}, found {found}"
        return None if good else f"{call} number {when}, {fault}: {state}"

    every = list(plans(kind, tmp_path / "plain"))
    with ThreadPoolExecutor(2) as pool:
        wrong = [problem for problem in pool.map(check, every) if problem]
    print(f"{kind}: {len(every)} faults, {len(wrong)} wrong")
    assert wrong == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_real_short_writes(tmp_path: Path, kind: str) -> None:
    """Files that cannot grow beyond a limit: the last write stores a part of its bytes."""
    for limit in (
        range(100, 700, 97) if kind in ("jsonl", "rotating") else range(20_100, 50_000, 4_001)
    ):
        folder = tmp_path / str(limit)
        done = run(kind, folder, file_limit=limit)
        acknowledged = [int(number) for number in done.reported if number.isdigit()]
        found = contents(kind, folder)
        assert found == acknowledged, limit
        assert len(done.reported) in (COUNT, 0)
