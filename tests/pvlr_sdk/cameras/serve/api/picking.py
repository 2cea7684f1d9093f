"""How tests pick frames as examples of a label, and watch the page's messages."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

MUG = quote("my mug")


def post(served: Any, path: str, **body: Any) -> Any:
    return served.ask("POST", path, json.dumps(body), {"Content-Type": "application/json"})


def pick(
    served: Any, camera: str, count: int, label: str = "my mug", is_positive: bool | None = None
) -> Any:
    """Pick so many frames of a camera: by default as what they are, and the door shows the label."""
    if is_positive is None:
        is_positive = camera == "door"
    while count:
        answer = post(
            served, "/v1/teach/examples", camera=camera, label=label, **{"is": is_positive}
        )
        if answer.status == 200:
            count -= 1
        else:  # no frame yet, or the same as before
            assert answer.status == 503 or answer.json["argument"] == "camera", answer.json
            time.sleep(0.02)
    return answer.json


def labels(served: Any) -> list[str]:
    return [one["label"] for one in served.get("/v1/labels").json["labels"]]


def live(socket: Any, condition: Callable[[Any], Any]) -> Any:
    """Acknowledge frames until a message, or the header of a frame, is what a test waits for."""
    end = time.monotonic() + 20
    while True:
        data = socket.recv(end - time.monotonic())
        if isinstance(data, bytes):
            message = json.loads(data[4 : 4 + int.from_bytes(data[:4], "big")])
            socket.send(json.dumps({"kind": "shown", "camera": message["camera"]}))
        else:
            message = json.loads(data)
        if condition(message):
            return message
