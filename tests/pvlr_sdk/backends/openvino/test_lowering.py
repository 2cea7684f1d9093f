"""bf16 for a part of a network: the operators that get it, and the shipped model's accuracy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk.backends import runtimes
from pvlr_sdk.backends.openvino import Network, OpenVinoBackend, open_core, supports_bf16
from pvlr_sdk.backends.openvino.graph import lower
from pvlr_sdk.frames.frames import load_frame
from pvlr_sdk.frames.preprocess import Preprocessor
from pvlr_sdk.inference.golden import logits_of
from pvlr_sdk.models.find import load_bundle

openvino = runtimes.openvino()
opset13 = openvino.opset13

_IMAGES = sorted((Path(__file__).parents[4] / "docs" / "images").glob("*.jpg"))


def convolution(source: openvino.Output, channels: int, name: str) -> openvino.Node:
    weights = np.ones((channels, source.get_partial_shape()[1].get_length(), 1, 1), np.float32)
    made = opset13.convolution(source, weights, [1, 1], [0, 0], [0, 0], [1, 1])
    made.set_friendly_name(name)
    return made


@pytest.fixture
def model() -> openvino.Model:
    """image -> front -> "features" -> body -> product -> two outputs, one of them through a softmax."""
    image = opset13.parameter([1, 3, 4, 4], np.float32)
    front = opset13.relu(convolution(image.output(0), 8, "front"))
    front.output(0).set_names({"features"})
    body = convolution(front.output(0), 8, "body")
    shape = opset13.shape_of(body)  # integers besides pixels, as an exporter writes them
    rows = opset13.reshape(
        opset13.reshape(body, shape, special_zero=False), [16, 8], special_zero=False
    )
    product = opset13.matmul(rows, np.ones((8, 5), np.float32), False, False)
    product.set_friendly_name("product")
    product.output(0).set_names({"similarity"})
    tail = opset13.softmax(product, 0)
    tail.set_friendly_name("tail")
    tail.output(0).set_names({"logits"})
    return openvino.Model([product.output(0), tail.output(0)], [image])


def types(model: openvino.Model) -> dict[str, str]:
    return {
        node.get_friendly_name(): node.output(0).get_element_type().get_type_name()
        for node in model.get_ops()
    }


def test_only_what_lies_between_start_and_last_product_is_lowered(model: openvino.Model) -> None:
    assert lower(model, "features")
    found = types(model)
    assert {name: found[name] for name in ("front", "body", "product", "tail")} == {
        "front": "f32", "body": "bf16", "product": "bf16", "tail": "f32"
    }  # fmt: skip
    assert [output.get_element_type().get_type_name() for output in model.outputs] == ["f32", "f32"]
    assert [output.get_names() for output in model.outputs] == [{"similarity"}, {"logits"}]


def test_unknown_start_changes_nothing(model: openvino.Model) -> None:
    before = types(model)
    assert not lower(model, "nowhere")
    assert types(model) == before


@pytest.mark.slow
@pytest.mark.skipif(not supports_bf16(open_core()), reason="no bf16 on this machine")
def test_fp32_front_keeps_the_shipped_models_logits() -> None:
    """Photos, not noise: rounding errors of smooth areas all have the same sign.

    On 138 photos of COCO the error with an fp32 front is 0.75 of the error without; on four photos it varies.
    """
    bundle = load_bundle()
    manifest = bundle.manifest
    assert manifest.fp32_until
    sha256 = manifest.files["plan"].sha256
    network = Network.of(str(bundle.path), bundle.payload, sha256, manifest, bundle.labels)
    prepare = Preprocessor(manifest.input)
    frames = [load_frame(path).pixels for path in _IMAGES]
    backends = {
        "exact": OpenVinoBackend(network, "fp32"),
        "front": OpenVinoBackend(network, "bf16"),
        "plain": OpenVinoBackend(replace(network, fp32_until=None), "bf16"),
    }
    logits = {
        name: np.stack([logits_of(f, backend, prepare) for f in frames])
        for name, backend in backends.items()
    }
    error = {
        name: float(np.abs(logits[name] - logits["exact"]).mean()) for name in ("front", "plain")
    }
    assert 0 < error["front"] < error["plain"]
