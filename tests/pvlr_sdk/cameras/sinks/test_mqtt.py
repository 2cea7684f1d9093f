"""The MQTT sink with a real Mosquitto that stops and returns."""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from pvlr_sdk import errors
from pvlr_sdk.cameras.sinks import DiskQueue, SinkWorker, mqtt
from pvlr_sdk.cameras.sinks.mqtt import MqttSettings, MqttSink
from pvlr_sdk.cameras.sinks.worker import SiteStatus
from tests.pvlr_sdk.cameras.sinks.events import make_event
from tests.waiting import LONG, until

OUTAGE = float(os.environ.get("PVLR_OUTAGE_SECONDS", "1"))


def worker(settings: MqttSettings, folder: Path) -> SinkWorker:
    return SinkWorker(MqttSink(settings), DiskQueue(folder / "q.sqlite"), longest_pause=0.5)


def names(numbers) -> list[tuple[str, str]]:
    return [(f"event-{number // 2}", "off" if number % 2 else "on") for number in numbers]


def test_events_and_status(broker, listener, tmp_path):
    sink = worker(MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}", prefix="site1"), tmp_path)
    for number in range(200):
        sink.submit(make_event(number))
    listener.until(lambda: len(listener.ids()) == 200)
    stats = sink.close(2)
    assert listener.ids() == names(range(200))
    assert (stats.delivered, stats.waiting, stats.lost) == (200, 0, 0)
    listener.until(lambda: listener.messages[-1][:2] == ("site1/status", "offline"))
    assert listener.messages[0] == ("site1/status", "online", False)
    assert listener.messages[1] == ("site1/door/events", make_event(0).to_json(), False)


@pytest.mark.slow
def test_a_broker_that_is_away_costs_nothing_and_changes_no_order(broker, listener, tmp_path):
    """Events arrive all the time; the broker stops for a few seconds, and again in the middle of the backlog."""
    sink = worker(MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}"), tmp_path)
    flowing, sent = threading.Event(), itertools.count()
    flowing.set()
    last = 0

    def flow() -> None:
        nonlocal last
        while flowing.is_set():
            last = next(sent)
            sink.submit(make_event(last))
            time.sleep(0.01)

    thread = threading.Thread(target=flow)
    thread.start()
    listener.until(lambda: len(listener.ids()) > 20)
    broker.stop()
    time.sleep(OUTAGE)
    listener.until(lambda: sink.stats().error is not None)
    assert sink.stats().waiting > 10 * OUTAGE
    broker.start()
    listener.until(lambda: len(listener.ids()) > 60)
    broker.stop()
    broker.start()
    flowing.clear()
    thread.join()
    listener.until(lambda: len(listener.ids()) > last, 30)
    assert listener.ids() == names(range(last + 1))
    stats = sink.close(2)
    assert (stats.delivered, stats.waiting, stats.lost, stats.error) == (last + 1, 0, 0, None)


@pytest.mark.slow
def test_a_broker_that_does_not_acknowledge_in_time_gets_nothing_twice(
    broker, listener, tmp_path, monkeypatch
):
    monkeypatch.setattr(mqtt, "_ACKNOWLEDGE_WAIT", 0.3)
    sink = worker(MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}"), tmp_path)
    sink.submit(make_event(0))
    listener.until(lambda: len(listener.ids()) == 1)
    broker.freeze()
    for number in range(1, 5):
        sink.submit(make_event(number))
    listener.until(lambda: "acknowledge" in (sink.stats().error or ""))
    time.sleep(1.5)
    broker.thaw()
    sink.submit(make_event(5))
    listener.until(lambda: len(listener.ids()) >= 6)
    assert sink.close(2).waiting == 0
    assert listener.ids() == names(range(6))


def test_what_was_acknowledged_long_ago_counts_for_no_new_notice(broker, monkeypatch):
    """The client numbers its messages from 1 to 65535 and starts again; the first messages announce it as online."""
    monkeypatch.setattr(mqtt, "_ACKNOWLEDGE_WAIT", 0.3)
    settings = MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}", discovery=True)
    sink = MqttSink(settings, SiteStatus({"door": ["car", "cat"]}))
    sink.write(make_event(0))
    sink._client._last_mid = 0
    broker.freeze()
    with pytest.raises(ConnectionError, match="acknowledge"):
        sink.write(make_event(1))
    broker.thaw()
    sink.write(make_event(1))
    sink.close()


