"""The node of docs/ros2 publishes what ROS 2 can send: its messages, serialised and read by rosbags, are our tags."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from pvlr_sdk import Tagger

typesys = pytest.importorskip("rosbags.typesys", reason="rosbags is not installed")

NODE = Path(__file__).parents[4] / "docs/ros2/tag_node.py"
# vision_msgs 4, which rosbags does not have; from docs.ros.org.
DEFINITIONS = {
    "vision_msgs/msg/ObjectHypothesis": "string class_id\nfloat64 score",
    "vision_msgs/msg/Classification": "std_msgs/Header header\nvision_msgs/ObjectHypothesis[] results",
}


class FakeNode:
    """The part of rclpy's Node that the example uses; ``parameters`` are those of the command line."""

    parameters: ClassVar[dict[str, str]] = {}

    def __init__(self, name: str) -> None:
        self.published: list[Any] = []
        self.logged: list[str] = []
        self.subscribed: tuple[Any, ...] = ()

    def declare_parameter(self, name: str, value: str) -> SimpleNamespace:
        return SimpleNamespace(value=self.parameters.get(name, value))

    def create_publisher(self, kind: type, topic: str, depth: int) -> SimpleNamespace:
        assert (kind.__msgtype__, topic) == ("vision_msgs/msg/Classification", "tags")
        return SimpleNamespace(publish=self.published.append)

    def create_subscription(self, *subscribed: Any) -> None:
        self.subscribed = subscribed

    def get_logger(self) -> SimpleNamespace:
        return SimpleNamespace(error=lambda text, once: self.logged.append(text))


@pytest.fixture
def store():
    store = typesys.get_typestore(typesys.Stores.ROS2_JAZZY)
    for name, text in DEFINITIONS.items():
        store.register(typesys.get_types_from_msg(text, name))
    return store


@pytest.fixture
def node(store, monkeypatch) -> type:
    """The node's class, with rosbags' messages and without ROS."""
    modules = {
        "rclpy": {},
        "rclpy.node": {"Node": FakeNode},
        "rclpy.qos": {"qos_profile_sensor_data": "sensor data"},
        "sensor_msgs": {},
        "sensor_msgs.msg": {"Image": store.types["sensor_msgs/msg/Image"]},
        "vision_msgs": {},
        "vision_msgs.msg": {name.rpartition("/")[2]: store.types[name] for name in DEFINITIONS},
    }
    for name, contents in modules.items():
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
    spec = importlib.util.spec_from_file_location("tag_node", NODE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.TagNode


def image(store, frame: np.ndarray, encoding: str, padding: int = 0):
    """An image as a driver sends it, with ``padding`` bytes after each row."""
    types = store.types
    header = types["std_msgs/msg/Header"](
        stamp=types["builtin_interfaces/msg/Time"](sec=5, nanosec=6), frame_id="camera"
    )
    height, width = frame.shape[:2]
    rows = np.pad(frame.reshape(height, -1), ((0, 0), (0, padding)))
    return types["sensor_msgs/msg/Image"](
        header=header,
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=rows.shape[1],
        data=rows.ravel(),
    )


@pytest.mark.slow
@pytest.mark.parametrize("words", ["", "person, rocket"])
def test_messages_are_our_tags(store, node, photo, words):
    FakeNode.parameters = {"words": words}
    one = node()
    kind, topic, callback, quality = one.subscribed
    assert (kind.__msgtype__, topic, quality) == ("sensor_msgs/msg/Image", "image", "sensor data")
    black = np.zeros_like(photo)
    for given in (
        image(store, photo, "bgr8"),
        image(store, photo[:, :, ::-1], "rgb8", padding=8),
        image(store, black, "bgr8"),
        image(store, photo, "mono16"),
    ):
        callback(given)
    with Tagger(
        None, words=["person", "rocket"] if words else None, operating_point="precise"
    ) as ours:
        expected = [
            [(tag.label, tag.score) for tag in ours.predict(frame)]
            for frame in (photo, photo, black)
        ]
    assert expected[0]
    name = "vision_msgs/msg/Classification"
    for message, tags in zip(one.published, expected, strict=True):
        read = store.deserialize_cdr(store.serialize_cdr(message, name), name)
        assert [(result.class_id, result.score) for result in read.results] == tags
        assert (read.header.stamp.sec, read.header.stamp.nanosec, read.header.frame_id) == (
            5,
            6,
            "camera",
        )
        # rclpy accepts no other types.
        assert {type(result.score) for result in message.results} <= {float}
    assert len(one.logged) == 1
    assert "mono16" in one.logged[0]
