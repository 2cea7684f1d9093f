"""A server that answers as Frigate's HTTP API does, and the messages of its MQTT documentation."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import cv2
import numpy as np

_ROUTE = re.compile(r"/api/events/([^/]+)/(snapshot\.jpg|sub_label|attributes)")


class Frigate(ThreadingHTTPServer):
    """Routes of docs/static/frigate-api.yaml, with the checks of its schemas.

    ``sub_labels`` and ``attributes`` have what was accepted, in order. ``answers`` are statuses of the next requests.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.sub_labels: list[tuple[str, str, float]] = []
        self.attributes: list[tuple[str, list[str]]] = []
        self.answers: list[int] = []
        self.answer: Callable[[str], int] = lambda what: 200
        self.held = threading.Event()  # while it is cleared, responses wait
        self.held.set()
        frame = np.random.default_rng(1).integers(0, 255, (48, 64, 3), np.uint8)
        self.snapshot = cv2.imencode(".jpg", frame)[1].tobytes()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Frigate

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _respond(self, body: Any = None) -> None:
        split = urlsplit(self.path)
        found = _ROUTE.fullmatch(split.path)
        status = (
            self.server.answers.pop(0) if self.server.answers else self.server.answer(split.path)
        )
        self.server.held.wait(60)
        reply = json.dumps({"success": status == 200, "message": ""}).encode()
        if found is None or (found[2] == "snapshot.jpg") != (body is None):
            status = 404
        elif status == 200 and body is None:
            wanted = {key: values[0] for key, values in parse_qs(split.query).items()}
            # Overlays of Frigate would be tagged too.
            assert wanted == {"crop": "1", "bbox": "0", "timestamp": "0"}
            reply = self.server.snapshot
        elif status == 200 and found[2] == "sub_label":
            score = body["subLabelScore"]
            if (
                set(body) == {"subLabel", "subLabelScore"}
                and len(body["subLabel"]) <= 100
                and 0 < score <= 1
            ):
                self.server.sub_labels.append((found[1], body["subLabel"], score))
            else:
                status = 422
        elif status == 200:
            assert set(body) == {"attributes"}
            self.server.attributes.append((found[1], body["attributes"]))
        self.send_response(status)
        self.send_header("Content-Length", str(len(reply)))
        self.end_headers()
        self.wfile.write(reply)

    def log_message(self, *_: object) -> None:
        pass


def message(number: int, kind: str = "new", **changes: Any) -> dict[str, Any]:
    """The message of docs/integrations/mqtt.md, for another event."""
    tracked: dict[str, Any] = {
        "id": f"{1607123955 + number}.475377-mxklsc",
        "camera": "front_door",
        "frame_time": 1607123961.837752,
        "snapshot": {
            "frame_time": 1607123965.975463,
            "box": [415, 489, 528, 700],
            "area": 12728,
            "region": [260, 446, 660, 846],
            "score": 0.77546,
            "attributes": [],
        },
        "label": "person",
        "sub_label": None,
        "top_score": 0.958984375,
        "false_positive": False,
        "start_time": 1607123955.475377,
        "end_time": 1607123990.5 if kind == "end" else None,
        "score": 0.7890625,
        "box": [424, 500, 536, 712],
        "area": 23744,
        "ratio": 2.113207,
        "region": [264, 450, 667, 853],
        "current_zones": ["driveway"],
        "entered_zones": ["yard", "driveway"],
        "thumbnail": None,
        "has_snapshot": True,
        "has_clip": False,
        "active": True,
        "stationary": False,
        "motionless_count": 0,
        "position_changes": 2,
        "attributes": {"face": 0.64},
        "current_attributes": [{"label": "face", "box": [442, 506, 534, 524], "score": 0.86}],
        "current_estimated_speed": 0.71,
        "average_estimated_speed": 14.3,
        "velocity_angle": 180,
        "recognized_license_plate": "ABC12345",
        "recognized_license_plate_score": 0.933451,
    }
    return {"type": kind, "before": tracked, "after": {**tracked, **changes}}
