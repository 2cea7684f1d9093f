"""Answers Frigate's events: tags the snapshot of each tracked object, and sets its sub label and attributes."""

from __future__ import annotations

import json
import logging
from collections.abc import Collection
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError

from ..._util.escape import escaped
from ..._util.plain_json import Limits, read_json
from ..._util.validation import first_problem
from ...tagger import Tagger
from ..events.event import UNKNOWN
from ..sinks.mqtt import MqttSettings, make_client
from ..sinks.queues import MemoryQueue
from ..sinks.webhook import address, load_aiohttp, request
from ..sinks.worker import Sink, SinkWorker

_LOG = logging.getLogger(__name__)
_MESSAGE = Limits(size=2**18, values=2**15, depth=16)
_SNAPSHOT = 2**24  # bytes at most
_SUB_LABEL = 100  # characters that Frigate accepts
_REMEMBERED = 10_000  # events that wait at most, and that are not answered again
_TIMEOUT = 10.0  # seconds for one request
# the request is repeated; other failures are about its event
_AWAY = frozenset({401, 403, 408, 429, 502, 503, 504})


class _Object(BaseModel):
    id: str = Field(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}$")  # which becomes a part of a URL
    camera: str
    label: str
    sub_label: Any = None
    has_snapshot: bool = False


class _Message(BaseModel):
    type: Literal["new", "update", "end"]
    after: _Object


class FrigateTagger(Sink[_Object]):
    """Answers each tracked object of ``frigate/events`` once: its best tag becomes the sub label, if it has none.

    A tag that is the object's own label is left out. While Frigate is away, requests are repeated, and at most
    10,000 events wait. ``worker.close`` ends it.

    Args:
        tagger: tags the snapshots, cropped to the object.
        url: of Frigate, such as ``http://frigate:5000``.
        mqtt: the broker; ``prefix`` is Frigate's ``topic_prefix``.
        objects: Frigate's labels of the objects to answer; empty: all.
        at_end: wait for the end of an event, whose snapshot is the best one.
        attributes: ``at_end``, and set all tags as attributes (Frigate 0.17), which replaces those that other models
            have set. Frigate takes only labels of its own models of the type attribute.
        exclusive: the labels are a group of which one is right: the best one, or ``unknown``.

    Raises:
        OptionError: an address is invalid.
        MissingPartError: paho-mqtt or aiohttp is not installed.
    """

    def __init__(
        self, tagger: Tagger, url: str, mqtt: MqttSettings, *, objects: Collection[str] = (), at_end: bool = False,
        attributes: bool = False, exclusive: bool = False,
    ) -> None:  # fmt: skip
        host, url, self._headers = address(url, "frigate url")
        load_aiohttp("frigate")
        self.name = f"frigate {host}"
        self._url = url.rstrip("/")
        self._tagger = tagger
        self._topic = f"{mqtt.prefix}/events"
        self._objects = frozenset(objects)
        self._exclusive = exclusive
        # Frigate takes them for stored events only
        self._attributes = attributes
        self._at_end = at_end or attributes
        self._seen: dict[str, None] = {}
        self._labelled = ""  # the event that got the last sub label
        broker = mqtt.address()
        self._client = make_client(mqtt)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.connect_async(*broker)
        self.worker = SinkWorker(self, MemoryQueue[_Object](_REMEMBERED))
        self._client.loop_start()

    def write(self, item: _Object) -> None:
        """Answer an event. Raises OSError to repeat it, ValueError if it cannot be answered."""
        snapshot = self._ask(item.id, "snapshot.jpg?crop=1&bbox=0&timestamp=0")
        tags = [
            (tag.label, tag.score)
            for tag in self._tagger.predict(snapshot)
            if tag.label != item.label
        ]
        if self._exclusive:
            tags = tags[:1] or [(UNKNOWN, 0.0)]
        if tags and self._labelled != item.id:  # else only what followed has failed
            # Frigate refuses 0
            best = tags[0][0][:_SUB_LABEL]
            score = max(round(tags[0][1], 4), 1e-4)
            self._ask(item.id, "sub_label", {"subLabel": best, "subLabelScore": score})
            self._labelled = item.id
        if tags and self._attributes:
            self._ask(item.id, "attributes", {"attributes": [label for label, _ in tags]})
        text = ", ".join(f"{label} {score:.2f}" for label, score in tags) or "no tags"
        _LOG.info("%s: %s", self.name, escaped(f"{item.camera} {item.label} {item.id}: {text}"))

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _ask(self, event: str, what: str, value: dict[str, Any] | None = None) -> bytes:
        """GET, or POST a value as JSON; the body of the response."""
        method, body = ("POST", json.dumps(value).encode()) if value else ("GET", None)
        url = f"{self._url}/api/events/{event}/{what}"
        headers = {**self._headers, "Content-Type": "application/json"}
        status, data = request(
            method, url, headers=headers, timeout=_TIMEOUT, body=body, most=_SNAPSHOT
        )
        # no model has attributes of this object
        if 200 <= status < 300 or (status, what) == (
            400,
            "attributes",
        ):
            return data
        if status in _AWAY:
            raise ConnectionError(f"Frigate answered {status}")
        self._seen.pop(event, None)  # the event's next message may have more luck
        raise ValueError(f"Frigate answered {status} for {event}")

    # Called by paho's thread.

    def _on_connect(
        self, client: Any, userdata: Any, flags: Any, reason: Any, properties: Any
    ) -> None:
        if reason.is_failure:
            _LOG.warning("%s: the broker refuses us: %s", self.name, reason)
        else:
            client.subscribe(self._topic, 1)

    def _on_message(self, client: Any, userdata: Any, message: Any) -> None:
        try:
            parsed = _Message.model_validate(read_json(message.payload, _MESSAGE))
        except ValueError as error:  # pydantic's is one too
            text = first_problem(error) if isinstance(error, ValidationError) else str(error)
            _LOG.warning("%s: message refused: %s", self.name, escaped(text))
            return
        item = parsed.after
        wanted = not self._objects or item.label in self._objects
        ready = item.has_snapshot and (parsed.type == "end" or not self._at_end)
        if wanted and ready and not item.sub_label and item.id not in self._seen:
            self._seen[item.id] = None
            if len(self._seen) > _REMEMBERED:
                self._seen.pop(next(iter(self._seen)), None)
            self.worker.submit(item)
