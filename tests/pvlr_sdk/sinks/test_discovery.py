"""Home Assistant's discovery over a real Mosquitto: sensors for each label, which may change."""

from __future__ import annotations

import json

from pvlr_sdk.sinks import DiskQueue, SinkWorker
from pvlr_sdk.sinks.mqtt import MqttSettings, MqttSink
from pvlr_sdk.watch import Site, SiteConfig
from tests.pvlr_sdk.sinks.events import make_event


def worker(settings, folder, labels) -> SinkWorker:
    return SinkWorker(MqttSink(settings, labels), DiskQueue(folder / "q.sqlite"), longest_pause=0.5)


def test_home_assistant_finds_the_labels_and_their_states(broker, tmp_path, make_listener):
    settings = MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}", discovery=True)
    sink = worker(settings, tmp_path, {"door": ["car", "dining table"]})
    sink.submit(make_event(0, label="dining table"))
    watcher = make_listener(broker)
    states = {"pvlr/door/car/state": "OFF", "pvlr/door/dining_table/state": "ON"}
    configs = {f"homeassistant/binary_sensor/pvlr_door/{label}/config" for label in ("car", "dining_table")}

    def seen() -> dict[str, str]:
        return {topic: text for topic, text, _ in watcher.messages}

    # Retained messages arrive in no particular order.
    watcher.until(lambda: states.items() <= seen().items() and configs <= seen().keys())
    car, table = (json.loads(seen()[topic]) for topic in sorted(configs))
    assert table["name"] == "dining table"
    assert table["state_topic"] == "pvlr/door/dining_table/state"
    assert table["availability_topic"] == "pvlr/status"
    assert table["unique_id"] != car["unique_id"]
    sink.submit(make_event(1, label="dining table"))
    watcher.until(lambda: ("pvlr/door/dining_table/state", "OFF") in [m[:2] for m in watcher.messages[-2:]])
    sink.close(1)
    watcher.close()
    # Home Assistant sees the same after its restart: the broker retains all of it.
    again = make_listener(broker, "homeassistant/#")
    again.until(lambda: len(again.messages) == 2)
    assert all(retained for _, _, retained in again.messages)
    again.close()


def test_home_assistant_learns_of_other_labels_at_once(broker, tmp_path, make_listener):
    settings = MqttSettings(url=f"mqtt://127.0.0.1:{broker.port}", discovery=True)
    sink = worker(settings, tmp_path, {"door": ["car", "cat"]})
    watcher = make_listener(broker)
    sink.submit(make_event(0, label="car"))

    def seen() -> dict[str, str]:
        return {topic: text for topic, text, _ in watcher.messages}

    def config(label: str) -> str:
        return f"homeassistant/binary_sensor/pvlr_door/{label}/config"

    watcher.until(lambda: seen().get("pvlr/door/car/state") == "ON")
    sink.announce({"door": ["car", "my mug"]})
    watcher.until(lambda: seen().get("pvlr/door/my_mug/state") == "OFF" and seen().get(config("cat")) == "")
    assert json.loads(seen()[config("my_mug")])["name"] == "my mug"
    assert seen()["pvlr/door/car/state"] == "ON"
    sink.submit(make_event(2, label="my mug"))
    watcher.until(lambda: seen()["pvlr/door/my_mug/state"] == "ON")
    count = len(watcher.messages)
    sink.announce({"door": ["car", "my mug"]})
    sink.submit(make_event(3, label="my mug"))
    watcher.until(lambda: seen()["pvlr/door/my_mug/state"] == "OFF")
    assert len(watcher.messages) == count + 2  # nothing is announced again

    # What changes while the broker is away is there when it is back; it keeps nothing of labels that are gone.
    broker.stop()
    sink.announce({"door": ["car", "pen"]})
    broker.start()
    again = make_listener(broker)
    again.until(lambda: {config("pen"), config("car")} <= {topic for topic, text, _ in again.messages if text}, 30)
    sink.close(1)
    again.close()
    watcher.close()
    late = make_listener(broker, "homeassistant/#")
    late.until(lambda: len(late.messages) == 2)
    assert {topic for topic, text, _ in late.messages if text} == {config("car"), config("pen")}
    late.close()


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
    watcher.until(lambda: len(watcher.messages) == 1)
    site.configure(site.config.events.model_copy(update={"labels": ("rocket",)}))
    watcher.until(lambda: len(watcher.messages) == 3)
    found = {topic.split("/")[-2]: text for topic, text, _ in watcher.messages}
    assert (found["cat"], json.loads(found["rocket"])["name"]) == ("", "rocket")
    site.stop()
    site.run()
    watcher.close()
