"""Home Assistant's discovery over a real Mosquitto: a device for each camera, whose labels may change."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.cameras.control.control import Control
from pvlr_sdk.cameras.control.state import State
from pvlr_sdk.cameras.sinks import mqtt
from pvlr_sdk.cameras.sinks.home_assistant import MIGRATE, HomeAssistant, Topics
from pvlr_sdk.cameras.sinks.mqtt import MqttSettings, MqttSink
from pvlr_sdk.cameras.sinks.worker import CameraStatus, Commands, SiteStatus
from pvlr_sdk.cameras.site import Site, SiteConfig, load_config
from pvlr_sdk.cameras.site.changes import CameraChange, Changes
from tests.pvlr_sdk.cameras.sinks.events import make_event
from tests.waiting import until

DEVICE = "homeassistant/device/pvlr_door/config"


def newest(listener) -> dict[str, str]:
    """The last message of each topic."""
    return {topic: text for topic, text, _ in listener.messages}


def components(listener, topic: str = DEVICE) -> dict[str, dict]:
    text = newest(listener).get(topic)
    return json.loads(text)["components"] if text else {}


def test_home_assistant_finds_a_device_its_labels_and_their_states(
    broker, make_listener, make_sink
):
    sink = make_sink(SiteStatus({"door": ["car", "dining table"]}), discovery=True)
    event = make_event(0, label="dining table")
    sink.submit(event)
    watcher = make_listener(broker)
    states = {
        "pvlr/door/car/state": "OFF",
        "pvlr/door/dining_table/state": "ON",
        "pvlr/door/car/score": "0",
    }
    states["pvlr/door/dining_table/score"] = f"{100 * event.score:.1f}"
    # Retained messages arrive in no particular order.
    watcher.until(lambda: states.items() <= newest(watcher).items() and DEVICE in newest(watcher))
    config = json.loads(newest(watcher)[DEVICE])
    assert config["device"]["name"] == "door"
    assert config["availability"] == [{"topic": "pvlr/status"}, {"topic": "pvlr/door/availability"}]
    table = config["components"]["dining_table"]
    assert (table["platform"], table["name"]) == ("binary_sensor", "dining table")
    assert (table["state_topic"], table["unique_id"]) == (
        "pvlr/door/dining_table/state",
        "pvlr_door_dining_table",
    )
    assert config["components"]["events"]["state_topic"] == "pvlr/door/events"
    sink.submit(make_event(1, label="dining table"))
    watcher.until(lambda: newest(watcher)["pvlr/door/dining_table/state"] == "OFF")
    sink.close(1)
    watcher.close()
    # Home Assistant sees the same after its restart: the broker retains all of it.
    again = make_listener(broker, "homeassistant/#")
    again.until(lambda: len(again.messages) == 1)
    assert all(retained for _, _, retained in again.messages)


@pytest.mark.slow
def test_home_assistant_learns_of_other_labels_at_once(broker, make_listener, make_sink):
    sink = make_sink(SiteStatus({"door": ["car", "cat"]}), discovery=True)
    watcher = make_listener(broker)
    sink.submit(make_event(0, label="car"))
    watcher.until(lambda: newest(watcher).get("pvlr/door/car/state") == "ON")
    sink.sink.announce(SiteStatus({"door": ["car", "my mug"]}))
    watcher.until(lambda: newest(watcher).get("pvlr/door/my_mug/state") == "OFF")
    assert components(watcher)["my_mug"]["name"] == "my mug"
    # A component with its platform alone is removed, and so are its retained states.
    assert components(watcher)["cat"] == {"platform": "binary_sensor"}
    assert components(watcher)["cat_score"] == {"platform": "sensor"}
    assert newest(watcher)["pvlr/door/cat/state"] == newest(watcher)["pvlr/door/cat/score"] == ""
    assert newest(watcher)["pvlr/door/car/state"] == "ON"
    sink.submit(make_event(2, label="my mug"))
    # the last message of the event
    watcher.until(lambda: newest(watcher)["pvlr/door/my_mug/score"] != "0")
    count = len(watcher.messages)
    sink.sink.announce(SiteStatus({"door": ["car", "my mug"]}))
    sink.submit(make_event(3, label="my mug"))
    watcher.until(lambda: len(watcher.messages) >= count + 3)
    # nothing is announced again
    assert [topic for topic, _, _ in watcher.messages[count:]] == [
        f"pvlr/door/{name}" for name in ("events", "my_mug/state", "my_mug/score")
    ]

    # What changes while the broker is away is there when it is back; it keeps nothing of labels that are gone.
    broker.stop()
    sink.sink.announce(SiteStatus({"door": ["car", "pen"]}))
    broker.start()
    again = make_listener(broker)
    again.until(lambda: "state_topic" in components(again).get("pen", {}), 30)
    assert [len(components(again)[name]) for name in ("cat", "my_mug")] == [1, 1]
    sink.sink.announce(SiteStatus({}))
    again.until(lambda: newest(again)[DEVICE] == "")


def test_names_that_changed_while_nothing_ran_leave_no_ghosts(broker, make_listener, tmp_path):
    settings = MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}", discovery=True)
    before = MqttSink(settings, SiteStatus({"door": ["car", "cat"], "yard": ["car"]}))
    watcher = make_listener(broker)
    watcher.until(
        lambda: len(components(watcher)) > 1 and components(watcher, DEVICE.replace("door", "yard"))
    )
    before.close()
    publish(watcher, DEVICE.replace("pvlr_door", "rubbish"), "[" * 100_000, retain=True)
    component = '{"platform": "binary_sensor", "name": "car"}'
    others = '{"origin": {"name": "pvlr_sdk"}, "availability": [{"topic": "site2/status"}], "components": {"a": '
    others += component + "}}"
    publish(watcher, DEVICE.replace("pvlr_door", "others"), others, retain=True)
    after = MqttSink(settings, SiteStatus({"door": ["car"], "gate": ["car"]}))
    watcher.until(lambda: newest(watcher).get(DEVICE.replace("door", "yard")) == "")
    watcher.until(lambda: components(watcher).get("cat") == {"platform": "binary_sensor"})
    again = make_listener(broker, "homeassistant/#")
    again.until(
        lambda: (
            {one.split("/")[2] for one in newest(again)}
            == {"pvlr_door", "pvlr_gate", "others", "rubbish"}
        )
    )
    after.close()


def test_a_configuration_of_version_0_2_is_migrated(broker, make_listener, make_sink):
    old = "homeassistant/binary_sensor/pvlr_door/car/config"
    listener = make_listener(broker, "homeassistant/#")
    listener._client.publish(old, '{"unique_id": "pvlr_door_car"}', qos=1, retain=True)
    listener.until(lambda: len(listener.messages) == 1)
    make_sink(SiteStatus({"door": ["car"]}), discovery=True)
    listener.until(lambda: newest(listener)[old] == "" and DEVICE in newest(listener))
    texts = [text for topic, text, _ in listener.messages if topic == old]
    assert texts[1:] == ['{"migrate_discovery": true}', ""]
    order = [topic for topic, _, _ in listener.messages]
    assert (
        order.index(old, 1)
        < len(order) - 1 - order[::-1].index(DEVICE)
        < len(order) - 1 - order[::-1].index(old)
    )


def test_another_prefix(broker, make_listener, make_sink):
    make_sink(SiteStatus({"door": ["car"]}), discovery=True, discovery_prefix="ha")
    listener = make_listener(broker, "ha/#")
    listener.until(lambda: "ha/device/pvlr_door/config" in newest(listener))
    with pytest.raises(errors.OptionError, match="mqtt discovery_prefix"):
        MqttSettings(url="mqtt://127.0.0.1", discovery_prefix="ha/#").check()


def test_the_sensors_of_a_site_follow_its_labels(broker, tmp_path, plan, make_listener):
    sink = {
        "kind": "mqtt",
        "url": f"mqtt://127.0.0.1:{broker.port}",
        "discovery": True,
        "queue": str(tmp_path / "q"),
    }
    raw = {
        "plan": str(plan),
        "threads": 1,
        "cameras": {"door": "test://"},
        "events": {"labels": ["cat"]},
    }
    site = Site(SiteConfig.parse({**raw, "sinks": [sink]}, source="test"))
    watcher = make_listener(broker, "homeassistant/#")
    watcher.until(lambda: "cat" in components(watcher))
    site.use(Changes(labels=("rocket",)))
    watcher.until(lambda: "rocket" in components(watcher))
    assert (len(components(watcher)["cat"]), components(watcher)["rocket"]["name"]) == (1, "rocket")
    site.stop()
    site.run()


def publish(listener, topic: str, text: str | bytes, **options: bool) -> None:
    listener._client.publish(topic, text, qos=1, **options)


def test_a_retained_message_of_any_size_costs_its_bytes_and_one_warning(caplog):
    MQTTMessage = pytest.importorskip("paho.mqtt.client").MQTTMessage
    sink = MqttSink(
        MqttSettings(url="mqtt://127.0.0.1:9", discovery=True), SiteStatus({"door": ["car"]})
    )
    client = sink._client
    payload = b'{"origin":[' + b"{}," * 20_000_000 + b"{}]}"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    for topic in (DEVICE, DEVICE, DEVICE.replace("door", "other")):
        message = MQTTMessage(topic=topic.encode())
        message.payload = payload
        message.retain = True
        sink._on_message(client, None, message)
    assert time.perf_counter() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert "pvlr_door" in warning
    assert f"{len(payload)} bytes" in warning
    sink.close()


def test_what_a_message_makes_a_site_forget_is_bounded():
    pytest.importorskip("paho.mqtt.client")
    home = HomeAssistant(
        Topics("pvlr", "homeassistant"), discovery=True, image=False, commands=False
    )
    sink = MqttSink(
        MqttSettings(url="mqtt://127.0.0.1:9", discovery=True), SiteStatus({"door": ["car"]})
    )
    sensors = {f"label_{number}": {"platform": "sensor", "name": ""} for number in range(9_000)}
    strange = {"x" * 2000: {"platform": "sensor", "name": ""}, "a/b": {"platform": "sensor", "name": ""},
               "tank": {"platform": "x" * 2000, "name": ""}}  # fmt: skip
    for number in range(3):
        named = {f"{name}_{number}": value for name, value in sensors.items()} | strange
        config = {"origin": {"name": "pvlr_sdk"}, "availability": [{"topic": "pvlr/status"}]}
        announced = home.announced(json.dumps({**config, "components": named}).encode())
        assert len(announced) == 9_000
        sink._forget(sink._client, DEVICE, announced)
    assert len(sink._gone[DEVICE]) == mqtt._MOST_GONE
    sink.close()


def test_commands_change_the_running_site_and_rubbish_is_refused(
    broker, make_listener, caplog, make_sink
):
    cameras = {
        "door": CameraStatus(available=True, enabled=True),
        "a.b": CameraStatus(available=False, enabled=True),
    }
    site = SiteStatus(
        {"door": ["car"], "a.b": ["dining table"]}, cameras, {"car": 0.5, "dining table": 0.8}
    )
    watcher = make_listener(broker)
    # the broker keeps it: it is old when we connect
    publish(watcher, "pvlr/threshold/car/set", "0.1", retain=True)
    watcher.until(lambda: watcher.messages)
    sink = make_sink(site, discovery=True, commands=True)
    asked = []

    sink.sink.obey(Commands(asked.append, lambda camera, on: asked.append((camera, on))))
    shown = {
        "pvlr/door/availability": "online",
        "pvlr/a.b/availability": "offline",
        "pvlr/door/enabled": "ON",
    }
    shown |= {"pvlr/threshold/car": "0.5", "pvlr/threshold/dining_table": "0.8"}
    watcher.until(lambda: shown.items() <= newest(watcher).items() and DEVICE in newest(watcher))
    assert components(watcher)["enabled"]["command_topic"] == "pvlr/door/enabled/set"
    numbers = components(watcher, "homeassistant/device/pvlr/config")
    assert numbers["dining_table_threshold"]["command_topic"] == "pvlr/threshold/dining_table/set"

    rubbish = [b"", b"\xff\xfe", b"1e999", b"nan", b"-1", b"0.5" * 10_000, b"{}"]
    for text in rubbish:
        publish(watcher, "pvlr/threshold/car/set", text)
        publish(watcher, "pvlr/door/enabled/set", text)
    publish(watcher, "pvlr/no such camera/enabled/set", "ON")
    publish(watcher, "pvlr/threshold/no_such_label/set", "0.5")
    publish(watcher, "pvlr/a.b/enabled/set", "OFF")
    publish(watcher, "pvlr/threshold/dining_table/set", "0.25")
    watcher.until(lambda: len(asked) == 2)
    assert asked == [("a.b", False), {"dining table": 0.25}]
    refused = [
        record.getMessage() for record in caplog.records if "is refused" in record.getMessage()
    ]
    assert len(refused) == 2 * len(rubbish) + 2
    assert max(map(len, refused)) < 400


def test_without_the_setting_there_are_no_commands(broker, make_listener, make_sink):
    site = SiteStatus({"door": ["car"]}, {"door": CameraStatus(True, True)}, {"car": 0.5})
    sink = make_sink(site, discovery=True)
    asked = []
    sink.sink.obey(Commands(asked.append, lambda *args: asked.append(args)))
    watcher = make_listener(broker)
    watcher.until(lambda: DEVICE in newest(watcher))
    publish(watcher, "pvlr/door/enabled/set", "OFF")
    sink.submit(make_event(0, label="car"))
    watcher.until(lambda: newest(watcher).get("pvlr/door/car/state") == "ON")
    assert not asked
    assert "enabled" not in components(watcher)
    assert not any("threshold" in topic for topic in newest(watcher))


def test_a_command_switches_a_camera_and_survives_a_restart(broker, tmp_path, plan, make_listener):
    file, state = tmp_path / "site.yaml", State(tmp_path / "state")
    file.write_text(
        f"plan: {plan}\nthreads: 1\ncameras:\n  door: test://  # the only one\nevents: {{labels: [cat]}}\nsinks:\n"
        f'  - {{kind: mqtt, url: "mqtt://127.0.0.1:{broker.port}", discovery: true, commands: true, queue: q}}\n'
    )
    written = file.read_bytes()
    watcher = make_listener(broker, "pvlr/#")
    for text, started in (("OFF", "ON"), ("ON", "OFF")):
        watcher.messages.clear()
        site = Site(load_config(file), changes=state.read())
        control = Control(site.tagger, site, state)
        running = threading.Thread(target=site.run, daemon=True)
        running.start()
        shown = {"pvlr/door/enabled": started, "pvlr/door/availability": "online"}
        watcher.until(lambda shown=shown: shown.items() <= newest(watcher).items())
        publish(watcher, "pvlr/door/enabled/set", text)
        publish(watcher, "pvlr/threshold/cat/set", "0.25")
        watcher.until(lambda text=text: newest(watcher)["pvlr/door/enabled"] == text)
        watcher.until(lambda: newest(watcher)["pvlr/threshold/cat"] == "0.25")
        until(
            lambda text=text, site=site: (
                site.cameras["door"] == {"OFF": "paused", "ON": "live"}[text]
            )
        )
        assert control.thresholds.at("cat").value == 0.25
        site.stop()
        running.join()
    assert file.read_bytes() == written
    assert state.read() == Changes(
        thresholds={"cat": 0.25}, cameras={"door": CameraChange(enabled=True)}
    )


def test_the_snapshot_of_an_event_is_an_image(broker, tmp_path, plan, make_listener):
    sink = {
        "kind": "mqtt",
        "url": f"mqtt://127.0.0.1:{broker.port}",
        "discovery": True,
        "image": True,
    }
    events = {
        "labels": ["cat"],
        "threshold": 0.0,
        "margin": 0.0,
        "min_duration": 0.0,
        "snapshots": str(tmp_path),
    }
    raw = {"plan": str(plan), "threads": 1, "cameras": {"door": "test://"}, "events": events}
    site = Site(
        SiteConfig.parse({**raw, "sinks": [sink | {"queue": str(tmp_path / "q")}]}, source="test")
    )
    seen = []
    watcher = make_listener(broker, "nothing")
    watcher._client.on_message = lambda client, data, message: seen.append(bytes(message.payload))
    watcher._client.subscribe("pvlr/door/image", 1)
    running = threading.Thread(target=site.run, daemon=True)
    running.start()
    watcher.until(lambda: seen)
    site.stop()
    running.join()
    image = cv2.imdecode(np.frombuffer(seen[0], np.uint8), cv2.IMREAD_COLOR)
    assert image.shape == (720, 1280, 3)


@pytest.mark.slow
def test_home_assistant_itself(tmp_path):
    python = os.environ.get("PVLR_HOME_ASSISTANT")
    if not python:
        pytest.skip(
            "PVLR_HOME_ASSISTANT is not the Python of an environment with pytest-homeassistant-custom-component"
        )
    home = HomeAssistant(Topics("pvlr", "homeassistant"), discovery=True, image=True, commands=True)
    labels, site, groups = (
        ["car", "dining table"],
        {"car": 0.5},
        {"Gate state": ["car", "dining table"]},
    )
    status = SiteStatus({"door": labels}, {"door": CameraStatus(True, True)}, site, groups)
    first, whole = home.devices(status).values()
    second = next(iter(home.devices(SiteStatus({"door": ["car", "pen"]}, {}, site)).values()))
    gone = {
        name: platform
        for name, platform in first.platforms.items()
        if name not in second.components
    }
    device = {
        "topic": first.topic,
        "config": first.config({}),
        "migrate": MIGRATE,
        "other": second.config(gone),
    }
    device |= {"site_topic": whole.topic, "site": whole.config({})}
    script = tmp_path / "test_it.py"  # out of reach of our settings of pytest
    script.write_text(Path(__file__).with_name("in_home_assistant.py").read_text())
    options = ["-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", "--noconftest"]
    command = [python, "-m", "pytest", *options, script]
    blueprint = (Path(__file__).parents[4] / "docs/home_assistant/report.yaml").read_text()
    environment = {**os.environ, "DEVICE": json.dumps(device), "BLUEPRINT": blueprint}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]
    assert "3 passed" in done.stdout