@pytest.mark.slow
def test_a_broker_that_comes_later_than_the_next_process(tmp_path, make_broker, make_listener):
    broker = make_broker()
    listener = make_listener(broker)
    broker.stop()
    settings = MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}")
    first = worker(settings, tmp_path)
    for number in range(10):
        first.submit(make_event(number))
    began = time.monotonic()
    assert first.close(0.6).waiting == 10
    assert time.monotonic() - began < LONG
    broker.start()
    second = worker(settings, tmp_path)
    second.submit(make_event(10))
    listener.until(lambda: len(listener.ids()) == 11)
    assert listener.ids() == names(range(11))


def test_the_last_will_of_a_killed_process(broker, listener):
    code = (
        "import sys, time; from pvlr_sdk.cameras.sinks.mqtt import *; "
        "MqttSink(MqttSettings(url=sys.argv[1])); time.sleep(99)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, f"mqtt://127.0.0.1:{broker.port}"])
    listener.until(lambda: ("pvlr/status", "online", False) in listener.messages)
    process.send_signal(signal.SIGKILL)
    process.wait()
    listener.until(lambda: ("pvlr/status", "offline", False) in listener.messages)


def test_a_process_that_ends_while_the_broker_is_busy_is_offline(broker, listener, tmp_path):
    sink = worker(MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}"), tmp_path)
    listener.until(lambda: ("pvlr/status", "online", False) in listener.messages)
    broker.freeze()
    sink.submit(make_event(0))
    until(lambda: sink.sink._in_flight[0] is not None)
    sink.close(0)
    until(lambda: sink.sink._client._thread is None)
    broker.thaw()
    listener.until(lambda: ("pvlr/status", "offline", False) in listener.messages)


@pytest.fixture
def certificates(tmp_path) -> Path:
    """A certificate authority and a server's certificate for 127.0.0.1."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path / "tls"
    folder.mkdir()
    (folder / "san").write_text("subjectAltName=IP:127.0.0.1")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=test-ca -days 2",
        "req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=127.0.0.1",
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 2 -extfile san",
    ):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    return folder


def test_tls_and_a_password(tmp_path, certificates, caplog, make_broker):
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "cam", "s3cret/@:"], check=True)
    tls = [
        f"cafile {certificates}/ca.pem",
        f"certfile {certificates}/server.pem",
        f"keyfile {certificates}/server.key",
    ]
    broker = make_broker(*tls, "allow_anonymous false", f"password_file {passwords}")
    plain, ca = f"mqtts://127.0.0.1:{broker.port}", certificates / "ca.pem"
    url = plain.replace("//", "//cam:s3cret%2F%40%3A@")
    try:
        sink = worker(MqttSettings(url=url, ca=ca), tmp_path / "a")
        sink.submit(make_event(0))
        end = time.monotonic() + 10
        while not sink.stats().delivered:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert sink.close(1).waiting == 0
        for number, (settings, reason) in enumerate(
            [
                (MqttSettings(url=url), "not reachable"),  # a certificate without a known authority
                (MqttSettings(url=plain, user="cam", password="wrong", ca=ca), "refusing us"),
            ]
        ):
            sink = worker(settings, tmp_path / f"b{number}")
            sink.submit(make_event(0))
            while reason not in (sink.stats().error or ""):
                assert time.monotonic() < end + 10
                time.sleep(0.02)
            assert sink.close(0.6).waiting == 1
    finally:
        broker.stop()
    assert "s3cret" not in caplog.text + repr(MqttSettings(url=url)) + sink.stats().name


@pytest.mark.parametrize(
    "url",
    [
        "broker",
        "http://broker",
        "mqtt://",
        "mqtt://u:secret@[broker",
        "mqtt://u:secret@h/topic",
        "mqtt://a..b",
    ],
)
def test_addresses_that_are_none(url):
    with pytest.raises(errors.OptionError) as caught:
        MqttSink(MqttSettings(url=url))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["", "a/#", "+", "a\0", "$SYS"])
def test_prefixes_that_are_none(prefix):
    with pytest.raises(errors.OptionError, match="mqtt prefix"):
        MqttSink(MqttSettings(url="mqtt://127.0.0.1", prefix=prefix))


def test_certificates_that_are_none(tmp_path):
    (tmp_path / "ca.pem").write_text("nonsense")
    for ca in (tmp_path / "ca.pem", tmp_path / "none.pem"):
        with pytest.raises(errors.OptionError, match="mqtt certificates"):
            MqttSink(MqttSettings(url="mqtts://localhost", ca=ca))
