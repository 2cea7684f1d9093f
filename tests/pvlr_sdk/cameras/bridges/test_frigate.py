"""Frigate's events, from a real Mosquitto, are answered once each, through a server with Frigate's routes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.cameras.bridges import frigate as module
from pvlr_sdk.cameras.bridges.frigate import FrigateTagger
from pvlr_sdk.cameras.sinks.mqtt import MqttSettings
from tests.pvlr_sdk.cameras.bridges.frigate import Frigate, message
from tests.pvlr_sdk.cameras.sinks.conftest import Broker
from tests.waiting import until

OUTAGE = float(os.environ.get("PVLR_OUTAGE_SECONDS", "0"))


@pytest.fixture
def frigate() -> Iterator[Frigate]:
    server = Frigate()
    yield server
    server.held.set()
    server.stop()


@pytest.fixture(scope="module")
def tagger(plan) -> Iterator[Tagger]:
    """Tags every image with all labels, the best first."""
    with Tagger(plan, threshold=0) as one:
        yield one


@pytest.fixture
def broker(make_broker) -> Broker:
    """A broker that drops nothing of a thousand events at once, as Frigate never sends them."""
    return make_broker("allow_anonymous true", "max_queued_messages 0")


@pytest.fixture
def publish(broker) -> Iterator[Callable[..., None]]:
    """Publishes a text or a message of Frigate, as JSON."""
    from paho.mqtt.client import Client
    from paho.mqtt.enums import CallbackAPIVersion

    client = Client(CallbackAPIVersion.VERSION2, "frigate")
    client.max_queued_messages_set(0)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()

    def send(content: Any, topic: str = "frigate/events") -> None:
        client.publish(topic, json.dumps(content) if isinstance(content, dict) else content, qos=1)

    yield send
    client.disconnect()
    client.loop_stop()


@pytest.fixture
def answer(broker, frigate, tagger) -> Iterator[Callable[..., FrigateTagger]]:
    """Starts the adapter, and waits until it has subscribed."""
    started: list[FrigateTagger] = []

    def start(**options: Any) -> FrigateTagger:
        settings = MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}", prefix="frigate")
        site = FrigateTagger(tagger, frigate.url, settings, **options)
        ready = threading.Event()
        site._client.on_subscribe = lambda *_: ready.set()
        site._client.subscribe("frigate/events", 1)  # again, if it was there before that line
        started.append(site)
        assert ready.wait(20)
        return site

    yield start
    for site in started:
        site.worker.close(1)


def ids(count: int) -> list[str]:
    return [message(number)["after"]["id"] for number in range(count)]


@pytest.mark.slow
def test_1000_events_with_frigate_away_are_answered_once_each(broker, frigate, answer, publish):
    site = answer()
    for number in range(1000):
        for kind in ("new", "update", "end"):
            publish(message(number, kind))
    until(lambda: len(frigate.sub_labels) > 200)
    frigate.stop()
    until(lambda: site.worker.stats().error)
    threading.Event().wait(OUTAGE)
    before = [event for event, *_ in frigate.sub_labels]
    back = Frigate(frigate.server_port)
    back.answers = [503, 502] * 3  # while it starts
    try:
        for count in range(300, 1001, 10):
            until(
                lambda count=count: site.worker.stats().delivered >= count, str(site.worker.stats())
            )
    finally:
        back.stop()
    assert 200 < len(before) < 1000
    assert before + [event for event, *_ in back.sub_labels] == ids(1000)
    stats = site.worker.stats()
    assert (stats.waiting, stats.lost, stats.error) == (0, 0, None)


def test_the_best_tag_is_the_sub_label_and_all_tags_are_attributes(
    frigate, answer, publish, tagger
):
    site = answer(attributes=True)
    for kind in ("new", "update", "end", "end"):
        publish(message(1, kind, label="cat"))
    until(lambda: site.worker.stats().delivered)
    (event,) = ids(2)[1:]
    tags = [tag for tag in tagger.predict(frigate.snapshot) if tag.label != "cat"]
    assert frigate.sub_labels == [(event, tags[0].label, round(tags[0].score, 4))]
    assert frigate.attributes == [(event, [tag.label for tag in tags])]
    assert "cat" in tagger.labels
    # No model has attributes of this object: the answer is complete nevertheless.
    frigate.answer = lambda path: 400 if path.endswith("attributes") else 200
    publish(message(2, "end"))
    until(lambda: site.worker.stats().delivered == 2)
    # A failure after the sub label repeats what is missing, not the sub label.
    failures = iter([503, 503])
    frigate.answer = lambda path: next(failures, 200) if path.endswith("attributes") else 200
    publish(message(3, "end"))
    until(lambda: site.worker.stats().delivered == 3)
    assert [event for event, *_ in frigate.sub_labels] == ids(4)[1:]
    assert [event for event, _ in frigate.attributes] == [ids(4)[1], ids(4)[3]]


@pytest.mark.parametrize("nothing", [False, True])
def test_labels_that_exclude_each_other_are_one_or_unknown(
    frigate, answer, publish, tagger, monkeypatch, nothing
):
    predict = tagger.predict
    monkeypatch.setattr(tagger, "predict", lambda image: [] if nothing else predict(image))
    site = answer(attributes=True, exclusive=True)
    publish(message(1, "end", label="cat"))
    until(lambda: site.worker.stats().delivered)
    best = (
        "unknown"
        if nothing
        else next(tag.label for tag in predict(frigate.snapshot) if tag.label != "cat")
    )
    assert [label for _, label, _ in frigate.sub_labels] == [best]
    assert frigate.attributes == [(ids(2)[1], [best])]


@pytest.mark.parametrize(
    ("options", "changes"),
    [({}, {"has_snapshot": False}), ({}, {"sub_label": ["John Smith", 0.79]}), ({}, {"sub_label": "John Smith"}),
     ({"objects": ["car"]}, {}), ({"at_end": True}, {})],
)  # fmt: skip
def test_events_that_are_left_alone(frigate, answer, publish, options, changes):
    site = answer(**options)
    publish(message(1, **changes))
    publish(message(2, "end", label="car"))
    until(lambda: site.worker.stats().delivered)
    assert [event for event, *_ in frigate.sub_labels] == ids(3)[2:]


@pytest.mark.slow
@pytest.mark.parametrize(
    "rubbish",
    [b"", b"\xff\x00", b"offline", b"[1, 2]", b"[" * 100_000, b'{"type": "new"}', b'{"a": "' + b"x" * 2**18 + b'"}',
     message(1, "another"), message(1, id="../../config"), message(1, id=".."), message(1, id="a/b"), message(1, id=5),
     b'{"type": [' + b"{}," * 40_000 + b"{}]}", message(1, camera=None),
     message(1, label="\x1b[2J"), {"type": "new", "after": None}],
    ids=lambda value: str(value)[:20],
)  # fmt: skip
def test_rubbish_is_refused_and_logged(frigate, answer, publish, caplog, rubbish):
    site = answer()
    publish(rubbish)
    publish(message(2))
    until(lambda: site.worker.stats().delivered)
    assert [event for event, *_ in frigate.sub_labels] == ids(3)[2:]
    (text,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "message refused" in text
    assert text.isprintable()
    assert len(text) < 1200


def test_what_frigate_does_not_have_is_given_up_until_its_next_message(
    frigate, answer, publish, caplog
):
    site = answer()
    frigate.answers = [404]
    publish(message(1))
    until(lambda: site.worker.stats().lost)
    assert "answered 404" in caplog.text
    publish(message(1, "update"))
    until(lambda: site.worker.stats().delivered)
    frigate.snapshot = b"no image"
    publish(message(2))
    until(lambda: site.worker.stats().lost == 2)
    assert "ImageDecodeError" in caplog.text
    assert [event for event, *_ in frigate.sub_labels] == ids(2)[1:]


def test_responses_are_bounded_in_time_and_size(frigate, answer, publish, monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT", 0.3)
    monkeypatch.setattr(module, "_SNAPSHOT", len(frigate.snapshot))
    site = answer()
    frigate.held.clear()
    publish(message(1))
    until(lambda: "timed out" in (site.worker.stats().error or ""))
    monkeypatch.setattr(module, "_TIMEOUT", 10.0)
    frigate.held.set()
    until(lambda: site.worker.stats().delivered)
    frigate.snapshot += b" "
    publish(message(2))
    until(lambda: site.worker.stats().lost)
    assert {event for event, *_ in frigate.sub_labels} == {ids(2)[1]}


@pytest.mark.parametrize(
    ("url", "mqtt", "what"),
    [("frigate:5000", {}, "frigate url"), ("http://f", {"url": "http://b"}, "mqtt url"),
     ("http://f", {"prefix": "a/#"}, "mqtt prefix")],
)  # fmt: skip
def test_addresses_that_are_none(tagger, url, mqtt, what):
    with pytest.raises(errors.OptionError, match=what):
        FrigateTagger(
            tagger, url, MqttSettings(**{"url": "mqtt://127.0.0.1", "prefix": "frigate", **mqtt})
        )


@pytest.mark.slow
def test_the_command(broker, frigate, publish, plan):
    options = [
        "--mqtt",
        f"mqtt://127.0.0.1:{broker.port}",
        "--url",
        frigate.url,
        "--plan",
        str(plan),
    ]
    command = [
        sys.executable,
        "-c",
        "from pvlr_sdk.cli import main; main()",
        "frigate",
        *options,
        "--threshold",
        "0",
    ]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        # Messages before its subscription are not for it; an event's line follows its sub label.
        numbers = iter(range(100_000))
        until(lambda: publish(message(next(numbers))) or len(frigate.sub_labels) > 1)
    finally:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT, err  # 130 in a shell
    assert f"front_door person {frigate.sub_labels[0][0]}: {frigate.sub_labels[0][1]} " in err
    assert "Traceback" not in err
