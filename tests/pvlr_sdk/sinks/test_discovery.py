"""Home Assistant's discovery over a real Mosquitto: a device for each camera, whose labels may change."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from pvlr_sdk import errors
from pvlr_sdk.sinks import DiskQueue, SinkWorker
from pvlr_sdk.sinks.home_assistant import MIGRATE, Device
from pvlr_sdk.sinks.mqtt import MqttSettings, MqttSink
from pvlr_sdk.watch import Site, SiteConfig
from tests.pvlr_sdk.sinks.events import make_event

DEVICE = "homeassistant/device/pvlr_door/config"


def worker(settings, folder, labels) -> SinkWorker:
    return SinkWorker(MqttSink(settings, labels), DiskQueue(folder / "q.sqlite"), longest_pause=0.5)


def newest(listener) -> dict[str, str]:
    """The last message of each topic."""
    return {topic: text for topic, text, _ in listener.messages}


def components(listener, topic: str = DEVICE) -> dict[str, dict]:
    text = newest(listener).get(topic)
    return json.loads(text)["components"] if text else {}


def test_home_assistant_finds_a_device_its_labels_and_their_states(broker, tmp_path, make_listener):
    settings = MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}", discovery=True)
    sink = worker(settings, tmp_path, {"door": ["car", "dining table"]})
    event = make_event(0, label="dining table")
    sink.submit(event)
    watcher = make_listener(broker)
    states = {"pvlr/door/car/state": "OFF", "pvlr/door/dining_table/state": "ON", "pvlr/door/car/score": "0"}
    states["pvlr/door/dining_table/score"] = f"{100 * event.score:.1f}"
    # Retained messages arrive in no particular order.
    watcher.until(lambda: states.items() <= newest(watcher).items() and DEVICE in newest(watcher))
    config = json.loads(newest(watcher)[DEVICE])
    assert (config["device"]["name"], config["availability_topic"]) == ("door", "pvlr/status")
    table = config["components"]["dining_table"]
    assert (table["platform"], table["name"]) == ("binary_sensor", "dining table")
    assert (table["state_topic"], table["unique_id"]) == ("pvlr/door/dining_table/state", "pvlr_door_dining_table")
    assert config["components"]["events"]["state_topic"] == "pvlr/door/events"
    sink.submit(make_event(1, label="dining table"))
    watcher.until(lambda: newest(watcher)["pvlr/door/dining_table/state"] == "OFF")
    sink.close(1)
    watcher.close()
    # Home Assistant sees the same after its restart: the broker retains all of it.
    again = make_listener(broker, "homeassistant/#")
    again.until(lambda: len(again.messages) == 1)
    assert all(retained for _, _, retained in again.messages)
    again.close()


def test_home_assistant_learns_of_other_labels_at_once(broker, tmp_path, make_listener):
    settings = MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}", discovery=True)
    sink = worker(settings, tmp_path, {"door": ["car", "cat"]})
    watcher = make_listener(broker)
    sink.submit(make_event(0, label="car"))
    watcher.until(lambda: newest(watcher).get("pvlr/door/car/state") == "ON")
    sink.announce({"door": ["car", "my mug"]})
    watcher.until(lambda: newest(watcher).get("pvlr/door/my_mug/state") == "OFF")
    assert components(watcher)["my_mug"]["name"] == "my mug"
    # A component with its platform alone is removed, and so are its retained states.
    assert components(watcher)["cat"] == {"platform": "binary_sensor"}
    assert components(watcher)["cat_score"] == {"platform": "sensor"}
    assert newest(watcher)["pvlr/door/cat/state"] == newest(watcher)["pvlr/door/cat/score"] == ""
    assert newest(watcher)["pvlr/door/car/state"] == "ON"
    sink.submit(make_event(2, label="my mug"))
    watcher.until(lambda: newest(watcher)["pvlr/door/my_mug/score"] != "0")  # the last message of the event
    count = len(watcher.messages)
    sink.announce({"door": ["car", "my mug"]})
    sink.submit(make_event(3, label="my mug"))
    watcher.until(lambda: len(watcher.messages) >= count + 3)
    assert [topic for topic, _, _ in watcher.messages[count:]] == [
        f"pvlr/door/{name}" for name in ("events", "my_mug/state", "my_mug/score")
    ]  # nothing is announced again

    # What changes while the broker is away is there when it is back; it keeps nothing of labels that are gone.
    broker.stop()
    sink.announce({"door": ["car", "pen"]})
    broker.start()
    again = make_listener(broker)
    again.until(lambda: "state_topic" in components(again).get("pen", {}), 30)
    assert [len(components(again)[name]) for name in ("cat", "my_mug")] == [1, 1]
    sink.announce({})
    again.until(lambda: newest(again)[DEVICE] == "")
    sink.close(1)
    again.close()
    watcher.close()


def test_a_configuration_of_version_0_2_is_migrated(broker, tmp_path, make_listener):
    old = "homeassistant/binary_sensor/pvlr_door/car/config"
    listener = make_listener(broker, "homeassistant/#")
    listener._client.publish(old, '{"unique_id": "pvlr_door_car"}', qos=1, retain=True)
    listener.until(lambda: len(listener.messages) == 1)
    settings = MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}", discovery=True)
    sink = worker(settings, tmp_path, {"door": ["car"]})
    listener.until(lambda: newest(listener)[old] == "" and DEVICE in newest(listener))
    texts = [text for topic, text, _ in listener.messages if topic == old]
    assert texts[1:] == ['{"migrate_discovery": true}', ""]
    order = [topic for topic, _, _ in listener.messages]
    assert order.index(old, 1) < len(order) - 1 - order[::-1].index(DEVICE) < len(order) - 1 - order[::-1].index(old)
    sink.close(1)
    listener.close()


def test_another_prefix(broker, tmp_path, make_listener):
    settings = MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}", discovery=True, discovery_prefix="ha")
    sink = worker(settings, tmp_path, {"door": ["car"]})
    listener = make_listener(broker, "ha/#")
    listener.until(lambda: "ha/device/pvlr_door/config" in newest(listener))
    sink.close(1)
    listener.close()
    with pytest.raises(errors.OptionError, match="mqtt discovery_prefix"):
        MqttSettings(url="mqtt://127.0.0.1", discovery_prefix="ha/#").check()


def test_the_sensors_of_a_site_follow_its_labels(broker, tmp_path, plan, make_listener):
    sink = {"kind": "mqtt", "url": f"mqtt://127.0.0.1:{broker.port}", "discovery": True, "queue": str(tmp_path / "q")}
    raw = {
        "plan": str(plan),
        "threads": 1,
        "cameras": {"door": "test://"},
        "sinks": [sink],
        "events": {"labels": ["cat"]},
    }
    site = Site(SiteConfig.parse(raw, source="test"))
    watcher = make_listener(broker, "homeassistant/#")
    watcher.until(lambda: "cat" in components(watcher))
    site.configure(site.config.events.model_copy(update={"labels": ("rocket",)}))
    watcher.until(lambda: "rocket" in components(watcher))
    assert (len(components(watcher)["cat"]), components(watcher)["rocket"]["name"]) == (1, "rocket")
    site.stop()
    site.run()
    watcher.close()


@pytest.mark.slow
def test_home_assistant_itself(tmp_path):
    python = os.environ.get("PVLR_HOME_ASSISTANT")
    if not python:
        pytest.skip(
            "PVLR_HOME_ASSISTANT is not the Python of an environment with pytest-homeassistant-custom-component"
        )
    first, second = (
        Device("pvlr", "homeassistant", "pvlr/status", "door", ["car", name]) for name in ("dining table", "pen")
    )
    device = {"topic": first.topic, "config": first.config(), "migrate": MIGRATE, **first.sensors["car"]._asdict()}
    device |= {"other": second.config(first.components - second.components)}
    device |= {"state": device["state_topic"], "score": device["score_topic"]}
    script = tmp_path / "test_it.py"  # out of reach of our settings of pytest
    script.write_text(Path(__file__).with_name("in_home_assistant.py").read_text())
    command = [
        python,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-o",
        "asyncio_mode=auto",
        "--noconftest",
        script,
    ]
    environment = {**os.environ, "DEVICE": json.dumps(device)}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert "2 passed" in done.stdout
