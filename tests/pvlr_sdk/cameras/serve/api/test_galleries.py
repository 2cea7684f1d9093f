"""The routes that photo galleries ask, with the clients of Ollama and OpenAI, and PhotoPrism's request."""

from __future__ import annotations

import base64
import json
import resource
import time

import pytest

pytest.importorskip("fastapi")


@pytest.fixture
def server(serve):
    return serve(galleries=True)


@pytest.fixture
def tags(server, image) -> list[dict]:
    found = server.tag(image, "image/png").json["tags"]
    assert found
    return found


def post(server, path, body):
    data = body if isinstance(body, bytes) else json.dumps(body)
    return server.ask("POST", path, data, {"Content-Type": "application/json"})


@pytest.mark.slow
def test_photoprism(server, data_url, tags):
    # The request of photoprism/internal/ai/vision/api_request.go.
    body = {"id": "d2684be3", "model": "", "suffix": "", "stream": False, "images": [data_url]}
    answer = post(server, "/api/v1/vision/labels", body).json
    assert (answer["id"], answer["code"], answer["model"]["type"]) == ("d2684be3", 200, "labels")
    assert [one["name"] for one in answer["result"]["labels"]] == [tag["label"] for tag in tags]
    for label, tag in zip(answer["result"]["labels"], tags, strict=True):
        assert label["confidence"] == label["topicality"] == pytest.approx(tag["score"], abs=1e-4)
        assert label["source"] == "image"


@pytest.mark.slow
def test_ollama(server, image, tags):
    ollama = pytest.importorskip("ollama")
    client, names = ollama.Client(server.url), [tag["label"] for tag in tags]
    model = client.list().models[0].model
    assert client.generate(model, "Which tags?", images=[image]).response == ", ".join(names)
    streamed = list(client.generate(model, "Which tags?", images=[image], stream=True))
    assert "".join(part.response for part in streamed) == ", ".join(names)
    asked = [{"role": "user", "content": "Which tags? Answer in JSON.", "images": [image]}]
    answer = json.loads(client.chat(model, asked, format="json").message.content)
    assert answer["tags"] == names
    assert [label["name"] for label in answer["labels"]] == names


@pytest.mark.slow
def test_openai(server, data_url, tags):
    openai = pytest.importorskip("openai")
    client, names = (
        openai.OpenAI(base_url=f"{server.url}/v1", api_key="none"),
        [tag["label"] for tag in tags],
    )
    model = client.models.list().data[0].id
    parts = [
        {"type": "text", "text": "Which tags?"},
        {"type": "image_url", "image_url": {"url": data_url}},
    ]
    asked = {"model": model, "messages": [{"role": "user", "content": parts}]}
    assert client.chat.completions.create(**asked).choices[0].message.content == ", ".join(names)
    answer = client.chat.completions.create(**asked, response_format={"type": "json_object"})
    assert json.loads(answer.choices[0].message.content)["tags"] == names
    with pytest.raises(openai.UnprocessableEntityError) as caught:
        client.chat.completions.create(**asked, stream=True)
    assert caught.value.response.json()["argument"] == "stream"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/api/v1/vision/labels", {"images": ["https://camera.lan/shot.jpg"]}, "image"),
        ("/api/v1/vision/labels", {"images": ["data:image/png;base64,AAAA"]}, "image"),
        ("/api/v1/vision/labels", {"images": []}, "images"),
        ("/api/generate", {"prompt": "Why is the sky blue?"}, "images"),
        ("/api/generate", b"no JSON", "request"),
        ("/api/chat", {"messages": [{"role": "user", "content": "Hello"}]}, "messages"),
        (
            "/v1/chat/completions",
            {"messages": [{"content": [{"image_url": 1}, 2, {"image_url": {}}]}]},
            "image",
        ),
    ],
)
def test_requests_without_an_image(server, path, body, named):
    answer = post(server, path, body)
    assert answer.status == 422
    assert answer.json["argument"] == named


def objects(count: int) -> bytes:
    return b"{}," * count + b"{}"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/api/chat", b'{"messages":[' + objects(5_000_000) + b"]}"),
        ("/v1/chat/completions", b'{"messages":[{"content":[' + objects(5_000_000) + b"]}]}"),
        ("/api/generate", b'{"images":["A"],"format":[' + objects(5_000_000) + b"]}"),
        ("/api/v1/vision/labels", b'{"images":["' + b"AB " * 5_300_000 + b'"]}'),
        (
            "/v2/models/MODEL/infer",
            b'{"inputs":[{"name":"","data":[' + objects(5_000_000) + b"]}]}",
        ),
        ("/v2/models/MODEL/infer", b'{"inputs":[],"outputs":[' + objects(5_000_000) + b"]}"),
        ("/label-studio/predict", b'{"tasks":[{"data":{"":[' + objects(5_000_000) + b"]}}]}"),
    ],
    ids=lambda value: value[:30] if isinstance(value, bytes) else value,
)
def test_a_body_of_many_values_is_refused_before_it_is_built(serve, tagger, path, body):
    """16 MB, which would become 1.3 to 3.9 GB of objects, while no other request is answered."""
    server = serve(galleries=True, open_inference=True, label_studio={})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    answer = post(server, path.replace("MODEL", tagger.info["name"]), body)
    assert answer.status == 422
    assert time.perf_counter() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 8 * len(body) / 1024
    if b"{}" in body:
        assert answer.json["got"] == "more than 10000 values"


def test_limits_and_tokens_are_those_of_the_server(serve, data_url):
    server = serve(galleries=True, max_bytes=1000)
    large = "data:image/png;base64," + base64.b64encode(bytes(200_000)).decode()
    assert post(server, "/api/v1/vision/labels", {"images": [large]}).status == 413
    assert post(serve(), "/api/v1/vision/labels", {"images": [data_url]}).status == 404
    closed = serve(galleries=True, token="a" * 16)
    assert post(closed, "/v1/chat/completions", {"messages": [{}]}).status == 401
