"""``pvlr watch`` as a process: what it prints, how it ends, what it tells systemd."""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.waiting import a_second, stopped

PVLR = [sys.executable, "-c", "from pvlr_sdk.cli import main; main()"]
ALWAYS = "{thresholds: {cat: 0}, labels: [cat], min_duration: 0.1}"
DATA = os.environ.get("PVLR_DATA")


def watch(*arguments, **options) -> subprocess.CompletedProcess[str]:
    command = [*PVLR, "watch", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def start(*arguments, command=("watch",), **options) -> subprocess.Popen[str]:
    line = [*PVLR, *command, *map(str, arguments)]
    return subprocess.Popen(
        line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


@pytest.fixture
def site(tmp_path, plan) -> Path:
    """A site on the tiny network whose only label is always there."""
    path = tmp_path / "site.yaml"
    path.write_text(
        f"plan: {plan}\nthreads: 1\ncameras: {{door: 'test://?fps=60&size=64x48'}}\nevents: {ALWAYS}\n"
    )
    return path


def events(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_within_a_second_and_closes_open_events(site, number, status):
    process = start("--config", site)
    first = process.stdout.readline()
    process.send_signal(number)
    began = time.monotonic()
    rest, messages = process.communicate(timeout=30)
    assert time.monotonic() - began < a_second()
    assert process.returncode == status
    on, off = events(first + rest)
    assert (on["event"], off["event"], off["reason"], on["id"]) == (
        "on",
        "off",
        "stopped",
        off["id"],
    )
    assert messages == "pvlr: camera door: live\n"


@pytest.mark.slow
def test_options_add_to_the_file_and_replace_its_settings(plan, tmp_path):
    events_of_the_file = "{thresholds: {cat: 0.0}, min_duration: 0.1, labels: [person]}"
    (file := tmp_path / "site.yaml").write_text(
        f"events: {events_of_the_file}\nsinks: [{{kind: sqlite, path: e.db}}]"
    )
    done = watch(
        "test://?fps=60&size=64x48&frames=60", "b=test://?fps=60&size=64x48&frames=60", "--plan", plan,
        "--label", "cat", "--events", tmp_path / "e.jsonl", "--stats", 60, "--config", file,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
    lines = events((tmp_path / "e.jsonl").read_text())
    assert {(line["camera"], line["label"]) for line in lines} == {("test", "cat"), ("b", "cat")}
    assert [line["event"] for line in lines] == ["on", "on", "off", "off"]
    assert all(line["reason"] == "camera ended: the end was reached" for line in lines[2:])
    assert "pvlr: b: ended" in done.stderr
    assert f"pvlr: sqlite {tmp_path}/e.db: 4 delivered, 0 waiting, 0 lost" in done.stderr


@pytest.mark.slow
def test_a_signal_ends_it_within_a_second_whatever_hangs(site, tmp_path):
    """A camera, a broker and a web server that take connections and never say a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=20) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        sinks = [
            f"kind: mqtt, url: 'mqtt://{host}'",
            f"kind: webhook, url: 'http://{host}/'",
            "kind: video, folder: v",
        ]
        site.write_text(
            f"{site.read_text()}sinks: [{', '.join(f'{{{sink}}}' for sink in sinks)}]\n"
        )
        environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path)}
        process = start("--config", site, f"rtsp://{host}/x", "--events", "-", env=environment)
        process.stdout.readline()
        time.sleep(1.5)
        process.terminate()
        began = time.monotonic()
        assert process.wait(timeout=10) == 0
        assert time.monotonic() - began < a_second()
        assert [event["event"] for event in events(process.stdout.read())] == ["off"]
        assert process.stderr.read().count("2 waiting on disk for the next start") == 2


@pytest.mark.slow
def test_a_reader_that_goes_away_ends_it(site):
    """As with ``pvlr watch ... | head -1``: the events that follow find nobody."""
    flapping = "{uri: 'test://?fps=60&size=64x48&freeze_after=20', timeout: 0.3}"
    site.write_text(site.read_text().replace("'test://?fps=60&size=64x48'", flapping))
    process = start("--config", site)
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=20) == 0
    assert "Traceback" not in process.stderr.read()


@pytest.mark.slow
def test_check(site, tmp_path):
    done = watch("--config", site, "--check")
    assert (done.returncode, done.stdout, done.stderr) == (
        0,
        "",
        "pvlr: valid: 1 camera, 1 sink, 5 labels.\n",
    )
    for change, message in (
        (
            ("cameras:", "camera:"),
            "site.yaml: camera: expected a known key, got 'camera'. Did you mean 'cameras'?",
        ),
        (("labels: [cat]", "labels: [act]"), "Did you mean 'cat'?"),
        (("events:", "memory: {folder: m, precision: {act: 0.9}}\nevents:"), "Did you mean 'cat'?"),
        (("test://", "tset://"), "expected a known scheme, got tset://."),
        (
            ("test://?fps=60&size=64x48", "gone.mp4"),
            f"door: expected a file or folder that exists, got '{tmp_path}",
        ),
        (
            ("events:", "sinks: [{kind: mqtt, url: 'http://x'}]\nevents:"),
            "mqtt url: expected mqtt://",
        ),
    ):
        wrong = tmp_path / "wrong" / "site.yaml"
        wrong.parent.mkdir(exist_ok=True)
        wrong.write_text(site.read_text().replace(*change))
        done = watch("--config", wrong, "--check")
        assert done.returncode == 2
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def on_a_terminal(*arguments: object) -> list[str]:
    """The lines that ``pvlr watch`` prints on a terminal with 80 columns."""
    leader, follower = pty.openpty()
    command = [*PVLR, "watch", *map(str, arguments)]
    environment = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run(
        command, stdout=follower, stderr=subprocess.DEVNULL, env=environment, timeout=60, check=True
    )
    assert done.returncode == 0
    os.close(follower)
    text = b""
    with suppress(OSError):  # EIO: all has been read
        while data := os.read(leader, 65536):
            text += data
    os.close(leader)
    return text.decode().splitlines()


TINY = ("--threshold", "1", "--threshold", "cat=0", "--min-duration", "0.1")


@pytest.mark.slow
def test_a_terminal_gets_a_line_per_event_that_fits(plan):
    camera = "a_camera_with_a_long_name=test://?fps=60&size=64x48&frames=40"
    on, off = on_a_terminal(camera, "--plan", plan, *TINY)
    assert re.fullmatch(r"\d\d:\d\d:\d\d  a_camera_with_a_  cat +  on   0\.\d\d", on)
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d  a_camera_with_a_  cat +  off  0\.\d\d +\d\.\d s  camera ended: .*…", off
    )
    assert max(len(on), len(off)) <= 80


@pytest.mark.slow
def test_json_on_a_terminal_if_asked_for(plan):
    lines = on_a_terminal("test://?fps=60&size=64x48&frames=40", "--plan", plan, "--json", *TINY)
    assert [json.loads(line)["event"] for line in lines] == ["on", "off"]


@pytest.mark.slow
def test_thresholds_and_durations_of_options(plan, tmp_path):
    config = tmp_path / "site.yaml"
    config.write_text("events: {threshold: 1, thresholds: {person: 0, cat: 1}}\n")
    clip = "test://?fps=60&size=64x48&frames=60"
    done = watch(
        clip, "--plan", plan, "--config", config, "--threshold", "cat=0", "--min-duration", "0.1"
    )
    assert {event["label"] for event in events(done.stdout)} == {"cat", "person"}
    assert watch(clip, "--plan", plan, "--threshold", "0", "--min-duration", "30").stdout == ""
    for wrong in ("2", "cat=", "x", "cat=nan"):
        assert (
            "--threshold: expected a score"
            in watch(clip, "--plan", plan, "--threshold", wrong).stderr
        )
    assert "Did you mean 'cat'?" in watch(clip, "--plan", plan, "--threshold", "act=0.5").stderr


@pytest.mark.slow
def test_a_file_that_loops(plan, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((48, 64, 3), np.uint8))
    process = start(tmp_path, "--loop", "--stats", 0.2, "--plan", plan)
    try:
        tagged = 0
        while tagged < 3:
            line = process.stderr.readline()
            assert "live" in line
            tagged = int((re.search(r"(\d+) tagged", line) or "00")[1])
    finally:
        process.terminate()
        process.communicate(timeout=20)


@pytest.mark.slow
def test_what_cannot_be_watched(plan, tmp_path):
    done = watch("/none/clip.mp4", "--plan", plan)
    assert done.returncode == 2
    assert "no such file" in done.stderr
    assert watch("--plan", plan).returncode == 2
    (empty := tmp_path / "site.yaml").write_text("device: auto")
    assert "URI: expected a camera, got none" in watch("--plan", plan, "--config", empty).stderr


@pytest.mark.slow
@pytest.mark.parametrize("check", [[], ["--check"]])
def test_a_missing_part_is_an_error_at_the_start_and_no_lost_camera(plan, check):
    """Without PyAV no RTSP camera can ever come back; the pattern beside it would run on for ever."""
    without = [
        sys.executable,
        "-c",
        "import sys; sys.modules['av'] = None; from pvlr_sdk.cli import main; main()",
    ]
    command = [
        *without,
        "watch",
        "rtsp://u:s3cret@127.0.0.1:1/x",
        "test://",
        "--plan",
        str(plan),
        *check,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pvlr: MissingPartError: rtsp://***@127.0.0.1:1/x: expected PyAV" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_no_password_is_printed(plan, tmp_path):
    """Neither from the command line nor from the environment, whatever fails."""
    (tmp_path / "site.yaml").write_text(
        "sinks:\n- {kind: mqtt, url: 'mqtt://u:$PW@127.0.0.1:1'}\n"
        "- {kind: webhook, url: 'http://u:s3cret@127.0.0.1:1/s3cret', secret: $PW}\n"
    )
    environment = {**os.environ, "PW": "s3cret", "XDG_STATE_HOME": str(tmp_path)}
    options = ("--plan", plan, "--config", tmp_path / "site.yaml", "--stats", "0.3")
    process = start("rtsp://cam:s3cret@127.0.0.1:1/x", *options, env=environment)
    messages = "".join(process.stderr.readline() for _ in range(6))
    process.terminate()
    out, err = process.communicate(timeout=30)
    assert "s3cret" not in out + messages + err
    assert "lost" in messages
    queues = (tmp_path / "pvlr_sdk/queues").glob("*.sqlite")
    assert sorted(path.name.split("-")[0] for path in queues) == ["mqtt", "webhook"]


@pytest.mark.slow
@pytest.mark.parametrize("command", [["watch"], ["serve", "--port", "0"]])
def test_the_watchdog_of_systemd(site, tmp_path, command):
    """The messages of sd_notify: ready, alive as often as wanted, stopping; none once the process is stuck."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(str(tmp_path / "notify"))
        channel.settimeout(20)
        environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WATCHDOG_USEC": "600000",
        }
        process = start("--config", site, env=environment, command=command)
        assert channel.recv(100) == b"READY=1"
        moments = []
        for _ in range(4):
            assert channel.recv(100) == b"WATCHDOG=1"
            moments.append(time.monotonic())
        assert moments[-1] - moments[0] < 3 * 0.6
        process.send_signal(signal.SIGSTOP)
        stopped(process.pid)
        channel.settimeout(1)
        with pytest.raises(TimeoutError):
            [channel.recv(100) for _ in range(3)]
        process.send_signal(signal.SIGCONT)
        process.terminate()
        messages = [channel.recv(100)]
        while messages[-1] == b"WATCHDOG=1":
            messages.append(channel.recv(100))
        assert messages[-1] == b"STOPPING=1"
        process.communicate(timeout=10)


@pytest.mark.skipif(not DATA, reason="PVLR_DATA is not set")
def test_cars_come_and_go_in_the_clip(tmp_path):
    """What the clip shows: two cars from second 15 to 18; nothing from 9.5 to 14 and from 19.5 to 23.5."""
    config = tmp_path / "site.yaml"
    # A label that is always on, so that its start is the clip's.
    config.write_text("events: {thresholds: {person: 0}, labels: [car, person], min_duration: 0.2}")
    done = watch(f"{DATA}/video/car-detection.mp4", "--every-frame", "--config", config)
    assert done.returncode == 0
    (clip,) = (
        line for line in events(done.stdout) if (line["label"], line["event"]) == ("person", "off")
    )
    assert clip["reason"] == "camera ended: the end was reached"
    assert clip["duration"] == pytest.approx(30, abs=1)
    cars = [line for line in events(done.stdout) if line["label"] == "car"]
    assert [line["event"] for line in cars] == ["on", "off"] * (len(cars) // 2)
    spans = [
        [_seconds(off, key) - _seconds(clip, "start") for key in ("start", "end")]
        for off in cars[1::2]
    ]
    assert any(start < 17 < end for start, end in spans)
    for start, end in spans:
        for empty, full in ((0, 3.8), (9.5, 14), (19.5, 23.5)):
            assert end <= empty + 1 or start >= full


def _seconds(line: dict, key: str) -> float:
    return datetime.fromisoformat(line[key].replace("Z", "+00:00")).timestamp()
