"""A ROS 2 node that publishes the tags of a camera's images as vision_msgs/Classification, on the topic ``tags``.

python3 tag_node.py --ros-args -r image:=/camera/image_raw -p words:="forklift, crate"
"""

from __future__ import annotations

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from vision_msgs.msg import Classification, ObjectHypothesis

from pvlr_sdk import Tagger

COLORS = {"rgb8": "rgb", "bgr8": "bgr"}


class TagNode(Node):
    """Tags each image; while one is tagged, newer ones replace those that wait."""

    def __init__(self) -> None:
        super().__init__("pvlr")
        plan = self.declare_parameter("plan", "").value
        words = [
            word.strip()
            for word in self.declare_parameter("words", "").value.split(",")
            if word.strip()
        ]
        self.tagger = Tagger(plan or None, words=words or None, operating_point="precise")
        self.tags = self.create_publisher(Classification, "tags", 10)
        self.create_subscription(Image, "image", self.tag, qos_profile_sensor_data)

    def tag(self, image: Image) -> None:
        """Publish the tags of an image, the best first, with its header; none is an empty list."""
        if image.encoding not in COLORS:
            self.get_logger().error(
                f"{image.encoding} is not one of {', '.join(COLORS)}", once=True
            )
            return
        # which may be padded
        rows = np.frombuffer(image.data, np.uint8).reshape(image.height, image.step)
        frame = rows[:, : 3 * image.width].reshape(image.height, image.width, 3)
        found = self.tagger.predict(frame, color=COLORS[image.encoding])
        results = [ObjectHypothesis(class_id=tag.label, score=tag.score) for tag in found]
        self.tags.publish(Classification(header=image.header, results=results))


def main() -> None:
    """Run the node until it is interrupted."""
    rclpy.init()
    rclpy.spin(TagNode())


if __name__ == "__main__":
    main()
