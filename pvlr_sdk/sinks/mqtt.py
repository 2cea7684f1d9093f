"""Events to an MQTT broker, with Home Assistant's discovery."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from .. import errors
from .._util.escape import topic_level
from ..events import Event, place_of
from .home_assistant import MIGRATE, Device, Sensor
from .settings import ConfigPath, QueuedSettings, revealed
from .worker import Sink, SinkWorker

_KEEP_ALIVE = 30
"""Seconds; a broker that is silent for 1.5 times as long is gone."""
_OFFLINE_WAIT = 0.25
_ACKNOWLEDGE_WAIT = 10.0
_GOODBYE_WAIT = 0.2
_AWAY = "not reachable"


class MqttSettings(QueuedSettings):
    """A broker, as ``mqtt://[USER:PASSWORD@]HOST[:PORT]``, or ``mqtts://`` for TLS.

    Attributes:
        user, password: if they are not in the URL.
        ca: certificates to trust instead of the system's. ``cert`` and ``key``: this device's own.
        client_id: None: the broker chooses one.
        prefix: events go to ``PREFIX/CAMERA/events``, ``online`` and ``offline`` to ``PREFIX/status``.
        discovery: announce each camera to Home Assistant as a device, below ``discovery_prefix``.
    """

    kind: Literal["mqtt"] = "mqtt"
    user: str | None = None
    password: SecretStr | None = None
    ca: ConfigPath | None = None
    cert: ConfigPath | None = None
    key: ConfigPath | None = None
    client_id: str | None = None
    prefix: str = "pvlr"
    discovery: bool = False
    discovery_prefix: str = "homeassistant"

    def check(self) -> None:
        self.address()
        _make_client(self)

    def open(self, labels: Mapping[str, Sequence[str]]) -> SinkWorker[Event]:
        self.check()  # before the queue, which the next attempt would find in use
        queue = self.open_queue()
        return SinkWorker(MqttSink(self, labels), queue, longest_pause=0.5)

    def address(self) -> tuple[str, int]:
        """Host and port. Raises OptionError if the prefix or the URL is invalid."""
        for name, hint in (("prefix", "Example: pvlr."), ("discovery_prefix", "Example: homeassistant.")):
            prefix = getattr(self, name)
            if not prefix or prefix.startswith("$") or not prefix.isprintable() or "+" in prefix or "#" in prefix:
                expected = "the start of a topic, without + and #"
                raise errors.OptionError(f"mqtt {name}", expected=expected, got=repr(prefix), hint=hint)
        try:
            split = urlsplit(self.url)
            host, port = split.hostname, split.port
        except ValueError:
            split, host, port = urlsplit(""), None, None
        if split.scheme not in ("mqtt", "mqtts") or not host or split.path.strip("/") or split.query:
            raise errors.OptionError(
                "mqtt url",
                expected="mqtt://[USER:PASSWORD@]HOST[:PORT], or mqtts://",
                got="another form",  # never the URL, which may contain a password
                hint="Write / @ and : in a password as %2F, %40 and %3A.",
            )
        return host, port or (8883 if split.scheme == "mqtts" else 1883)


class MqttSink(Sink[Event]):
    """Publishes each event with QoS 1, one at a time, so that their order survives any number of reconnects.

    The broker receives an event twice only if this process ends between the publication and its acknowledgement. It
    publishes ``offline`` if the connection breaks (last will).

    Raises:
        OptionError: the URL, the prefix or a certificate is invalid.
        MissingPartError: paho-mqtt is not installed.
    """

    def __init__(self, settings: MqttSettings, labels: Mapping[str, Sequence[str]] | None = None) -> None:
        host, port = settings.address()
        self.name = f"mqtt {host}:{port}"
        self._settings = settings
        self._status = f"{settings.prefix}/status"
        self._devices = self._make_devices(labels or {})
        self._states = dict.fromkeys(self._sensors(), ("OFF", "0"))  # and the scores
        self._removed: set[str] = set()  # topics whose retained messages the broker must not keep
        self._gone: dict[str, set[str]] = {}  # components that Home Assistant must not keep, by camera
        self._sensors_lock = threading.Lock()
        self._connected = threading.Event()
        self._refusal = _AWAY
        self._in_flight: tuple[Event | None, set[int]] = (None, set())
        self._acknowledged: set[int] = set()
        self._acknowledgement = threading.Condition()
        self._client = _make_client(settings)
        self._client.will_set(self._status, "offline", qos=1, retain=True)
        self._client.on_connect, self._client.on_disconnect = self._on_connect, self._on_disconnect
        self._client.on_publish, self._client.on_message = self._on_publish, self._on_message
        self._client.connect_async(host, port, _KEEP_ALIVE)
        self._client.loop_start()

    def write(self, item: Event) -> None:
        """Publish one event and wait for the broker's acknowledgement.

        Raises:
            ConnectionError: the broker is away. Called again with the same event, it waits for the first publication,
                which the client repeats by itself.
        """
        if item != self._in_flight[0]:
            if not self._connected.wait(_OFFLINE_WAIT):
                raise ConnectionError(f"the broker is {self._refusal}")
            with self._acknowledgement:
                # Messages after a connection are acknowledged too. The client's numbers start again after 65535.
                self._acknowledged.clear()
            self._in_flight = (item, self._publish(item))
        waiting = self._in_flight[1]
        patience = _ACKNOWLEDGE_WAIT if self._connected.is_set() else _OFFLINE_WAIT
        with self._acknowledgement:
            if not self._acknowledgement.wait_for(lambda: waiting <= self._acknowledged, patience):
                raise ConnectionError("the broker does not acknowledge")
            self._acknowledged -= waiting
        self._in_flight = (None, set())

    def announce(self, labels: Mapping[str, Sequence[str]]) -> None:
        """Announce the sensors of these labels and remove all other sensors, now or as soon as the broker is back."""
        devices = self._make_devices(labels)
        with self._sensors_lock:
            if {name: one.components for name, one in devices.items()} == {
                name: one.components for name, one in self._devices.items()
            }:
                return
            old, self._devices = self._devices, devices
            self._removed = (self._removed | _topics(old)) - _topics(devices)
            for name, device in devices.items():
                was = self._gone.get(name, set()) | (old[name].components if name in old else set())
                self._gone[name] = was - device.components
            self._states = {key: self._states.get(key, ("OFF", "0")) for key in self._sensors()}
            if self._connected.is_set():
                self._introduce(self._client)

    def close(self) -> None:
        """Publish ``offline``, if the broker is there, and disconnect."""
        if self._connected.is_set():
            with contextlib.suppress(RuntimeError, ValueError):
                self._client.publish(self._status, "offline", qos=1, retain=True).wait_for_publish(_GOODBYE_WAIT)
        self._client.disconnect()
        # In a thread: it waits for a connection attempt that hangs.
        threading.Thread(target=self._client.loop_stop, daemon=True).start()

    def _publish(self, item: Event) -> set[int]:
        topic = f"{self._settings.prefix}/{topic_level(item.camera)}/events"
        published = {self._client.publish(topic, item.to_json(), qos=1).mid}
        key = place_of(item.camera, item.region), item.label
        with self._sensors_lock:
            sensor = self._sensors().get(key)
            if sensor is not None:
                states = self._states[key] = item.state.upper(), f"{100 * item.score:.1f}"
                for topic, state in zip(sensor, states, strict=True):
                    published.add(self._client.publish(topic, state, qos=1, retain=True).mid)
        return published

    def _make_devices(self, labels: Mapping[str, Sequence[str]]) -> dict[str, Device]:
        settings = self._settings
        return {
            camera: Device(settings.prefix, settings.discovery_prefix, self._status, camera, names)
            for camera, names in (labels.items() if settings.discovery else ())
        }

    def _sensors(self) -> dict[tuple[str, str], Sensor]:
        return {
            (camera, label): sensor
            for camera, device in self._devices.items()
            for label, sensor in device.sensors.items()
        }

    def _introduce(self, client: Any) -> None:
        """Publish all devices and their states; needs the lock. With QoS 0, as after a connection."""
        for topic in self._removed:
            client.publish(topic, "", retain=True)
        for camera, device in self._devices.items():
            client.publish(device.topic, device.config(self._gone.get(camera, ())), retain=True)
        for key, sensor in self._sensors().items():
            for topic, state in zip(sensor, self._states[key], strict=True):
                client.publish(topic, state, retain=True)

    # Called by paho's thread. Messages after a connection have QoS 0: they are repeated with the next one anyway, and
    # must not pile up behind an unstable connection.

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refusal = f"refusing us: {reason}"
            return
        self._refusal = _AWAY
        client.publish(self._status, "online", retain=True)
        with self._sensors_lock:
            self._introduce(client)
            self._connected.set()
            for device in self._devices.values():
                client.subscribe(device.earlier)

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        """Replace a retained configuration of version 0.2, without the loss of the entity's settings."""
        if not message.retain or not message.payload or message.payload == MIGRATE.encode():
            return
        with self._sensors_lock:
            for camera, device in self._devices.items():
                if message.topic.startswith(device.earlier.partition("+")[0]):
                    client.publish(message.topic, MIGRATE, retain=True)
                    client.publish(device.topic, device.config(self._gone.get(camera, ())), retain=True)
                    client.publish(message.topic, "", retain=True)

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._connected.clear()

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        with self._acknowledgement:
            self._acknowledged.add(mid)
            self._acknowledgement.notify_all()


def _make_client(settings: MqttSettings) -> Any:
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError as error:
        raise errors.missing_package("mqtt", "the package paho-mqtt", error, "cameras") from None
    url = urlsplit(settings.url)
    client = Client(CallbackAPIVersion.VERSION2, settings.client_id or "")
    user = settings.user or (unquote(url.username) if url.username else None)
    password = revealed(settings.password) or (unquote(url.password) if url.password else None)
    if user is not None:
        client.username_pw_set(user, password)
    if url.scheme == "mqtts":
        try:
            ca, cert, key = (str(path) if path else None for path in (settings.ca, settings.cert, settings.key))
            client.tls_set(ca, cert, key)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise errors.OptionError(
                "mqtt certificates", expected="valid PEM files", got=str(error), hint="Check ca, cert and key."
            ) from None
    client.max_inflight_messages_set(1)
    client.reconnect_delay_set(1, 10)
    return client


def _topics(devices: Mapping[str, Device]) -> set[str]:
    sensors = (topic for device in devices.values() for sensor in device.sensors.values() for topic in sensor)
    return {*(device.topic for device in devices.values()), *sensors}
