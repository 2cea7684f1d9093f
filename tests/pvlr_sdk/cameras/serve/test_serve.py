"""``pvlr serve`` as a process: how it starts, what it refuses, how it ends, what it tells systemd."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

import cv2
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.waiting import a_second, stopped, until

PVLR = [sys.executable, "-c", "from pvlr_sdk.cli import main; main()", "serve"]
TOKEN = "0123456789abcdef"
CAMERA = "door=test://?fps=30&size=64x48"


def environment(**more: str) -> dict[str, str]:
    return {**{key: value for key, value in os.environ.items() if key != "PVLR_TOKEN"}, **more}


@contextmanager
def serving(plan: Path, *arguments: object, **options):
    """The process and its address."""
    command = [*PVLR, "--plan", str(plan), "--port", "0", *map(str, arguments)]
    options.setdefault("env", environment())
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    ) as process:
        try:
            line = process.stderr.readline()
            assert "serving on" in line, line + process.stderr.read()
            yield process, line.split()[-1]
        finally:
            process.kill()


def test_a_file_that_is_not_there_is_refused(plan, tmp_path):
    message = refused("--plan", plan, tmp_path / "clip.mp4")
    assert (
        f"{tmp_path}/clip.mp4: expected an image, a video or a folder, got no such file" in message
    )


def refused(*arguments: object, **more: str) -> str:
    command = [*PVLR, *map(str, arguments)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False, env=environment(**more)
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def get(url: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=10
        ) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_within_a_second(plan, tmp_path, number, status):
    """With browsers that watch, one that reads nothing, and an upload under way."""
    with serving(plan, CAMERA, "dead=rtsp://127.0.0.1:1/x", "--events", tmp_path / "e.jsonl") as (
        process,
        url,
    ):
        host = url.removeprefix("http://")
        with connect(f"ws://{host}/v1/live") as live, connect(f"ws://{host}/v1/live") as deaf:
            live.recv(10)
            for _ in range(100):
                deaf.send('{"kind": "shown", "camera": "door"}')
            with socket.create_connection(("127.0.0.1", int(host.rpartition(":")[2]))) as upload:
                upload.sendall(
                    b"POST /v1/tag HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n1"
                )
                time.sleep(0.5)
                process.send_signal(number)
                began = time.monotonic()
                assert process.wait(10) == status
                assert time.monotonic() - began < a_second()
            with suppress(ConnectionClosed):
                while True:
                    live.recv(1)  # a TimeoutError if it is still open
        assert "Traceback" not in process.stderr.read()
        assert process.stdout.read() == ""


@pytest.mark.slow
def test_a_signal_that_came_while_it_was_stopped_ends_it_too(plan):
    with serving(plan, CAMERA) as (process, url):
        until(lambda: get(f"{url}/readyz")[0] == 200)
        process.send_signal(signal.SIGSTOP)
        stopped(process.pid)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        assert process.wait(10) == 0


@pytest.mark.slow
def test_events_go_where_watch_sends_them_and_the_page_outlives_the_cameras(plan, tmp_path):
    config = tmp_path / "site.yaml"
    config.write_text(
        "cameras: {a: 'test://?fps=30&size=64x48&frames=30'}\nevents: {thresholds: {cat: 0}, labels: [cat]}\n"
        "serve: {token: $WORD, names: [cams.example]}\n"
    )
    words = environment(WORD=TOKEN)
    with serving(plan, "--config", config, "--events", "-", env=words) as (process, url):
        on, off = (json.loads(process.stdout.readline()) for _ in range(2))
        assert (on["event"], off["reason"]) == ("on", "camera ended: the end was reached")
        assert get(f"{url}/v1/events")[0] == 401
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert json.loads(get(f"{url}/v1/events", **bearer)[1])["events"] == [on, off]
        assert (
            json.loads(get(f"{url}/v1/cameras/a", **bearer, Host="cams.example")[1])["state"]
            == "ended"
        )
        assert process.poll() is None


@pytest.mark.slow
def test_without_cameras_it_tags_photos(plan, tmp_path):
    """At the thresholds of the site file, and then at what the page set, which is kept."""
    photo = (Path(__file__).parents[4] / "docs/images/chelsea.jpg").read_bytes()
    config = tmp_path / "site.yaml"
    config.write_text("events: {threshold: 1, thresholds: {cat: 0}}\n")
    for label in ("cat", "rocket"):
        with serving(plan, "--config", config) as (_, url):
            request = urllib.request.Request(f"{url}/v1/tag", photo, {"Content-Type": "image/jpeg"})
            answer = json.load(urllib.request.urlopen(request, timeout=10))
            assert (answer["width"], [tag["label"] for tag in answer["tags"]]) == (451, [label])
            change = {"thresholds": {"cat": 1, "rocket": 0}}
            request = urllib.request.Request(
                f"{url}/v1/settings", json.dumps(change).encode(), method="PUT"
            )
            assert json.load(urllib.request.urlopen(request, timeout=10))["state_file"].endswith(
                "/state.json"
            )


@pytest.mark.slow
def test_what_is_refused_at_the_start(plan, tmp_path):
    assert "OptionError: host 0.0.0.0: expected a token" in refused(
        "--plan", plan, "--host", "0.0.0.0"
    )
    short = refused("--plan", plan, "--host", "0.0.0.0", PVLR_TOKEN="s3cret")
    assert "at least 16" in short
    assert "s3cret" not in short
    config = tmp_path / "site.yaml"
    config.write_text("serve: {token_file: none}")
    assert "token_file: expected a file" in refused("--plan", plan, "--config", config)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "free address" in refused("--plan", plan, "--port", taken.getsockname()[1])
    (tmp_path / "x.pem").write_text("x")
    config.write_text("serve: {tls_cert: x.pem, tls_key: x.pem}")
    assert "tls_cert and tls_key: expected a certificate" in refused(
        "--plan", plan, "--port", 0, "--config", config
    )
    assert "PlanNotFoundError" in refused("--plan", tmp_path / "none.plan")
    assert "UnknownLabelError" in refused("test://", "--plan", plan, "--label", "act")


def test_a_missing_package_is_named(plan):
    code = "import sys; sys.modules['fastapi'] = None; from pvlr_sdk.cli import main; main()"
    command = [sys.executable, "-c", code, "serve", "--plan", str(plan)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "MissingPartError: pvlr serve: expected its packages" in done.stderr


@pytest.mark.slow
def test_other_machines_need_the_token_and_https_works(plan, tmp_path):
    certificate = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-subj",
        "/CN=x",
        "-days",
        "2",
    ]
    certificate += ["-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"]
    try:
        subprocess.run(certificate, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    (tmp_path / "site.yaml").write_text(
        "serve: {token_file: token, tls_cert: cert.pem, tls_key: key.pem}"
    )
    with serving(plan, "--host", "0.0.0.0", "--config", tmp_path / "site.yaml") as (_, url):
        assert url.startswith("https://0.0.0.0:")
        trusting = ssl.create_default_context(cafile=tmp_path / "cert.pem")
        trusting.check_hostname = False
        address = url.replace("0.0.0.0", "127.0.0.1")
        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{address}/v1/labels", context=trusting, timeout=10)
        form = urllib.request.Request(f"{address}/signin", f"token={TOKEN}".encode())
        handler = urllib.request.HTTPSHandler(context=trusting)
        opener = urllib.request.build_opener(handler, urllib.request.HTTPCookieProcessor())
        assert b"main.js" in opener.open(form, timeout=10).read()


@pytest.mark.slow
def test_uploads_of_many_sizes_leave_no_memory_behind(plan):
    """Images of few bytes and many pixels: 205 MB became 1966, and 1018 remained."""
    images = [
        cv2.imencode(".png", np.zeros((side, 5000, 3), np.uint8))[1].tobytes()
        for side in range(200, 6000, 900)
    ]
    with serving(plan) as (process, url):

        def resident() -> int:
            status = Path(f"/proc/{process.pid}/status").read_text()
            return int(status.partition("VmRSS:")[2].split()[0]) // 1000

        def post(number: int) -> int:
            request = urllib.request.Request(f"{url}/v1/tag", images[number % len(images)])
            request.add_header("Content-Type", "image/png")
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status

        assert post(0) == 200
        before = resident()
        with ThreadPoolExecutor(4) as pool:
            assert set(pool.map(post, range(28))) == {200}
        time.sleep(2)
        assert resident() - before < 60


@pytest.mark.slow
def test_the_port_of_the_probes_is_printed(plan, tmp_path):
    (tmp_path / "site.yaml").write_text("serve: {port: 0, probe_port: 0, audit_log: audit.jsonl}")
    command = [*PVLR, "--plan", str(plan), "--config", str(tmp_path / "site.yaml")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment()) as process:
        try:
            lines = [process.stderr.readline() for _ in range(2)]
            port = int(lines[0].split()[-1])
            assert "probes on port" in lines[0]
            ready = '{"status":"ok","reason":"","cameras":{}}'
            assert get(f"http://127.0.0.1:{port}/readyz", Host="orchestrator") == (200, ready)
            change = urllib.request.Request(
                f"{lines[1].split()[-1]}/v1/settings", b'{"labels": ["cat"]}', method="PUT"
            )
            urllib.request.urlopen(change, timeout=10).close()
            assert json.loads((tmp_path / "audit.jsonl").read_text())["labels"] == ["cat"]
        finally:
            process.kill()
