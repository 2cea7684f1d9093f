"""Events to an MQTT broker, with Home Assistant's discovery."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Collection, Mapping
from itertools import islice
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from ... import errors
from ..._util.escape import sensor_ids
from ..events import Event, place_of
from .home_assistant import CONFIG, MIGRATE, SET, Device, HomeAssistant, Topics, threshold
from .settings import ConfigPath, QueuedSettings
from .worker import Commands, Sink, SinkWorker, SiteStatus

_LOG = logging.getLogger(__package__)
_KEEP_ALIVE = 30
"""Seconds; a broker that is silent for 1.5 times as long is gone."""
_OFFLINE_WAIT = 0.25
_ACKNOWLEDGE_WAIT = 10.0
_GOODBYE_WAIT = 0.2
_AWAY = "not reachable"
_MOST_GONE = 2_000
"""Components of a device that an earlier process announced, and that Home Assistant must not keep."""


class MqttSettings(QueuedSettings):
    """A broker, as ``mqtt://[USER:PASSWORD@]HOST[:PORT]``, or ``mqtts://`` for TLS.

    Attributes:
        user, password: if they are not in the URL.
        ca: certificates to trust instead of the system's. ``cert`` and ``key``: this device's own.
        client_id: None: the broker chooses one.
        prefix: events go to ``PREFIX/CAMERA/events``, ``online`` and ``offline`` to ``PREFIX/status``.
        discovery: announce each camera to Home Assistant as a device, below ``discovery_prefix``.
        image: publish the snapshot of each event that has one (``events.snapshots``).
        commands: every client that may publish at the broker may switch cameras and change thresholds.
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
    image: bool = False
    commands: bool = False

    def check(self) -> None:
        self.address()
        make_client(self)

    def open(self, site: SiteStatus) -> SinkWorker[Event]:
        self.check()  # before the queue, which the next attempt would find in use
        queue = self.open_queue()
        return SinkWorker(MqttSink(self, site), queue, longest_pause=0.5)

    def address(self) -> tuple[str, int]:
        """Host and port. Raises OptionError if the prefix or the URL is invalid."""
        for name, hint in (
            ("prefix", "Example: pvlr."),
            ("discovery_prefix", "Example: homeassistant."),
        ):
            prefix = getattr(self, name)
            if (
                not prefix
                or prefix.startswith("$")
                or not prefix.isprintable()
                or "+" in prefix
                or "#" in prefix
            ):
                raise errors.OptionError(
                    f"mqtt {name}", "the start of a topic, without + and #", repr(prefix), hint
                )
        try:
            split = urlsplit(self.url)
            host = split.hostname
            port = split.port
            (host or "").encode("idna")  # as the system looks it up; UnicodeError is a ValueError
        except ValueError:
            split = urlsplit("")
            host = None
            port = None
        if (
            split.scheme not in ("mqtt", "mqtts")
            or not host
            or split.path.strip("/")
            or split.query
        ):
            raise errors.OptionError(
                "mqtt url",
                expected="mqtt://[USER:PASSWORD@]HOST[:PORT], or mqtts://",
                got="another form",  # never the URL, which may contain a password
                hint="Write / @ and : in a password as %2F, %40 and %3A.",
            )
        return host, port or (8883 if split.scheme == "mqtts" else 1883)


