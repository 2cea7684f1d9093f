"""``pvlr deploy``, and SIGHUP to ``watch`` and ``serve``, as processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk.cameras.control.state import State
from pvlr_sdk.cameras.site import load_config
from pvlr_sdk.cli.deploy import deploy
from tests.pvlr_sdk.cameras.control.deployed import sha
from tests.waiting import until

PVLR = [sys.executable, "-c", "from pvlr_sdk.cli import main; main()"]
TOKEN = "0123456789abcdef0123"
SITE = """
plan: first/engine.plan
threads: 1
cameras: {door: 'test://?fps=20&size=64x48'}
events: {thresholds: {cat: 0}, labels: [cat], min_duration: 0.1}
deploy: {probation: 0.5}
"""


@pytest.fixture
def site(plans: Path, tmp_path: Path) -> Path:
    shutil.copytree(plans / "first", tmp_path / "site/first")
    (tmp_path / "site/site.yaml").write_text(SITE)
    return tmp_path / "site/site.yaml"


def plan_of(site: Path) -> Path:
    """The plan of the next start."""
    config = load_config(site)
    changes, _ = State.of_site(site).read().fitting(config)
    plan = changes.applied(config).plan
    assert plan
    return plan


STATUS = '{"state": "in use", "reason": null, "model": "a", "plan": "b", "more": %s}'


class TestArguments:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("arguments", "message"),
        [(["--to", "SITE"], "OptionError: PLAN"),
         (["x", "--rollback", "--to", "SITE"], "OptionError: PLAN"), (["missing", "--to", "SITE"], "PlanNotFoundError"),
         (["second", "--to", "missing.yaml"], "ConfigError"), (["first", "--to", "SITE"], "DeployError"),
         (["other", "--to", "SITE"], "DeployError"), (["--rollback", "--to", "SITE"], "DeployError: rollback"),
         (["second", "--to", "http://127.0.0.1:1"], "DeployError: http://127.0.0.1:1"),
         (["second", "--to", "http://[x"], "DeployError: http://[x")],
    )  # fmt: skip
    def test_each_mistake_is_one_message(
        self, pvlr: Callable[..., Any], plans: Path, site: Path, arguments: list[str], message: str
    ) -> None:
        before = site.read_text()
        known = {
            "SITE": site,
            "first": plans / "first",
            "second": plans / "second",
            "other": plans / "other",
        }
        done = pvlr("deploy", *(known.get(one, one) for one in arguments))
        assert done.code == 2
        (line,) = done.err.splitlines()
        assert line.startswith(f"pvlr: {message}")
        assert site.read_text() == before
        assert sorted(path.name for path in site.parent.iterdir()) == ["first", "site.yaml"]

    @pytest.mark.parametrize(
        "answer",
        ["[]", "{}", "null", "page", STATUS % f'"{"x" * 100_000}"', STATUS % f"[{'0,' * 10_000}0]"],
        ids=lambda answer: answer[:60],
    )  # fmt: skip
    def test_another_server(self, pvlr: Callable[..., Any], plans: Path, answer: str) -> None:
        class Other(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.end_headers()
                self.wfile.write(answer.encode())

            def log_message(self, *_: Any) -> None:
                pass

        with HTTPServer(("127.0.0.1", 0), Other) as server:
            threading.Thread(target=server.handle_request).start()
            url = f"http://127.0.0.1:{server.server_port}"
            done = pvlr("deploy", plans / "second", "--to", url)
        assert done.code == 2
        assert done.err.startswith(f"pvlr: DeployError: {url}: expected a running pvlr serve")

    def test_a_server_that_drips(
        self, pvlr: Callable[..., Any], plans: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(deploy.__globals__, "_TIMEOUT", 0.5)
        released = threading.Event()

        class Drips(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
                while not released.wait(0.05):
                    self.wfile.write(b"y")

        with HTTPServer(("127.0.0.1", 0), Drips) as server:
            thread = threading.Thread(target=server.handle_request)
            thread.start()
            done = pvlr(
                "deploy", plans / "second", "--to", f"http://127.0.0.1:{server.server_port}"
            )
            released.set()
            thread.join()
        assert "got timed out" in done.err

    def test_a_file(self, pvlr: Callable[..., Any], plans: Path, site: Path) -> None:
        done = pvlr("deploy", plans / "second", "--to", site, "--json")
        assert (done.code, json.loads(done.out)["plan"]) == (0, sha(plans / "second"))
        assert sha(plan_of(site).parent) == sha(plans / "second")
        assert "is deployed" in pvlr("deploy", "--rollback", "--to", site).out
        assert sha(plan_of(site).parent) == sha(plans / "first")

    def test_thresholds_that_do_not_fit_are_refused(
        self, pvlr: Callable[..., Any], plans: Path, site: Path
    ) -> None:
        """``off_thresholds`` fit the first plan only; the process that runs with the file would refuse the plan."""
        site.write_text(
            site.read_text().replace("{cat: 0}", "{cat: 0}, off_thresholds: {cat: 0.5}")
        )
        assert pvlr("deploy", plans / "second", "--to", site).err.startswith(
            "pvlr: OptionError: off threshold"
        )

    @pytest.mark.slow
    @pytest.mark.skipif(os.geteuid() != 0, reason="needs the right to mount")
    def test_a_full_disk(self, plans: Path, site: Path) -> None:
        """The folder of the copies is a file system that the bundle does not fit in."""
        room = State.of_site(site).folder / "plans"
        room.mkdir(parents=True)
        command = f'mount -t tmpfs -o size=8k tmpfs {room} && exec "$@"; ls -A {room}'
        script = ["unshare", "--mount", "sh", "-c", command.replace("exec ", ""), "sh", *PVLR]
        before = site.read_text()
        done = subprocess.run(
            [*script, "deploy", str(plans / "second"), "--to", str(site)],
            capture_output=True,
            text=True,
            check=False,
        )
        if "mount:" in done.stderr or "unshare:" in done.stderr:
            pytest.skip("needs the right to mount")
        assert "OutputError" in done.stderr
        assert "No space left" in done.stderr
        assert done.stdout == ""
        assert site.read_text() == before


@pytest.fixture
def start(site: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> subprocess.Popen[str]:
        log = (site.parent / "log.txt").open("w")
        command = [*PVLR, *arguments]
        environment = {**os.environ, "PVLR_TOKEN": TOKEN}
        running.append(
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                text=True,
                env=environment,
            )
        )
        return running[-1]

    yield run
    for process in running:
        process.kill()
        process.wait()


def logged(site: Path, text: str, seconds: float = 180.0) -> str:
    """Wait until the log contains a text."""
    log = site.parent / "log.txt"
    until(lambda: text in log.read_text(), text, seconds)
    return log.read_text()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["watch", "serve"])
def test_hangup(
    start: Callable[..., subprocess.Popen[str]],
    pvlr: Callable[..., Any],
    plans: Path,
    site: Path,
    command: str,
) -> None:
    options = ["--port", "0"] if command == "serve" else []
    process = start(command, "--config", str(site), *options)
    logged(site, "live" if command == "serve" else '"event"')
    assert pvlr("deploy", plans / "second", "--to", site).code == 0
    process.send_signal(signal.SIGHUP)
    logged(site, f"({sha(plans / 'second')[:12]}) replaces")
    # What it refuses, the next start does not use, although the operator's file names it.
    site.write_text(site.read_text().replace("first/engine.plan", f"{plans}/other"))
    process.send_signal(signal.SIGHUP)
    logged(site, "the plan in use stays: DeployError")
    assert sha(plan_of(site).parent) == sha(plans / "second")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0


@pytest.mark.slow
def test_a_running_server(
    start: Callable[..., subprocess.Popen[str]],
    pvlr: Callable[..., Any],
    plans: Path,
    site: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    start("serve", "--config", str(site), "--port", "0")
    url = logged(site, "serving on ").partition("serving on ")[2].split()[0]
    for token, message in (("", "401"), ("wrong-token-wrong-token", "401")):
        monkeypatch.setenv("PVLR_TOKEN", token)
        assert message in pvlr("deploy", plans / "second", "--to", url).err
    monkeypatch.setenv("PVLR_TOKEN", TOKEN)
    done = pvlr("deploy", plans / "second", "--to", url, "--json")
    assert done.code == 0
    status = json.loads(done.out)
    # the probation has passed
    assert (status["plan"], status["state"]) == (
        sha(plans / "second"),
        "in use",
    )
    assert pvlr("deploy", plans / "other", "--to", url).err.startswith("pvlr: DeployError")
    assert pvlr("deploy", "--rollback", "--to", f"{url}/").code == 0
    request = urllib.request.Request(f"{url}/v1/plan", headers={"Authorization": f"Bearer {TOKEN}"})
    assert json.load(urllib.request.urlopen(request))["plan"] == sha(plans / "first")
