"""Runs in the environment of Home Assistant: our configurations, read by its own MQTT integration."""

import json
import os

from homeassistant.helpers import entity_registry
from pytest_homeassistant_custom_component.common import async_fire_mqtt_message

DEVICE = json.loads(os.environ["DEVICE"])
OLD = "homeassistant/binary_sensor/pvlr_door/car/config"
EARLIER = {
    "name": "car",
    "unique_id": "pvlr_door_car",
    "state_topic": DEVICE["state"],
    "availability_topic": "pvlr/status",
    "device": {"identifiers": ["pvlr_door"], "name": "door", "manufacturer": "pvlr_sdk"},
}


async def send(hass, *messages):
    for topic, text in messages:
        async_fire_mqtt_message(hass, topic, text)
        await hass.async_block_till_done()


async def test_entities(hass, mqtt_mock):
    await send(hass, (DEVICE["topic"], DEVICE["config"]), ("pvlr/status", "online"))
    event = {"camera": "door", "label": "car", "state": "on", "score": 0.973}
    await send(hass, (DEVICE["state"], "ON"), (DEVICE["score"], "97.3"), ("pvlr/door/events", json.dumps(event)))
    assert hass.states.get("binary_sensor.door_car").state == "on"
    assert hass.states.get("sensor.door_car_score").state == "97.3"
    attributes = hass.states.get("event.door_events").attributes
    assert (attributes["event_type"], attributes["label"], attributes["score"]) == ("on", "car", 0.973)
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
