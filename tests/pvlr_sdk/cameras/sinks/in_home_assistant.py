"""Runs in the environment of Home Assistant: our configurations, read by its own MQTT integration."""

import json
import os
from datetime import timedelta

from homeassistant.helpers import entity_registry
from homeassistant.setup import async_setup_component
from homeassistant.util import dt
from pytest_homeassistant_custom_component.common import async_fire_mqtt_message, async_mock_service

DEVICE = json.loads(os.environ["DEVICE"])
OLD = "homeassistant/binary_sensor/pvlr_door/car/config"
EARLIER = {
    "name": "car",
    "unique_id": "pvlr_door_car",
    "state_topic": "pvlr/door/car/state",
    "availability_topic": "pvlr/status",
    "device": {"identifiers": ["pvlr_door"], "name": "door", "manufacturer": "pvlr_sdk"},
}


async def send(hass, *messages):
    for topic, text in messages:
        async_fire_mqtt_message(hass, topic, text)
        await hass.async_block_till_done()


async def test_entities(hass, mqtt_mock):
    await send(hass, (DEVICE["topic"], DEVICE["config"]), (DEVICE["site_topic"], DEVICE["site"]))
    await send(hass, ("pvlr/status", "online"), ("pvlr/door/availability", "online"))
    event = {"camera": "door", "label": "car", "state": "on", "score": 0.973}
    await send(hass, ("pvlr/door/car/state", "ON"), ("pvlr/door/car/score", "97.3"))
    await send(hass, ("pvlr/door/events", json.dumps(event)))
    await send(hass, ("pvlr/door/enabled", "ON"), ("pvlr/threshold/car", "0.5"))
    gate = hass.states.get("sensor.door_gate_state")
    assert (gate.state, gate.attributes["options"]) == (
        "unknown",
        ["car", "dining table", "unknown"],
    )
    for state in ("dining table", "car", "unknown", "car", "rubbish"):
        await send(hass, ("pvlr/door/Gate_state/group", state))
        assert hass.states.get("sensor.door_gate_state").state == (
            "car" if state == "rubbish" else state
        )
    assert hass.states.get("binary_sensor.door_car").state == "on"
    assert hass.states.get("sensor.door_car_score").state == "97.3"
    attributes = hass.states.get("event.door_events").attributes
    assert (attributes["event_type"], attributes["label"], attributes["score"]) == (
        "on",
        "car",
        0.973,
    )
    assert hass.states.get("switch.door_tagging").state == "on"
    assert hass.states.get("number.pvlr_car_threshold").state == "0.5"
    assert hass.states.get("image.door_last_event")
    await hass.services.async_call(
        "switch", "turn_off", {"entity_id": "switch.door_tagging"}, blocking=True
    )
    mqtt_mock.async_publish.assert_called_with("pvlr/door/enabled/set", "OFF", 0, False)
    number = {"entity_id": "number.pvlr_car_threshold", "value": 0.25}
    await hass.services.async_call("number", "set_value", number, blocking=True)
    mqtt_mock.async_publish.assert_called_with("pvlr/threshold/car/set", "0.25", 0, False)
    await send(hass, ("pvlr/door/availability", "offline"))
    assert hass.states.get("binary_sensor.door_car").state == "unavailable"
    await send(hass, ("pvlr/door/availability", "online"))
    await send(hass, (DEVICE["topic"], DEVICE["other"]))
    assert hass.states.get("binary_sensor.door_pen")
    assert hass.states.get("binary_sensor.door_dining_table") is None
    await send(hass, ("pvlr/status", "offline"))
    assert hass.states.get("binary_sensor.door_car").state == "unavailable"


async def test_migration_keeps_the_name_that_a_user_gave(hass, mqtt_mock):
    await send(hass, (OLD, json.dumps(EARLIER)))
    registry = entity_registry.async_get(hass)
    entity = registry.async_get_entity_id("binary_sensor", "mqtt", "pvlr_door_car")
    registry.async_update_entity(entity, name="My car")
    await send(hass, (OLD, DEVICE["migrate"]), (DEVICE["topic"], DEVICE["config"]), (OLD, ""))
    assert registry.async_get(entity).name == "My car"
    assert hass.states.get(entity)


async def test_the_blueprint_reports_a_label(hass, tmp_path):
    folder = tmp_path / "blueprints/automation/pvlr"
    folder.mkdir(parents=True)
    (folder / "report.yaml").write_text(os.environ["BLUEPRINT"])
    hass.config.config_dir = str(tmp_path)
    inputs = {"label": "binary_sensor.door_car", "picture": "image.door_last_event"}
    uses = {"use_blueprint": {"path": "pvlr/report.yaml", "input": inputs}}
    later = {
        name: f"{dt.now() + timedelta(hours=hours):%H:%M:%S}"
        for name, hours in (("after", 2), ("before", 3))
    }
    never = {"use_blueprint": {"path": "pvlr/report.yaml", "input": inputs | later}}
    calls = async_mock_service(hass, "notify", "notify")
    hass.states.async_set("binary_sensor.door_car", "off")
    assert await async_setup_component(hass, "automation", {"automation": [uses, never]})
    for state in ("on", "unavailable", "on"):
        hass.states.async_set("binary_sensor.door_car", state, {"friendly_name": "door car"})
        await hass.async_block_till_done()
    (call,) = calls
    assert call.data == {
        "message": "door car",
        "data": {"image": "/api/image_proxy/image.door_last_event"},
    }
