"""Events to an MQTT broker."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .. import errors
from ..events import Event
from . import discovery

_KEEP_ALIVE = 30
"""Seconds; a broker that is silent for one and a half of them is gone."""
_OFFLINE_WAIT = 0.25
_ACKNOWLEDGE_WAIT = 10.0
_GOODBYE_WAIT = 0.2
_AWAY = "not reachable"


@dataclass(frozen=True)
class MqttSettings:
    """How to reach a broker, and what to call things there.

    Attributes:
        url: ``mqtt://[USER:PASSWORD@]HOST[:PORT]``, or ``mqtts://`` for TLS.
        user, password: if they are not in the URL.
        ca: certificates to trust in place of the system's. ``cert`` and ``key``: this device's own.
        client_id: None: one that the broker chooses.
        prefix: events go to ``PREFIX/CAMERA/events``; ``PREFIX/status`` says ``online`` or ``offline``.
        discovery: the labels of each camera, to announce to Home Assistant; empty: announce nothing.
    """

    url: str = field(repr=False)
    user: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    client_id: str | None = None
    prefix: str = "pvlr"
    discovery: Mapping[str, Sequence[str]] = field(default_factory=dict)


class MqttSink:
    """Publishes each notice with QoS 1, one at a time, so that their order holds through any number of reconnects.

    The broker gets a notice again only if this process ends between the publication and its acknowledgement. The
    broker publishes ``offline`` if the connection breaks (last will).

    Raises:
        OptionError: the URL, the prefix or a certificate can't be.
        MissingPartError: paho-mqtt is not installed.
    """

    def __init__(self, settings: MqttSettings) -> None:
        host, port = _checked(settings)
        self.name = f"mqtt {host}:{port}"
        self._settings = settings
        self._status = f"{settings.prefix}/status"
        self._announcements = discovery.announcements(settings.prefix, self._status, settings.discovery)
        self._states = {
            discovery.state_topic(settings.prefix, camera, label): "OFF"
            for camera, labels in settings.discovery.items()
            for label in labels
        }
        self._states_lock = threading.Lock()
        self._connected = threading.Event()
        self._refusal = _AWAY
        self._in_flight: tuple[Event | None, set[int]] = (None, set())
        self._acknowledged: set[int] = set()
        self._acknowledgement = threading.Condition()
        self._client = _make_client(settings)
        self._client.will_set(self._status, "offline", qos=1, retain=True)
        self._client.on_connect, self._client.on_disconnect = self._on_connect, self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.connect_async(host, port, _KEEP_ALIVE)
        self._client.loop_start()

    def write(self, item: Event) -> None:
        """Publish one notice and wait for the broker's acknowledgement.

        Raises:
            ConnectionError: the broker is away. Called with the same notice again, it waits for the first publication,
                which the client repeats by itself.
        """
        if item != self._in_flight[0]:
            if not self._connected.wait(_OFFLINE_WAIT):
                raise ConnectionError(f"the broker is {self._refusal}")
            with self._acknowledgement:
                # Acknowledged is also what follows a connection. The client's numbers come round again after 65535.
                self._acknowledged.clear()
            self._in_flight = (item, self._publish(item))
        waiting = self._in_flight[1]
        patience = _ACKNOWLEDGE_WAIT if self._connected.is_set() else _OFFLINE_WAIT
        with self._acknowledgement:
            if not self._acknowledgement.wait_for(lambda: waiting <= self._acknowledged, patience):
                raise ConnectionError("the broker does not acknowledge")
            self._acknowledged -= waiting
        self._in_flight = (None, set())

    def close(self) -> None:
        """Say goodbye, if the broker is there, and end the connection."""
        if self._connected.is_set():
            with contextlib.suppress(RuntimeError, ValueError):
                self._client.publish(self._status, "offline", qos=1, retain=True).wait_for_publish(_GOODBYE_WAIT)
        self._client.disconnect()
        # Waits for a connection attempt that hangs; nobody should wait for that.
        threading.Thread(target=self._client.loop_stop, daemon=True).start()

    def _publish(self, item: Event) -> set[int]:
        topic = f"{self._settings.prefix}/{item.camera}/events"
        published = {self._client.publish(topic, item.to_json(), qos=1).mid}
        state = discovery.state_topic(self._settings.prefix, item.camera, item.label)
        if state in self._states:
            with self._states_lock:
                self._states[state] = item.state.upper()
                published.add(self._client.publish(state, self._states[state], qos=1, retain=True).mid)
        return published

    # Called by paho's thread. What follows a connection goes out with QoS 0: it is repeated with the next one anyway,
    # and must not pile up behind a connection that comes and goes.

    def _on_connect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refusal = f"refusing us: {reason}"
            return
        self._refusal = _AWAY
        client.publish(self._status, "online", retain=True)
        for topic, payload in self._announcements.items():
            client.publish(topic, payload, retain=True)
        with self._states_lock:
            for topic, state in self._states.items():
                client.publish(topic, state, retain=True)
        self._connected.set()

    def _on_disconnect(self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any) -> None:
        self._connected.clear()

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any) -> None:
        with self._acknowledgement:
            self._acknowledged.add(mid)
            self._acknowledgement.notify_all()


def check(settings: MqttSettings) -> None:
    """Check the settings without connecting; raises what :class:`MqttSink` does."""
    _checked(settings)
    _make_client(settings)


def _checked(settings: MqttSettings) -> tuple[str, int]:
    """The host and the port of settings whose topics can be published to."""
    prefix = settings.prefix
    if not prefix or prefix.startswith("$") or not prefix.isprintable() or "+" in prefix or "#" in prefix:
        raise errors.OptionError(
            "mqtt prefix", expected="the beginning of a topic", got=repr(prefix), hint="Without + and #, such as pvlr."
        )
    return _address(settings.url)


def _make_client(settings: MqttSettings) -> Any:
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    except ImportError:
        raise errors.MissingPartError(
            "mqtt",
            expected="the package paho-mqtt",
            got="none",
            hint='Install it with pip install "pvlr-sdk[cameras]".',
        ) from None
    url = urlsplit(settings.url)
    client = Client(CallbackAPIVersion.VERSION2, settings.client_id or "")
    user = settings.user or (unquote(url.username) if url.username else None)
    password = settings.password or (unquote(url.password) if url.password else None)
    if user is not None:
        client.username_pw_set(user, password)
    if url.scheme == "mqtts":
        try:
            ca, cert, key = (str(path) if path else None for path in (settings.ca, settings.cert, settings.key))
            client.tls_set(ca, cert, key)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise errors.OptionError(
                "mqtt certificates", expected="PEM files that fit", got=str(error), hint="Check ca, cert and key."
            ) from None
    client.max_inflight_messages_set(1)
    client.reconnect_delay_set(1, 10)
    return client


def _address(url: str) -> tuple[str, int]:
    """Host and port; the URL itself never shows in a message, it may hold a password."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme not in ("mqtt", "mqtts") or not host or parts.path.strip("/") or parts.query:
        raise errors.OptionError(
            "mqtt url",
            expected="mqtt://[USER:PASSWORD@]HOST[:PORT], or mqtts://",
            got="something else",
            hint="Write / @ and : in a password as %2F, %40 and %3A.",
        )
    return host, port or (8883 if parts.scheme == "mqtts" else 1883)
