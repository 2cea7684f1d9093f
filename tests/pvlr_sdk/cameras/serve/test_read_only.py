"""``pvlr serve`` while the file system of all its files is read-only: typed answers, and no event is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.waiting import until

SITE = """
threads: 1
cameras: {{door: {{uri: 'test://?fps=30&size=64x48&freeze_after=15', timeout: 0.5}}}}
events: {{thresholds: {{cat: 0}}, labels: [cat], min_duration: 0, snapshots: {disk}/snapshots}}
memory: {{folder: {disk}/memory}}
serve: {{audit_log: {disk}/audit.jsonl}}
sinks: [{{kind: jsonl, path: {disk}/events.jsonl}}, {{kind: sqlite, path: {disk}/events.db}}]
"""
MOUNT = 'mount -t tmpfs -o size=64m pvlr-test "$0" && exec "$@"'
CHANGES = {
    "settings": ("PUT", "/v1/settings", {"thresholds": {"cat": 0.001}}),
    "words": ("POST", "/v1/words", {"label": "espresso"}),
    "answer": ("PUT", "/v1/memory/events/{event}/answer", {"answer": "yes"}),
}
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount"),
    pytest.mark.skipif(not shutil.which("nsenter"), reason="nsenter is not installed"),
]


class Service:
    """The process, whose files are on a file system of its own: other processes do not see it."""

    def __init__(self, folder: Path) -> None:
        self.disk = folder / "disk"
        self.disk.mkdir()
        (folder / "site.yaml").write_text(SITE.format(disk=self.disk))
        command = [sys.executable, "-c", "from pvlr_sdk.cli import main; main()", "serve"]
        command += ["--config", str(folder / "site.yaml"), "--state", str(self.disk / "state")]
        self.log = folder / "log.txt"
        self.process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", MOUNT, str(self.disk), *command, "--port", "0"],
            stderr=self.log.open("w"),
        )
        line = until(lambda: self.process.poll() or self.log.read_text().partition("\n")[0])
        if "mount:" in str(line) or "unshare:" in str(line):
            pytest.skip("needs the right to mount")
        self.url = str(line).split()[-1]

    def run(self, *command: str) -> str:
        """What a command prints that sees the same files."""
        enter = ["nsenter", "-t", str(self.process.pid), "-m", *command]
        return subprocess.run(enter, check=True, capture_output=True, text=True).stdout

    def rows(self, path: str, query: str) -> set[str]:
        """The values that a query of a database gives."""
        code = "import sqlite3, sys; print(*next(zip(*sqlite3.connect(sys.argv[1]).execute(sys.argv[2])), ()))"
        return set(self.run(sys.executable, "-c", code, str(self.disk / path), query).split())

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        request = urllib.request.Request(
            self.url + path,
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def events(self) -> list[str]:
        """Which event began or ended, in their order."""
        events = self.ask("GET", "/v1/events")[1]["events"]
        return [f"{event['event']} {event['id']}" for event in events]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    started = Service(tmp_path)
    yield started
    started.process.kill()
    started.process.wait()


def test_changes_are_refused_and_events_wait(service: Service) -> None:
    until(lambda: len(service.events()) >= 2)
    first = service.events()[0].split()[1]
    changes: dict[str, Callable[[], tuple[int, Any]]] = {
        name: lambda method=method, path=path, body=body: service.ask(
            method, path.format(event=first), body
        )
        for name, (method, path, body) in CHANGES.items()
    }
    until(lambda: changes["answer"]()[0] == 200)  # the memory has stored it
    change, path, _ = CHANGES["settings"]
    assert service.ask(change, path, {"thresholds": {"cat": 0.002}})[0] == 200
    settings = service.ask("GET", "/v1/settings")

    service.run("mount", "--bind", str(service.disk), str(service.disk))
    service.run("mount", "-o", "remount,bind,ro", str(service.disk))
    for name, change in changes.items():
        status, problem = change()
        assert (status, problem["error"]) == (503, "OutputError"), (name, problem)
        assert "read" in problem["got"].lower(), problem
    assert service.ask("GET", "/v1/settings") == settings
    before = len(service.events())
    until(lambda: len(service.events()) >= before + 4)
    began = time.monotonic()
    assert service.ask("GET", "/healthz")[0] == 200
    assert time.monotonic() - began < 5

    service.run("umount", str(service.disk))
    for name, change in changes.items():
        assert change()[0] == 200, name
    seen = service.events()

    def written() -> list[str]:
        lines = service.run("cat", str(service.disk / "events.jsonl")).splitlines()
        return [f"{row['event']} {row['id']}" for row in map(json.loads, lines)]

    until(lambda: len(written()) >= len(seen))
    assert written()[: len(seen)] == seen
    ids = {event.split()[1] for event in seen}
    until(lambda: ids <= service.rows("events.db", "SELECT id FROM events"))
    until(lambda: ids <= service.rows("memory/memory.sqlite", "SELECT event FROM moments"))
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(60) == 0
    assert "Traceback" not in service.log.read_text()
