"""The MQTT sink against a real Mosquitto that comes and goes."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pvlr_sdk import errors
from pvlr_sdk.sinks import DiskQueue, SpooledWorker, mqtt
from pvlr_sdk.sinks.mqtt import MqttSettings, MqttSink

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
OUTAGE = float(os.environ.get("PVLR_OUTAGE_SECONDS", "3"))

pytestmark = pytest.mark.skipif(MOSQUITTO is None, reason="Debian's package mosquitto is not installed")


class Broker:
    """A Mosquitto that keeps what it holds for its clients on the disk, as it is set up where it matters."""

    def __init__(self, folder: Path, *settings: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        lines = [f"listener {self.port} 127.0.0.1", "persistence true", f"persistence_location {folder}/", "user root"]
        self._config.write_text("\n".join([*lines, *(settings or ["allow_anonymous true"])]) + "\n")
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen([str(MOSQUITTO), "-c", str(self._config)], stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                time.sleep(0.05)
        raise AssertionError("mosquitto does not start")

    def freeze(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        self._process.terminate()
        self.thaw()  # else a frozen one would wait for ever
        self._process.wait()


class Listener:
    """A client whose subscription outlives its connection."""

    def __init__(self, broker: Broker, topic: str = "#") -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[tuple[str, str, bool]] = []
        self.doubled = 0
        self._ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, "listener", clean_session=False)
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda client, data, message: self._add(message)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        assert self._ready.wait(10)

    def _add(self, message) -> None:
        # A broker that was stopped before our acknowledgement repeats its last message to us, and says so.
        if not (message.dup and (message.topic, message.payload.decode(), message.retain) in self.messages):
            self.messages.append((message.topic, message.payload.decode(), message.retain))

    def ids(self) -> list[tuple[str, str]]:
        events = [json.loads(text) for topic, text, _ in self.messages if topic.endswith("/events")]
        return [(event["id"], event["event"]) for event in events]

    def until(self, condition, seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, f"it took too long; {len(self.messages)} messages so far"
            time.sleep(0.02)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def broker(tmp_path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    yield broker
    broker.stop()


@pytest.fixture
def listener(broker) -> Iterator[Listener]:
    listener = Listener(broker)
    yield listener
    listener.close()


def worker(settings: MqttSettings, folder: Path) -> SpooledWorker:
    return SpooledWorker(MqttSink(settings), DiskQueue(folder / "q.sqlite"), longest_pause=0.5)


def names(numbers) -> list[tuple[str, str]]:
    return [(f"event-{number // 2}", "off" if number % 2 else "on") for number in numbers]


def test_events_and_status(broker, listener, tmp_path, make_event):
    sink = worker(MqttSettings(f"mqtt://127.0.0.1:{broker.port}", prefix="site1"), tmp_path)
    for number in range(200):
        sink.submit(make_event(number))
    listener.until(lambda: len(listener.ids()) == 200)
    stats = sink.close(2)
    assert listener.ids() == names(range(200))
    assert (stats.delivered, stats.waiting, stats.lost) == (200, 0, 0)
    listener.until(lambda: listener.messages[-1][:2] == ("site1/status", "offline"))
    assert listener.messages[0] == ("site1/status", "online", False)
    assert listener.messages[1] == ("site1/door/events", make_event(0).to_json(), False)


def test_a_broker_that_is_away_costs_nothing_and_changes_no_order(broker, listener, tmp_path, make_event):
    """Events flow all the time; the broker is stopped for some seconds, and once more in the middle of the backlog."""
    sink = worker(MqttSettings(f"mqtt://127.0.0.1:{broker.port}"), tmp_path)
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


def test_a_broker_that_does_not_acknowledge_in_time_gets_nothing_twice(
    broker, listener, tmp_path, make_event, monkeypatch
):
    monkeypatch.setattr(mqtt, "_ACKNOWLEDGE_WAIT", 0.3)
    sink = worker(MqttSettings(f"mqtt://127.0.0.1:{broker.port}"), tmp_path)
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


def test_what_was_acknowledged_long_ago_counts_for_no_new_notice(broker, make_event, monkeypatch):
    """The client numbers its messages from 1 to 65535 and begins again; the first ones say that we are online."""
    monkeypatch.setattr(mqtt, "_ACKNOWLEDGE_WAIT", 0.3)
    sink = MqttSink(MqttSettings(f"mqtt://127.0.0.1:{broker.port}", discovery={"door": ["car", "cat"]}))
    sink.write(make_event(0))
    sink._client._last_mid = 0
    broker.freeze()
    with pytest.raises(ConnectionError, match="acknowledge"):
        sink.write(make_event(1))
    broker.thaw()
    sink.write(make_event(1))
    sink.close()


def test_a_broker_that_comes_later_than_the_next_process(tmp_path, make_event):
    broker = Broker(tmp_path)
    listener = Listener(broker)
    broker.stop()
    settings = MqttSettings(f"mqtt://127.0.0.1:{broker.port}")
    first = worker(settings, tmp_path)
    for number in range(10):
        first.submit(make_event(number))
    began = time.monotonic()
    assert first.close(0.6).waiting == 10
    assert time.monotonic() - began < 1
    broker.start()
    second = worker(settings, tmp_path)
    second.submit(make_event(10))
    listener.until(lambda: len(listener.ids()) == 11)
    assert listener.ids() == names(range(11))
    second.close(1)
    listener.close()
    broker.stop()


def test_the_last_will_of_a_killed_process(broker, listener):
    code = "import sys, time\nfrom pvlr_sdk.sinks.mqtt import *\nMqttSink(MqttSettings(sys.argv[1]))\ntime.sleep(99)"
    process = subprocess.Popen([sys.executable, "-c", code, f"mqtt://127.0.0.1:{broker.port}"])
    listener.until(lambda: ("pvlr/status", "online", False) in listener.messages)
    process.send_signal(signal.SIGKILL)
    process.wait()
    listener.until(lambda: ("pvlr/status", "offline", False) in listener.messages)


def test_home_assistant_finds_the_labels_and_their_states(broker, tmp_path, make_event):
    settings = MqttSettings(f"mqtt://127.0.0.1:{broker.port}", discovery={"door": ["car", "dining table"]})
    sink = worker(settings, tmp_path)
    sink.submit(make_event(0, label="dining table"))
    watcher = Listener(broker)
    watcher.until(lambda: ("pvlr/door/dining_table/state", "ON") in [m[:2] for m in watcher.messages])
    late = {topic: (text, retained) for topic, text, retained in watcher.messages}
    assert late["pvlr/door/car/state"][0] == "OFF"
    announced = json.loads(late["homeassistant/binary_sensor/pvlr_door/dining_table/config"][0])
    assert announced["name"] == "dining table"
    assert announced["state_topic"] == "pvlr/door/dining_table/state"
    assert announced["availability_topic"] == "pvlr/status"
    assert (
        announced["unique_id"] != json.loads(late["homeassistant/binary_sensor/pvlr_door/car/config"][0])["unique_id"]
    )
    sink.submit(make_event(1, label="dining table"))
    watcher.until(lambda: ("pvlr/door/dining_table/state", "OFF") in [m[:2] for m in watcher.messages[-2:]])
    sink.close(1)
    watcher.close()
    # What Home Assistant sees after a restart of its own: all of it is kept by the broker.
    again = Listener(broker, "homeassistant/#")
    again.until(lambda: len(again.messages) == 2)
    assert all(retained for _, _, retained in again.messages)
    again.close()


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


def test_tls_and_a_password(tmp_path, certificates, make_event, caplog):
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "cam", "s3cret/@:"], check=True)
    tls = [f"cafile {certificates}/ca.pem", f"certfile {certificates}/server.pem", f"keyfile {certificates}/server.key"]
    broker = Broker(tmp_path, *tls, "allow_anonymous false", f"password_file {passwords}")
    url, ca = f"mqtts://cam:s3cret%2F%40%3A@127.0.0.1:{broker.port}", certificates / "ca.pem"
    try:
        sink = worker(MqttSettings(url, ca=ca), tmp_path / "a")
        sink.submit(make_event(0))
        end = time.monotonic() + 10
        while not sink.stats().delivered:
            assert time.monotonic() < end
            time.sleep(0.02)
        assert sink.close(1).waiting == 0
        for number, (settings, reason) in enumerate(
            [
                (MqttSettings(url), "not reachable"),  # a certificate that nobody vouches for
                (MqttSettings(f"mqtts://127.0.0.1:{broker.port}", "cam", "wrong", ca=ca), "refusing us"),
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
    assert "s3cret" not in caplog.text + repr(MqttSettings(url)) + sink.stats().name


@pytest.mark.parametrize(
    "url", ["broker", "http://broker", "mqtt://", "mqtt://u:secret@[broker", "mqtt://u:secret@h/topic"]
)
def test_addresses_that_are_none(url):
    with pytest.raises(errors.OptionError) as caught:
        MqttSink(MqttSettings(url))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("prefix", ["", "a/#", "+", "a\0", "$SYS"])
def test_prefixes_that_are_none(prefix):
    with pytest.raises(errors.OptionError, match="mqtt prefix"):
        MqttSink(MqttSettings("mqtt://127.0.0.1", prefix=prefix))


def test_certificates_that_are_none(tmp_path):
    (tmp_path / "ca.pem").write_text("nonsense")
    for ca in (tmp_path / "ca.pem", tmp_path / "none.pem"):
        with pytest.raises(errors.OptionError, match="mqtt certificates"):
            MqttSink(MqttSettings("mqtts://localhost", ca=ca))
