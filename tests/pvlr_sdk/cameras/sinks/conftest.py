"""Events to send, a real MQTT broker with a listener, and a disk that is really full."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk.cameras.sinks import DiskQueue, SinkWorker
from pvlr_sdk.cameras.sinks.mqtt import MqttSettings, MqttSink
from tests.waiting import until

MOSQUITTO = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


class Broker:
    """A Mosquitto that keeps its clients' messages on the disk, as in production."""

    def __init__(self, folder: Path, *settings: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._config = folder / "mosquitto.conf"
        lines = [
            f"listener {self.port} 127.0.0.1",
            "persistence true",
            f"persistence_location {folder}/",
            "user root",
        ]
        self._config.write_text("\n".join([*lines, *(settings or ["allow_anonymous true"])]) + "\n")
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [str(MOSQUITTO), "-c", str(self._config)], stderr=subprocess.DEVNULL
        )
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
        self.thaw()  # a frozen one would not end
        self._process.wait()


class Listener:
    """A client whose subscription outlives its connection."""

    def __init__(self, broker: Broker, topic: str = "#") -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[tuple[str, str, bool]] = []
        self._ready = threading.Event()
        # The broker keeps subscriptions and undelivered messages under the client's name.
        self._client = Client(
            CallbackAPIVersion.VERSION2, f"listener to {topic}", clean_session=False
        )
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.on_message = lambda client, data, message: self._add(message)
        self._client.reconnect_delay_set(1, 1)
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        assert self._ready.wait(10)

    def _add(self, message) -> None:
        # A broker that stops before the acknowledgement sends its last message again, marked as a duplicate.
        if not (
            message.dup
            and (message.topic, message.payload.decode(errors="replace"), message.retain)
            in self.messages
        ):
            self.messages.append(
                (message.topic, message.payload.decode(errors="replace"), message.retain)
            )

    def ids(self) -> list[tuple[str, str]]:
        events = [json.loads(text) for topic, text, _ in self.messages if topic.endswith("/events")]
        return [(event["id"], event["event"]) for event in events]

    def until(self, condition, seconds: float = 20.0) -> None:
        until(condition, f"it took too long; {len(self.messages)} messages so far", seconds)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Starts brokers, with lines of mosquitto.conf instead of anonymous access; they end with the test."""
    if MOSQUITTO is None:
        pytest.skip("Debian's package mosquitto is not installed")
    brokers: list[Broker] = []

    def make(*settings: str) -> Broker:
        brokers.append(Broker(tmp_path, *settings))
        return brokers[-1]

    yield make
    for broker in brokers:
        broker.stop()


@pytest.fixture
def broker(make_broker: Callable[..., Broker]) -> Broker:
    """A broker with anonymous access."""
    return make_broker()


@pytest.fixture
def make_sink(broker: Broker, tmp_path: Path) -> Iterator[Callable[..., SinkWorker]]:
    """Workers that send to the broker the labels of a site, if any; they are closed with the test."""
    workers: list[SinkWorker] = []

    def make(*site: Any, **settings: Any) -> SinkWorker:
        sink = MqttSink(MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}", **settings), *site)
        workers.append(SinkWorker(sink, DiskQueue(tmp_path / "q.sqlite"), longest_pause=0.5))
        return workers[-1]

    yield make
    for worker in workers:
        worker.close(1)


@pytest.fixture
def make_listener() -> Iterator[Callable[..., Listener]]:
    """Connects listeners; they disconnect with the test."""
    listeners: list[Listener] = []

    def make(broker: Broker, topic: str = "#") -> Listener:
        listeners.append(Listener(broker, topic))
        return listeners[-1]

    yield make
    for listener in listeners:
        listener.close()


@pytest.fixture
def listener(broker: Broker, make_listener: Callable[..., Listener]) -> Listener:
    """A listener for all topics."""
    return make_listener(broker)
