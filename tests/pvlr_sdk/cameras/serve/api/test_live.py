"""The page's WebSocket: pictures at the browser's own pace, attention maps, events, and what browsers do wrong."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack

import cv2
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.pvlr_sdk.cameras.serve.conftest import PATTERN


class Browser:
    """One side of the socket, that reads on until it has what a test waits for."""

    def __init__(self, served) -> None:
        self._connection = connect(f"ws://127.0.0.1:{served.port}/v1/live")

    def __enter__(self) -> Browser:
        self.socket = self._connection.__enter__()
        self.hello = self.message("hello")
        return self

    def __exit__(self, *_) -> None:
        self._connection.__exit__(None, None, None)

    def say(self, **wish) -> None:
        self.socket.send(json.dumps(wish))

    def message(self, kind: str, seconds: float = 10.0) -> dict:
        end = time.monotonic() + seconds
        while True:
            data = self.socket.recv(end - time.monotonic())
            if isinstance(data, str) and (message := json.loads(data))["kind"] == kind:
                return message

    def picture(self, seconds: float = 10.0) -> tuple[dict, bytes]:
        end = time.monotonic() + seconds
        while True:
            data = self.socket.recv(end - time.monotonic())
            if isinstance(data, bytes):
                length = int.from_bytes(data[:4], "big")
                return json.loads(data[4 : 4 + length]), data[4 + length :]

    def pictures_within(self, seconds: float) -> int:
        count, end = 0, time.monotonic() + seconds
        try:
            while True:
                self.picture(end - time.monotonic())
                count += 1
        except TimeoutError:
            return count


@pytest.mark.slow
def test_pictures_move_as_fast_as_they_are_shown(serve, tagger):
    served = serve(PATTERN)
    with Browser(served) as browser:
        about = {"labels": tagger.labels, "open": False, "taught": [], "regions": {"door": {}}}
        about |= {"names": {label: label for label in tagger.labels}}
        assert browser.message("labels") == {"kind": "labels", **about}
        door = {
            "name": "door",
            "uri": "test://?size=64x48&fps=30&seed=0",
            "region": None,
            "regions": {},
        }
        assert browser.hello["cameras"] == [door]
        header, jpeg = browser.picture()
        assert header["camera"] == "door"
        pixels = cv2.imdecode(np.frombuffer(jpeg, np.uint8), 1)
        assert pixels.shape == (48, 64, 3)
        # Only the labels that the site watches, with the thresholds of its events, the largest margins first.
        assert sorted(label for label, _, _ in header["tags"]) == ["cat", "person"]
        margins = [score - threshold for _, score, threshold in header["tags"]]
        assert margins == sorted(margins, reverse=True)
        assert {label: threshold for label, _, threshold in header["tags"]}["cat"] == 0
        assert browser.pictures_within(1.0) == 0  # it has not shown the first one yet
        moments = []
        for _ in range(12):
            browser.say(kind="shown", camera="door")
            header, other = browser.picture()
            moments.append(header["time"])
        assert moments == sorted(set(moments))
        assert not np.array_equal(cv2.imdecode(np.frombuffer(other, np.uint8), 1), pixels)
        # Not more than twelve a second, of thirty.
        assert moments[-1] - moments[0] > 11 * 0.07


@pytest.mark.slow
def test_a_browser_that_reads_nothing_stops_no_camera_and_no_other_browser(serve):
    served = serve({"door": "test://?fps=30&size=1280x720"})
    with ExitStack() as stack:
        for _ in range(3):
            lazy = stack.enter_context(Browser(served))
            for _ in range(200):
                lazy.say(kind="shown", camera="door")  # asks for all and takes none
        good = stack.enter_context(Browser(served))
        before, began = served.site.stats()["cameras"]["door"]["tagged"], time.monotonic()
        shown = 0
        while time.monotonic() - began < 2:
            good.picture()
            good.say(kind="shown", camera="door")
            shown += 1
        tagged = served.site.stats()["cameras"]["door"]["tagged"] - before
    assert shown > 10
    assert tagged > 30


def test_a_label_whose_map_is_wanted_comes_with_its_score(serve, monkeypatch):
    monkeypatch.setattr("pvlr_sdk.cameras.serve.api.live_feed._SHOWN", 1)
    served = serve(PATTERN)
    with Browser(served) as browser:
        header, _ = browser.picture()
        ((best, _, _),) = header["tags"]
        (other,) = {"cat", "person"} - {best}
        browser.say(kind="map", camera="door", label=other)
        browser.say(kind="shown", camera="door")
        header, _ = browser.picture()
        assert [label for label, _, _ in header["tags"]] == [best, other]
        browser.say(kind="map", camera="door", label=None)
        for pinned, expected in ((other, [best, other]), ("not yet there", [best]), (None, [best])):
            browser.say(kind="pin", camera="door", label=pinned)
            for _ in range(2):
                browser.say(kind="shown", camera="door")
                header, _ = browser.picture()
            assert [label for label, _, _ in header["tags"]] == expected
            assert "map" not in header


@pytest.mark.slow
def test_events_stats_and_history(serve):
    lost = {"uri": "test://?fps=30&size=64x48&freeze_after=40", "timeout": 0.6}
    served = serve({"door": lost})
    with Browser(served) as browser:
        events = browser.hello["events"]
        while len(events) < 4:
            events += browser.message("events")["events"]
        assert [event["event"] for event in events[:4]] == ["on", "on", "off", "off"]
        assert events == [event.to_dict() for event in served.site.events()][: len(events)]
        while (stats := browser.message("stats"))["cameras"]["door"]["state"] != "lost":
            pass
        assert stats["cameras"]["door"]["reason"].startswith(
            "expected the next frame, got none for 0.6 s"
        )
        while not stats["second"]:
            stats = browser.message("stats")
    with Browser(served) as late:
        history = late.hello["history"]
        rows = np.array(history["cameras"]["door"], float)
        assert len(history["times"]) == len(rows) >= 2
        assert rows[:, 2].sum() <= served.site.stats()["cameras"]["door"]["tagged"]
        assert rows[:, 2].max() > 1
        assert 0 < np.nanmin(rows[:, 0]) <= np.nanmax(rows[:, 1]) < 5
        assert late.hello["events"][: len(events)] == events


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "hello", "{}", "[]", '{"kind": "stop"}', '{"kind": "shown", "camera": "none"}',
        '{"kind": "map", "camera": "door", "label": "act"}', '{"kind": "pin", "camera": "none"}',
        '{"kind": "pause", "x": 1}', '{"kind": "pause", "on": true, "on": false}', b"\x00\xff", "x" * 5000,
        '{"kind": "pause", "camera": {"a": {}}}', '{"kind": "pause", "label": "' + "," * 100 + '"}',
    ],
)  # fmt: skip
def test_what_is_no_message_ends_the_connection(serve, text):
    served = serve(PATTERN)
    with Browser(served) as browser:
        browser.socket.send(text)
        with pytest.raises(ConnectionClosed) as closed:
            browser.message("never")
        assert closed.value.rcvd.code in (1008, 1009)
    assert served.get("/healthz").status == 200
    served.until(lambda: b"pvlr_viewers 0.0" in served.get("/metrics").body)


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"\xff\xfe", b"\xed\xa0\x80"])
def test_invalid_utf_8_closes_the_connection(serve, data, caplog):
    """It was a traceback in the log."""
    served = serve(PATTERN)
    with Browser(served) as browser:
        browser.socket.socket.sendall(bytes([0x81, 0x80 + len(data)]) + bytes(4) + data)
        with pytest.raises(ConnectionClosed) as closed:
            browser.message("never")
        assert closed.value.rcvd.code == 1007
    assert "Traceback" not in caplog.text
    served.until(lambda: b"pvlr_viewers 0.0" in served.get("/metrics").body)


def test_browsers_are_counted_and_bounded(serve, monkeypatch):
    monkeypatch.setattr("pvlr_sdk.cameras.serve.api.live._MAX_VIEWERS", 2)
    served = serve()
    with Browser(served), Browser(served):
        assert b"pvlr_viewers 2.0" in served.get("/metrics").body
        with pytest.raises(ConnectionClosed) as closed, Browser(served):
            pass
        assert closed.value.rcvd.code == 1013
    served.until(lambda: b"pvlr_viewers 0.0" in served.get("/metrics").body)


def test_the_end_closes_the_connection(serve):
    served = serve(PATTERN)
    with Browser(served) as browser:
        began = time.monotonic()
        served.close()
        with pytest.raises(ConnectionClosed) as closed:
            browser.message("never")
        assert time.monotonic() - began < 1.5
        assert closed.value.rcvd.code in (1001, 1012)