class MqttSink(Sink[Event]):
    """Publishes each event with QoS 1, one at a time, so that their order survives any number of reconnects.

    The broker receives an event twice only if this process or the connection ends between the publication and its
    acknowledgement. It publishes ``offline`` if the connection breaks (last will).

    Raises:
        OptionError: the URL, the prefix or a certificate is invalid.
        MissingPartError: paho-mqtt is not installed.
    """

    def __init__(self, settings: MqttSettings, site: SiteStatus | None = None) -> None:
        host, port = settings.address()
        self.name = f"mqtt {host}:{port}"
        self._settings = settings
        self._topics = Topics(settings.prefix, settings.discovery_prefix)
        self._home = HomeAssistant(
            self._topics, settings.discovery, settings.image, settings.commands
        )
        self._site = site = site or SiteStatus({})
        self._devices = self._home.devices(site)
        self._retained = self._home.states(self._site, {})  # by topic
        self._removed: set[str] = set()  # topics whose retained messages the broker must not keep
        # components that Home Assistant must not keep, by device
        self._gone: dict[str, dict[str, str]] = {}
        self._has_warned = False
        self._commands: Commands | None = None
        self._site_lock = threading.Lock()
        self._connected = threading.Event()
        self._refusal = _AWAY
        self._in_flight: tuple[Event | None, set[int]] = (None, set())
        self._acknowledged: set[int] = set()
        self._acknowledgement = threading.Condition()
        self._client = make_client(settings)
        self._client.will_set(self._topics.status, "offline", qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.on_message = self._on_message
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

    def announce(self, site: SiteStatus) -> None:
        """Announce the devices of a site and what they show, now or as soon as the broker is back."""
        with self._site_lock:
            before = self._retained
            old = self._devices
            last = self._site
            self._site = site
            entities = [
                (status.labels, status.thresholds.keys(), status.groups) for status in (site, last)
            ]
            if entities[0] == entities[1]:
                # often: a camera that comes and goes
                self._retained = before | self._home.shown(site)
            else:
                self._devices, self._retained = (
                    self._home.devices(site),
                    self._home.states(site, before),
                )
            devices = self._devices
            gone = (before.keys() | old.keys()) - self._retained.keys() - devices.keys()
            self._removed = (self._removed | gone) - self._retained.keys() - devices.keys()
            changed = {
                topic: config for topic, config in devices.items() if config != old.get(topic)
            }
            for topic, device in changed.items():
                was = self._gone.get(topic, {}) | (old[topic].platforms if topic in old else {})
                self._gone[topic] = {
                    name: was[name] for name in was.keys() - device.components.keys()
                }
            if self._connected.is_set():
                new = {
                    topic: text
                    for topic, text in self._retained.items()
                    if text != before.get(topic)
                }
                self._introduce(self._client, gone, changed, new)

    def announce_image(self, camera: str, jpeg: bytes) -> None:
        """Publish the snapshot of an event, if the broker is there."""
        if self._settings.image and self._connected.is_set():
            self._client.publish(self._topics.image(camera), jpeg, retain=True)

    def obey(self, commands: Commands) -> None:
        """Accept commands from the broker, if the settings permit it."""
        self._commands = commands if self._settings.commands else None

    def close(self) -> None:
        """Publish ``offline``, if the broker is there, and disconnect."""
        if self._connected.is_set():
            with contextlib.suppress(RuntimeError, ValueError):
                # With QoS 0: one with QoS 1 would wait behind an event that the broker has not acknowledged.
                self._client.publish(self._topics.status, "offline", retain=True).wait_for_publish(
                    _GOODBYE_WAIT
                )
        self._client.disconnect()
        # In a thread: it waits for a connection attempt that hangs.
        threading.Thread(target=self._client.loop_stop, daemon=True).start()

    def _publish(self, item: Event) -> set[int]:
        topic = self._topics.events(place_of(item.camera, item.region))
        published = {self._client.publish(topic, item.to_json(), qos=1).mid}
        with self._site_lock:
            for topic, text in self._home.changed(self._site, item).items():
                if topic in self._retained:
                    self._retained[topic] = text
                    published.add(self._client.publish(topic, text, qos=1, retain=True).mid)
        return published

    def _introduce(
        self,
        client: Any,
        gone: Collection[str],
        devices: Mapping[str, Device],
        states: Mapping[str, str],
    ) -> None:
        """Remove topics, publish devices and states; needs the lock. With QoS 0, as after a connection."""
        configs = {
            topic: device.config(self._gone.get(topic, {})) for topic, device in devices.items()
        }
        for topic, text in {**dict.fromkeys(gone, ""), **configs, **states}.items():
            client.publish(topic, text, retain=True)

    # Called by paho's thread. Messages after a connection have QoS 0: they are repeated with the next one anyway, and
    # must not pile up behind an unstable connection.

    def _on_connect(
        self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        if reason.is_failure:
            self._refusal = f"refusing us: {reason}"
            return
        self._refusal = _AWAY
        client.publish(self._topics.status, "online", retain=True)
        if self._settings.commands:
            client.subscribe(
                [
                    (f"{self._settings.prefix}/{topic}{SET}", 1)
                    for topic in ("+/enabled", "threshold/+")
                ]
            )
        if self._settings.discovery:
            # before ours, which replace those of an earlier process
            client.subscribe(self._topics.device("+"))
        with self._site_lock:
            self._introduce(client, self._removed, self._devices, self._retained)
            self._connected.set()
            for place in self._site.labels if self._settings.discovery else ():
                client.subscribe(self._topics.earlier(place))

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        if message.topic.endswith(SET):
            self._command(message)
        elif len(message.payload) > CONFIG.size:
            if not self._has_warned:
                size = len(message.payload)
                _LOG.warning("%s: %.200r has %d bytes: not read", self.name, message.topic, size)
            self._has_warned = True
        elif message.retain and (announced := self._home.announced(message.payload)):
            self._forget(client, message.topic, announced)
        elif message.retain and message.payload and message.payload != MIGRATE.encode():
            self._migrate(client, message.topic)

    def _command(self, message: Any) -> None:
        """Do what a message asks for, or log why not. A retained one may be old."""
        topic = message.topic.removesuffix(SET)
        commands = self._commands
        if message.retain or commands is None:
            return
        with self._site_lock:
            site = self._site
        text = message.payload[:20].decode(errors="replace")
        try:
            for camera in site.cameras:
                if topic == self._topics.enabled(camera):
                    errors.check_choice("command", text, ("ON", "OFF"))
                    commands.switch_camera(camera, text == "ON")
                    return
            for label, sensor in sensor_ids(site.thresholds).items():
                if topic == self._topics.threshold(sensor):
                    commands.set_thresholds({label: threshold(text)})
                    return
            errors.check_choice(
                "topic", topic, tuple(site.cameras), "Name a camera or a label of this site."
            )
        except errors.PvlrError as error:
            _LOG.warning("%s: the command %.100r is refused: %s", self.name, topic, error)

    def _forget(self, client: Any, topic: str, announced: Mapping[str, str]) -> None:
        """Remove what an earlier process announced and this one does not: cameras and labels of another name."""
        with self._site_lock:
            if (device := self._devices.get(topic)) is None:
                client.publish(topic, "", retain=True)
            elif gone := announced.keys() - device.components.keys():
                both = self._gone.get(topic, {}) | {name: announced[name] for name in gone}
                self._gone[topic] = dict(islice(both.items(), _MOST_GONE))
                self._introduce(client, (), {topic: device}, {})

    def _migrate(self, client: Any, topic: str) -> None:
        """Replace a retained configuration of version 0.2, without the loss of the entity's settings."""
        with self._site_lock:
            for place, device in zip(self._site.labels, self._devices.values(), strict=False):
                if topic.startswith(self._topics.earlier(place).partition("+")[0]):
                    client.publish(topic, MIGRATE, retain=True)
                    self._introduce(client, (), {device.topic: device}, {})
                    client.publish(topic, "", retain=True)

    def _on_disconnect(
        self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        self._connected.clear()

    def _on_publish(
        self, client: Any, userdata: Any, mid: int, reason: Any, properties: Any
    ) -> None:
        with self._acknowledgement:
            self._acknowledged.add(mid)
            self._acknowledgement.notify_all()


def make_client(settings: MqttSettings) -> Any:
    """A client of paho with the credentials of the settings. Raises OptionError, MissingPartError."""
    with errors.needed("mqtt", "the package paho-mqtt", "cameras"):
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    url = urlsplit(settings.url)
    client = Client(CallbackAPIVersion.VERSION2, settings.client_id or "")
    user = settings.user or (unquote(url.username) if url.username else None)
    password = (
        settings.password.get_secret_value()
        if settings.password
        else unquote(url.password or "") or None
    )
    if user is not None:
        client.username_pw_set(user, password)
    if url.scheme == "mqtts":
        try:
            ca, cert, key = (
                str(path) if path else None for path in (settings.ca, settings.cert, settings.key)
            )
            client.tls_set(ca, cert, key)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise errors.OptionError(
                "mqtt certificates", "valid PEM files", str(error), "Check ca, cert and key."
            ) from None
    client.max_inflight_messages_set(1)
    client.reconnect_delay_set(1, 10)
    return client
