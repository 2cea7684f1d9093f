"""What MQTT and Home Assistant get of groups of labels that exclude each other."""

from __future__ import annotations

from pvlr_sdk.cameras.events import EventDetector, EventSettings
from pvlr_sdk.cameras.sinks.home_assistant import HomeAssistant, Topics
from pvlr_sdk.cameras.sinks.worker import SiteStatus
from tests.pvlr_sdk.cameras.sinks.test_discovery import DEVICE, components, newest


def test_the_state_of_a_group_is_a_sensor(broker, make_sink, make_listener):
    gate = {"gate": ("gate open", "gate shut")}
    site = SiteStatus({"door": ["gate open", "gate shut", "car"], "yard": ["car"]}, groups=gate)
    sink = make_sink(site, discovery=True)
    watcher = make_listener(broker)
    shown = "pvlr/door/gate/group"
    watcher.until(lambda: newest(watcher).get(shown) == "unknown" and DEVICE in newest(watcher))
    sensor = components(watcher)["gate_group"]
    assert (sensor["device_class"], sensor["options"]) == (
        "enum",
        ["gate open", "gate shut", "unknown"],
    )
    assert not [topic for topic in newest(watcher) if topic.startswith("pvlr/yard/gate")]
    detector = EventDetector(
        "door",
        site.labels["door"],
        [0.5] * 3,
        EventSettings(smoothing=0, min_duration=0, min_gap=0, groups=gate),
    )
    for at, scores in enumerate([(0.9, 0, 0.9), (0.1, 0.9, 0), (0, 0, 0)]):
        for event in detector.update(at, at, scores):
            sink.submit(event)
    told = ["unknown", "gate open", "gate shut", "unknown"]
    watcher.until(lambda: [text for topic, text, _ in watcher.messages if topic == shown] == told)
    sink.submit(detector.update(3, 3, (0.9, 0, 0))[0])
    watcher.until(lambda: newest(watcher)[shown] == "gate open")
    sink.sink.announce(SiteStatus({"door": ["gate shut", "car"]}, groups={"gate": ("gate shut",)}))
    watcher.until(lambda: newest(watcher)[shown] == "unknown")
    sink.sink.announce(
        SiteStatus({"door": ["gate shut", "car"]}, groups={"bay": ("gate shut", "car")})
    )
    watcher.until(lambda: "bay_group" in components(watcher))


def test_entities_have_the_names_of_the_site():
    site = SiteStatus(
        {"door": ["car"]}, thresholds={"car": 0.5}, groups={}, names={"car": "Auto", "cat": "Katze"}
    )
    shown = HomeAssistant(Topics("pvlr", "homeassistant"), True, False, True).devices(site)
    named = {
        name: part["name"] for device in shown.values() for name, part in device.components.items()
    }
    assert named["car"] == "Auto"
    assert (named["car_score"], named["car_threshold"]) == ("Auto score", "Auto threshold")
