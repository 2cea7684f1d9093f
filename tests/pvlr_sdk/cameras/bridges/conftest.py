"""The brokers of the MQTT sink's tests."""

from tests.pvlr_sdk.cameras.sinks.conftest import make_broker

__all__ = ["make_broker"]
