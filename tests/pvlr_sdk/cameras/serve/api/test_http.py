"""Requests as people type them: curl in any form, HEAD, settings by PUT, snapshots, the documentation."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.pvlr_sdk.cameras.serve.conftest import PATTERN as DOOR
from tests.pvlr_sdk.cameras.serve.conftest import TOKEN, jpeg
from tests.pvlr_sdk.frames.test_images import ANIMATED


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["-F", "file=@photo.jpg"],
        ["-F", "note=mine", "-F", "file=@photo.jpg;type=text/plain"],
        ["--data-binary", "@photo.jpg"],
        ["--data-binary", "@photo.jpg", "-H", "Content-Type:"],
    ],
    ids=" ".join,
)
def test_curl_in_any_form(serve, tagger, photo, tmp_path, arguments):
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    (tmp_path / "photo.jpg").write_bytes(jpeg(photo))
    command = ["curl", "-sS", *arguments, f"{serve().url}/v1/tag"]
    done = subprocess.run(command, capture_output=True, check=True, cwd=tmp_path, timeout=30)
    expected = tagger.predict(jpeg(photo))
    assert json.loads(done.stdout)["tags"] == [pytest.approx(tag._asdict()) for tag in expected]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"--x\r\n", "The form has no complete file"),
        (
            b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\ntext\r\n--x--\r\n',
            "The form has no complete file",
        ),
        (b"--x--\r\n", "The form has no complete file"),
        (b"nonsense", "The form is invalid: "),
    ],
)
def test_forms_without_an_image(serve, body, detail):
    answer = serve().tag(body, "multipart/form-data; boundary=x")
    assert answer.status == 422
    assert answer.json["detail"].startswith(detail)


def test_head_answers_with_the_headers_alone(serve):
    served = serve(DOOR)
    for path in ("/", "/page/main.js", "/v1/labels", "/healthz", "/openapi.json"):
        full, head = served.get(path), served.ask("HEAD", path)
        assert (head.status, head.body) == (full.status, b"")
        assert head.headers["Content-Length"] == full.headers["Content-Length"]
    assert served.ask("HEAD", "/v1/tag").status == 405
    assert serve(token=TOKEN).ask("HEAD", "/v1/labels").status == 401


def test_the_document_has_the_bodies_that_routes_read_themselves(serve):
    paths = serve(DOOR).get("/openapi.json").json["paths"]
    bodies = {
        f"{method} {path}": one.get("requestBody", {}).get("required")
        for path, operations in paths.items()
        for method, one in operations.items()
        if method in ("put", "post")
    }
    assert {
        "put /v1/settings",
        "post /v1/words",
        "put /v1/memory/events/{id}/answer",
    } <= bodies.keys()
    assert {one: required for one, required in bodies.items() if not required} == {
        "post /v1/reload": False,
        "post /v1/rollback": None,  # has no body, nor has the next
        "put /v1/memory/events/{id}/correction": None,
    }


def put(served, change, **headers):
    return served.ask(
        "PUT", "/v1/settings", json.dumps(change), {"Content-Type": "application/json", **headers}
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "status", "error"),
    [
        ({"thresholds": {"act": 0.5}}, 422, "UnknownLabelError"),
        ({"labels": ["act"]}, 422, "UnknownLabelError"),
        ({"thresholds": {"cat": 2}}, 422, "OptionError"),
        ({"thresholds": {"cat": float("nan")}}, 422, "OptionError"),
        ({"thresholds": {"cat": True}}, 422, "OptionError"),
        ({"thresholds": {"cat": "0.5"}}, 422, "OptionError"),
        ({"labels": ["cat"] * 100_000}, 422, "OptionError"),
        ({"threshold": {}}, 422, "OptionError"),
        ([], 422, "OptionError"),
        ({"labels": ["x" * 1_000_000]}, 413, "ImageSizeError"),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_invalid_settings_change_nothing(serve, change, status, error):
    served = serve(DOOR)
    before = served.get("/v1/settings").json
    answer = put(served, change)
    assert (answer.status, answer.json["error"]) == (status, error)
    assert not answer.json["detail"].startswith("image")
    assert served.get("/v1/settings").json == before


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "settings", '{"thresholds": {}, "thresholds": {"cat": 0.5}}'),
        ("PUT", "settings", '{"thresholds": {"cat": 0.5, "c\\u0061t": 0.9}}'),
        ("POST", "reload", '{"plan": null, "plan": "/x"}'),
        ("POST", "teach", '{"label": "a", "label": "b"}'),
        ("POST", "teach/examples", '{"camera": "door", "label": "a", "is": true, "is": false}'),
    ],
)
def test_a_key_that_is_given_twice(serve, method, path, body):
    """Readers differ in which value they take."""
    answer = serve(DOOR).ask(method, f"/v1/{path}", body)
    assert (answer.status, answer.json["got"]) == (422, "a key twice")


def test_only_those_who_may_change_settings(serve):
    served = serve(DOOR, token=TOKEN)
    assert put(served, {"labels": []}).status == 401
    assert put(served, {"labels": []}, Authorization=f"Bearer {TOKEN}").status == 200
    assert (
        put(
            served, {"labels": []}, Authorization=f"Bearer {TOKEN}", Origin="http://evil.example"
        ).status
        == 403
    )

    def all_ended() -> bool:
        events = served.site.events()
        begun = {event.id for event in events if event.state == "on"}
        return begun == {event.id for event in events if event.reason == "label excluded"}

    served.until(all_ended)


def test_snapshots(serve, tmp_path):
    served = serve(DOOR, events={"snapshots": str(tmp_path)})
    served.until(lambda: served.site.events())
    event = served.site.events()[0]
    path = f"/v1/events/{event.id}/snapshot"
    served.until(lambda: served.get(path).status == 200)
    answer = served.get(path)
    assert answer.headers["Content-Type"] == "image/jpeg"
    assert answer.body == Path(event.snapshot).read_bytes()
    assert cv2.imdecode(np.frombuffer(answer.body, np.uint8), 1).shape == (48, 64, 3)
    for other in ("none", "..", "%2e%2e%2fx"):
        assert served.get(f"/v1/events/{other}/snapshot").status == 404
    Path(event.snapshot).unlink()
    assert served.get(path).status == 404


def test_without_snapshots_there_are_none(serve):
    served = serve(DOOR)
    served.until(lambda: served.site.events())
    assert served.get(f"/v1/events/{served.site.events()[0].id}/snapshot").status == 404
    assert serve().get("/v1/events/x/snapshot").status == 404


def test_the_canvas_of_a_webp_is_rejected_before_its_decoder_allocates_it(monkeypatch):
    from pvlr_sdk import errors
    from pvlr_sdk.cameras.serve.server.bodies import decode_upload

    monkeypatch.setattr(cv2, "imdecode", lambda *_: pytest.fail("the decoder was called"))
    header = b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0"
    with pytest.raises(errors.ImageSizeError, match="12000 x 9000"):
        decode_upload(
            header + (11999).to_bytes(3, "little") + (8999).to_bytes(3, "little"), 1_000_000
        )


@pytest.mark.slow
def test_an_upload_that_crashes_its_decoder_is_one_problem(serve, photo, monkeypatch):
    monkeypatch.setattr("pvlr_sdk.frames.png.still_image", lambda data: data)
    served = serve()
    for _ in range(2):
        answer = served.tag(ANIMATED)
        assert (answer.status, answer.json["error"]) == (422, "ImageDecodeError")
        assert served.tag(jpeg(photo)).status == 200
