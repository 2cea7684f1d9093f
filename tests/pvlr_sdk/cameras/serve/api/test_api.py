"""The REST API over a real socket: what it answers, and what it does with uploads that are too much or nothing."""

from __future__ import annotations

import io
import socket
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.pvlr_sdk.cameras.serve.conftest import HEAD, JPEG, NOISE, jpeg

PATTERN = {
    "door": "test://?fps=30&size=64x48",
    "yard": {"uri": "http://me:s3cret@127.0.0.1:1/x", "timeout": 1},
}


def png_of(width: int, height: int) -> bytes:
    """A PNG that says it has this size and has no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["image/jpeg", "image/png", "image/webp; x=y", "application/octet-stream"]
)
def test_a_photo_is_tagged_as_the_tagger_tags_it(serve, tagger, photo, kind):
    suffix = {"image/png": ".png", "image/webp; x=y": ".webp"}.get(kind, ".jpg")
    options = [cv2.IMWRITE_WEBP_QUALITY, 101] if suffix == ".webp" else []
    data = cv2.imencode(suffix, photo, options)[1].tobytes()
    answer = serve().tag(data, kind, "?threshold=0.2&top_k=3&attention=1")
    assert answer.status == 200
    expected = tagger.predict(data, threshold=0.2, top_k=3)
    assert answer.json["tags"] == [pytest.approx(tag._asdict()) for tag in expected]
    assert (answer.json["width"], answer.json["height"]) == (512, 512)
    assert set(answer.json["timing_ms"]) == set(expected.timing)
    for tag, heat in zip(expected, answer.json["attention"], strict=True):
        assert (heat["label"], heat["rows"], heat["columns"]) == (tag.label, 32, 32)
        # The centres of the 32 x 32 cells lie between four pixels each.
        centres = expected.attention(tag.label).reshape(32, 16, 32, 16)[:, 7:9, :, 7:9].mean((1, 3))
        np.testing.assert_allclose(
            np.reshape(heat["weights"], (32, 32)), centres / centres.max(), atol=2e-3
        )


def test_a_photo_taken_on_its_side_is_turned(serve, tagger):
    from PIL import Image

    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 40, 3), np.uint8))
    exif, file = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    image.save(file, "JPEG", exif=exif)
    body = serve().tag(file.getvalue()).json
    assert (body["width"], body["height"]) == (24, 40)
    assert body["tags"] == [pytest.approx(tag._asdict()) for tag in tagger.predict(file.getvalue())]


WEBP_CANVAS = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\xff\x3f\0\xff\x3f\0"  # 16384 x 16384
PROGRESSIVE = jpeg(NOISE, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "status", "error"),
    [
        (b"", 422, "EmptyFrameError"),
        (b"hello", 422, "ImageDecodeError"),
        (JPEG[:-700], 422, "ImageDecodeError"),
        (png_of(8, 8), 422, "ImageDecodeError"),
        (png_of(60_000, 60_000), 413, "ImageSizeError"),
        (png_of(8000, 8000), 413, "ImageSizeError"),
        (WEBP_CANVAS, 413, "ImageSizeError"),
        (png_of(0, 8), 422, "ImageDecodeError"),
        (b"GIF89a" + bytes(100), 422, "ImageDecodeError"),
        (b"\xff\xd8" + b"\xff\xda" * 101, 422, "ImageDecodeError"),
        (bytes(16_000_001), 413, "ImageSizeError"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_is_no_picture_to_tag(serve, data, status, error):
    answer = serve().tag(data)
    assert (answer.status, answer.json["status"], answer.json["error"]) == (status, status, error)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert set(answer.json) == {
        "type", "title", "status", "detail", "error", "argument", "expected", "got", "hint",
    }  # fmt: skip


def test_a_progressive_jpeg_is_a_picture(serve):
    assert serve().tag(PROGRESSIVE).status == 200


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v1/tag?threshold=2", 422),
        ("POST", "/v1/tag?threshold=nan", 422),
        ("POST", "/v1/tag?top_k=0", 422),
        ("GET", "/v1/tag", 405),
        ("GET", "/v1/none", 404),
        ("GET", "/v1/events?since=yesterday", 422),
        ("GET", "/v1/events?camera=none", 404),
        ("GET", "/v1/cameras/none", 404),
        ("GET", "/v1/cameras/none/picture", 404),
        ("GET", "/page/../app.py", 404),
        ("GET", "/page/..%2fapp.py", 404),
    ],
)
def test_wrong_requests_are_problems(serve, method, path, status):
    answer = serve().ask(
        method, path, JPEG if method == "POST" else None, {"Content-Type": "image/jpeg"}
    )
    assert (answer.status, answer.json["status"]) == (status, status)
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_other_types_are_refused_unread(serve):
    answer = serve().tag(b"x" * 1000, "text/plain")
    assert answer.status == 415
    assert answer.headers["Accept"] == "image/jpeg, image/png, image/webp, multipart/form-data"


def test_an_upload_without_a_length_is_bounded_too(serve):
    served = serve(max_bytes=1000)
    assert served.tag(iter([b"x" * 600, b"x" * 600])).status == 413
    assert served.tag(iter([jpeg(NOISE[:8, :8])])).status == 200


def test_an_upload_that_trickles_is_ended(serve):
    served = serve(timeout=0.5)
    with socket.create_connection(("127.0.0.1", served.port)) as slow:
        slow.settimeout(10)
        slow.sendall(HEAD + b"Content-Length: 500\r\n\r\n")
        began = time.monotonic()
        assert (answer := slow.recv(4000)).startswith(b"HTTP/1.1 408 ")
        assert b"The image" not in answer  # settings and plans are bodies, too
        assert 0.4 < time.monotonic() - began < 3
    # half a second may be too short on a busy machine
    served.until(lambda: served.tag(JPEG).status == 200)


@pytest.mark.slow
def test_a_picture_that_takes_too_long_is_given_up_and_too_many_are_refused(serve, slow):
    served = serve(engine=slow(1.0), timeout=0.4)
    began = time.monotonic()
    with ThreadPoolExecutor(12) as callers:
        answers = list(callers.map(lambda _: served.tag(JPEG), range(12)))
    # nobody waited for the engine, which takes five seconds for ten
    assert time.monotonic() - began < 4
    details = [answer.json["detail"] for answer in answers]
    assert [answer.status for answer in answers] == [503] * 12
    assert details.count("Tagging the image took too long.") == 10
    assert all(1 <= int(answer.headers["Retry-After"]) <= 10 for answer in answers)
    # room again
    served.until(lambda: served.tag(JPEG).json["detail"] == "Tagging the image took too long.")


@pytest.mark.slow
def test_a_picture_that_ends_after_the_server_is_nobodys_error(serve, slow, caplog):
    served = serve(engine=slow(1.5), timeout=0.1)
    assert served.tag(JPEG).status == 503
    served.close()
    time.sleep(1.6)
    assert caplog.text == ""


def test_cameras_and_their_pictures(serve):
    served = serve(PATTERN)
    served.until(lambda: served.get("/v1/cameras/yard").json["state"] == "lost")
    served.until(lambda: served.get("/v1/cameras/door/picture").status == 200)
    door, yard = served.get("/v1/cameras").json["cameras"]
    assert (door["name"], door["width"], door["height"], door["reason"]) == ("door", 64, 48, "")
    assert (yard["uri"], yard["tags"], yard["width"]) == ("http://***@127.0.0.1:1/x", [], None)
    picture = served.get("/v1/cameras/door/picture")
    assert picture.headers["Content-Type"] == "image/jpeg"
    assert cv2.imdecode(np.frombuffer(picture.body, np.uint8), 1).shape == (48, 64, 3)
    heat = served.get("/v1/cameras/door/attention?label=cat").json
    assert (heat["rows"], heat["columns"], max(heat["weights"])) == (24, 32, 1)
    assert served.get("/v1/cameras/door/attention?label=act").json["error"] == "UnknownLabelError"
    assert served.get("/v1/cameras/yard/picture").status == 503


def test_pictures_are_of_a_width_for_browsers():
    from pvlr_sdk.cameras.serve.api.images import encode
    from pvlr_sdk.cameras.sources import CapturedFrame

    for shape, order, expected in (
        ((1080, 1920, 3), "bgr", (540, 960, 3)),
        ((1620, 1920), "nv12", (540, 960, 3)),
        ((7, 4000), "gray", (2, 960, 3)),
        ((480, 640, 3), "rgb", (480, 640, 3)),
    ):
        frame = CapturedFrame(np.full(shape, 90, np.uint8), order, 0.0, 0.0, None, 0)
        assert cv2.imdecode(np.frombuffer(encode(frame), np.uint8), 1).shape == expected


@pytest.mark.slow
def test_events(serve):
    served = serve(
        {
            "door": "test://?fps=30&size=64x48&frames=30",
            "yard": "test://?fps=30&size=64x48&frames=30",
        }
    )
    served.until(lambda: len(served.get("/v1/events").json["events"]) == 8)
    events = served.get("/v1/events").json["events"]
    assert events == [event.to_dict() for event in served.site.events()]
    assert {event["reason"] for event in events if event["event"] == "off"} == {
        "camera ended: the end was reached"
    }
    yard = served.get("/v1/events?camera=yard&label=cat").json["events"]
    assert [(event["camera"], event["event"]) for event in yard] == [
        ("yard", "on"),
        ("yard", "off"),
    ]
    assert served.get("/v1/events?limit=1").json["events"] == events[-1:]
    assert served.get("/v1/events?label=rocket").json["events"] == []
    between = served.site.events()[3].time + 0.001
    later = [event for event in events if event["time"] > events[3]["time"]]
    for hours, offset in ((0, "Z"), (0, "%2B00:00"), (5.5, "%2B05:30"), (-3, "-03:00")):
        moment = datetime.fromtimestamp(between + 3600 * hours, timezone.utc).replace(tzinfo=None)
        assert served.get(f"/v1/events?since={moment.isoformat()}{offset}").json["events"] == later
    assert served.get("/v1/events?since=0001-01-01T00:00:00%2B14:00").json["events"] == events
    impossible = ("2026-02-30T12:00:00Z", "9999-12-31T23:59:59-24:00")
    for wrong in ("0", "-1e9", "2026-01-31", "2026-01-31T12:00:00", *impossible):
        answer = served.get(f"/v1/events?since={wrong}").json
        assert answer["error"] == "OptionError"
        assert "value error" not in answer["detail"]
    # The cameras have ended; the server goes on.
    assert served.get("/v1/cameras/door").json["state"] == "ended"
    assert served.tag(JPEG).status == 200


def test_without_cameras(serve, tagger):
    served = serve()
    assert served.get("/v1/cameras").json == {"cameras": []}
    assert served.get("/v1/events").json == {"events": []}
    assert served.get("/v1/events?camera=x").status == 404
    assert served.get("/readyz").json == {"status": "ok", "reason": "", "cameras": {}}
    labels = served.get("/v1/labels").json
    assert labels["model"] == "tiny"
    assert [label["label"] for label in labels["labels"]] == tagger.labels


def test_health_and_metrics(serve, monkeypatch):
    served = serve(PATTERN)
    served.until(lambda: served.get("/readyz").status == 200)
    served.until(lambda: served.site.stats()["cameras"]["door"]["tagged"])
    assert served.get("/healthz").json == {
        "status": "ok",
        "reason": "",
        "cameras": {"yard": "lost"},
    }
    text = served.get("/metrics")
    families = {
        family.name: family for family in text_string_to_metric_families(text.body.decode())
    }
    states = {
        tuple(sample.labels.values()): sample.value
        for sample in families["pvlr_camera_state"].samples
    }
    assert states["door", "live"] == states["yard", "lost"] == 1
    assert states["door", "lost"] == 0
    (tagged,) = (
        one for one in families["pvlr_camera_tagged"].samples if one.labels == {"camera": "door"}
    )
    assert 0 < tagged.value <= served.site.stats()["cameras"]["door"]["tagged"]
    assert families["pvlr_info"].samples[0].labels["name"] == "tiny"
    monkeypatch.setattr(served.site, "healthy", lambda: False)
    assert (served.get("/healthz").status, served.get("/healthz").json["status"]) == (
        503,
        "failing",
    )
    monkeypatch.setattr(type(served.site), "cameras", {"door": "starting"})
    starting = {"reason": "not all cameras were tried yet", "cameras": {"door": "starting"}}
    assert served.get("/readyz").json == {"status": "failing", **starting}


def test_a_bug_is_a_problem_that_says_nothing_of_the_inside(serve, tagger, monkeypatch, caplog):
    served = serve()
    monkeypatch.setattr("pvlr_sdk.cameras.serve.api.tagging.decode_upload", lambda *_: 1 / 0)
    answer = served.tag(JPEG)
    assert (answer.status, answer.json["detail"]) == (500, "A bug in the server; see its log.")
    served.until(lambda: "ZeroDivisionError" in caplog.text)


def test_a_tagger_that_fails_is_no_bug(serve, tagger):
    from pvlr_sdk import errors

    def fail(*_, **__):
        raise errors.BackendError(
            "tagger", expected="an open tagger", got="a closed tagger", hint="Create a new one."
        )

    alike = {name: getattr(tagger, name) for name in ("labels", "thresholds", "info", "label_bank")}
    broken = SimpleNamespace(**alike, predict=fail)
    answer = serve(engine=broken).tag(JPEG)
    assert (answer.status, answer.json["error"]) == (503, "BackendError")
