"""The Open Inference Protocol, with Triton's client, with and without its binary tensors."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

pytest.importorskip("fastapi")


@pytest.fixture
def server(serve):
    return serve(open_inference=True)


@pytest.fixture
def model(tagger) -> str:
    return tagger.info["name"]


@pytest.mark.slow
@pytest.mark.parametrize("binary", [True, False])
def test_the_client_of_triton(server, image, model, binary):
    http = pytest.importorskip("tritonclient.http")
    tags = server.tag(image, "image/png").json["tags"]
    assert tags
    client = http.InferenceServerClient(server.url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(model)
    described = client.get_model_metadata(model)
    assert [one["name"] for one in described["inputs"]] == ["image"]
    one = http.InferInput("image", [1], "BYTES")
    data = image if binary else base64.b64encode(image)
    one.set_data_from_numpy(np.array([data], object), binary_data=binary)
    found = client.infer(model, [one], request_id="7")
    assert found.get_response()["id"] == "7"
    assert found.as_numpy("labels").tolist() == [tag["label"] for tag in tags]
    assert found.as_numpy("scores").tolist() == pytest.approx(
        [tag["score"] for tag in tags], abs=1e-4
    )
    scores = client.infer(
        model, [one], outputs=[http.InferRequestedOutput("scores", binary_data=False)]
    )
    assert [output["name"] for output in scores.get_response()["outputs"]] == ["scores"]
    client.close()


def infer(server, model: str, body: object, **headers: str):
    data = body if isinstance(body, bytes) else json.dumps(body)
    headers = {name.replace("_", "-"): text for name, text in headers.items()}
    return server.ask(
        "POST", f"/v2/models/{model}/infer", data, {"Content-Type": "application/json", **headers}
    )


def tensor(**keys: object) -> dict[str, object]:
    return {"inputs": [{"name": "image", "datatype": "BYTES", "shape": [1], **keys}]}


def test_rubbish(server, image, model):
    text = base64.b64encode(image).decode()
    assert infer(server, model, tensor(data=[text])).status == 200
    assert infer(server, "another", tensor(data=[text])).status == 422
    long = json.dumps(tensor(parameters={"binary_data_size": len(image) + 4})).encode()
    for body, headers in [
        (b"no JSON", {}),
        ({"inputs": []}, {}),
        (tensor(), {}),
        (tensor(data=[1]), {}),
        (tensor(data=[text, text]), {}),
        (tensor(datatype="FP32", data=[0.5]), {}),
        (tensor(data=["https://camera.lan/shot.jpg"]), {}),
        (
            long + bytes(4) + image,
            {"Inference_Header_Content_Length": str(len(long))},
        ),  # another length
        (long, {"Inference_Header_Content_Length": str(len(long))}),
        (long, {"Inference_Header_Content_Length": "9" * 5000}),
        (long, {"Inference_Header_Content_Length": "-1"}),
        (long, {"Inference_Header_Content_Length": "0" * 5000}),
        (long, {"Inference_Header_Content_Length": "0" * 25 + "9" * 8}),
    ]:
        answer = infer(server, model, body, **headers)
        assert answer.status == 422, (body[:99] if isinstance(body, bytes) else body, answer.json)


def test_only_if_it_is_asked_for_and_with_the_token(serve):
    assert serve().ask("GET", "/v2").status == 404
    closed = serve(open_inference=True, token="a" * 16)
    assert closed.ask("GET", "/v2").status == 401
    assert closed.ask("GET", "/v2", headers={"Authorization": "Bearer " + "a" * 16}).status == 200
