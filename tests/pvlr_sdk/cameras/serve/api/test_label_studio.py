"""The routes of Label Studio's ML backends, with the requests of its server, and answers read by its SDK."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tests.pvlr_sdk.cameras.serve.conftest import TOKEN

pytest.importorskip("fastapi")

# The template "Image Classification", with several choices.
CONFIG = """<View>
  <Image name="image" value="$image"/>
  <Choices name="choice" toName="image" choice="multiple">{}</Choices>
</View>"""


@pytest.fixture
def studio(image):
    """Label Studio's own files: an image for the right token, a large one, a redirect, and a page."""
    asked = []

    class Files(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers["Authorization"]))
            known = (
                self.path.startswith("/data/") and self.headers["Authorization"] == "Token secret"
            )
            self.send_response(302 if "moved" in self.path else 200 if known else 404)
            self.send_header("Location", "/data/upload/1/photo.png")
            self.end_headers()
            self.wfile.write(
                bytes(len(image) + 1)
                if "large" in self.path
                else b"<html>"
                if "page" in self.path
                else image
            )

        def log_message(self, *arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Files)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    server.asked, server.url = asked, f"http://127.0.0.1:{server.server_port}"
    yield server
    server.shutdown()
    server.server_close()


def config(names, **options) -> str:
    choices = "".join(f'<Choice value="{name.title()}"/>' for name in names)
    return CONFIG.format(choices).replace("multiple", options.get("choice", "multiple"))


def predict(server, images, label_config, **headers):
    # The request of label_studio/ml/api_connector.py.
    tasks = [
        {"id": number, "data": {"image": one}, "meta": {}, "predictions": []}
        for number, one in enumerate(images)
    ]
    body = {
        "tasks": tasks,
        "model_version": None,
        "project": "3.1681234567",
        "label_config": label_config,
    }
    body["params"] = {
        "login": None,
        "password": None,
        "hostname": "http://localhost:8080",
        "context": None,
    }
    headers = {"Content-Type": "application/json", **headers}
    return server.ask("POST", "/label-studio/predict", json.dumps(body), headers)


def test_predictions_are_the_tags_that_are_choices(serve, image, data_url):
    server = serve(label_studio={})
    tags = server.tag(image, "image/png").json["tags"]
    names = [tag["label"] for tag in tags]
    assert len(names) > 1
    assert server.get("/label-studio/health").json["status"] == "UP"
    setup = {
        "project": "3.16812",
        "schema": config(names),
        "hostname": "",
        "access_token": "x",
        "extra_params": None,
    }
    model = server.ask("POST", "/label-studio/setup", json.dumps(setup)).json["model_version"]
    answer = predict(server, [data_url], config([*names, "other"])).json
    [prediction] = answer["results"]
    assert model == answer["model_version"] == prediction["model_version"]
    [result] = prediction["result"]
    assert (result["from_name"], result["to_name"], result["type"]) == (
        "choice",
        "image",
        "choices",
    )
    assert result["value"]["choices"] == [name.title() for name in names]
    assert prediction["score"] == pytest.approx(tags[-1]["score"])
    best = predict(server, [data_url], config(names, choice="single")).json["results"][0]
    assert best["result"][0]["value"]["choices"] == [names[0].title()]
    assert predict(server, [data_url], config(["other"])).json["results"][0]["result"] == []


def test_uploads_are_fetched_from_label_studio_alone(serve, image, data_url, studio):
    server = serve(label_studio={"url": studio.url, "token": "secret"})
    names = [tag["label"] for tag in server.tag(image, "image/png").json["tags"]]
    uploads = ["/data/upload/1/photo.png", f"{studio.url}/data/local-files/?d=photo.png", data_url]
    results = predict(server, uploads, config(names)).json["results"]
    assert [len(one["result"]) for one in results] == [1, 1, 1]
    assert studio.asked == [
        (uploads[0], "Token secret"),
        (uploads[1].removeprefix(studio.url), "Token secret"),
    ]
    others = [
        "/api/users",
        "/data/../api/users",
        "/data/%2e%2e/api/users",
        "file:///data/a.jpg",
        "s3://a/b",
        None,
    ]
    hosts = [
        "http://camera.lan/data/a.jpg",
        "//camera.lan/data/a.jpg",
        f"{studio.url}.evil.example/data/a.jpg",
    ]
    for other in (*others, *hosts):
        answer = predict(server, [other], config(names))
        assert (answer.status, answer.json["argument"]) == (422, "image"), other
    assert len(studio.asked) == 2


def test_images_that_cannot_be_used(serve, image, data_url, studio, caplog):
    server = serve(label_studio={"url": studio.url, "token": "secret"}, max_bytes=len(image))
    names, bad = ["cat"], ["/data/upload/1/large.png", "/data/moved.png", "/data/page"]
    for one in bad:
        assert predict(server, [one], config(names)).status == 422
    results = predict(server, [*bad, data_url], config(names)).json["results"]
    assert [len(one["result"]) for one in results[:3]] == [0, 0, 0]  # and the rest goes on
    assert len(results) == 4
    assert caplog.text.count("Label Studio's task") >= 3
    studio.shutdown()
    studio.server_close()
    assert predict(server, ["/data/upload/1/photo.png"], config(names)).status == 422


@pytest.mark.slow
@pytest.mark.parametrize(
    ("label_config", "named"),
    [
        ("<View/>", "label_config"),
        ("no XML", "label_config"),
        (
            '<View><Text name="text" value="$text"/><Choices name="a" toName="text"/></View>',
            "label_config",
        ),
        ('<!DOCTYPE a [<!ENTITY b "c">]><View>&b;</View>', "label_config"),
        ("<View>" * 5000, "label_config"),
        (None, "label_config"),
    ],
)
def test_projects_without_choices_for_an_image(serve, data_url, label_config, named):
    answer = predict(serve(label_studio={}), [data_url], label_config)
    assert (answer.status, answer.json["argument"]) == (422, named)


def test_off_by_default_and_with_the_token_as_password(serve, data_url):
    assert predict(serve(), [data_url], config(["cat"])).status == 404
    closed = serve(label_studio={}, token=TOKEN)
    assert closed.get("/label-studio/health").status == 401
    for password, status in ((TOKEN, 200), ("wrong", 401), ("", 401)):
        basic = base64.b64encode(f"user:{password}".encode()).decode()
        assert closed.get("/label-studio/health", Authorization=f"Basic {basic}").status == status
    assert closed.get("/label-studio/health", Authorization="Basic \xe9").status == 401


@pytest.mark.slow
def test_the_sdk_of_label_studio_validates_predictions(serve, image, data_url):
    python = os.environ.get("PVLR_LABEL_STUDIO")
    if not python:
        pytest.skip("PVLR_LABEL_STUDIO is not the Python of an environment with label-studio-sdk")
    server = serve(label_studio={})
    names = [tag["label"] for tag in server.tag(image, "image/png").json["tags"]]
    answer = predict(server, [data_url], config(names)).json
    script = """
import json, sys
from label_studio_sdk.label_interface import LabelInterface
from label_studio_sdk.label_interface.objects import PredictionValue
config, answer = json.load(sys.stdin)
interface = LabelInterface(config)
for one in answer["results"]:
    value = PredictionValue(**one)
    print(value.result[0]["value"]["choices"], value.model_version)
    found = interface.validate_prediction(one, return_errors=True)
    assert found == [], found
    one["result"][0]["value"]["choices"] = ["no choice"]
    assert not interface.validate_prediction(one)
"""
    text = json.dumps([config(names), answer])
    done = subprocess.run(
        [python, "-c", script], input=text, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert names[0].title() in done.stdout
