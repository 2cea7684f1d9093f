"""Fused attention: one node replaces many with the same logits; other graphs are rejected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.kernels import tag_head
from pvlr_sdk.workshop.compile.export import outputs_of
from pvlr_sdk.workshop.compile.onnx.convert import convert
from pvlr_sdk.workshop.compile.onnx.fused import with_definition
from tests.networks import changed

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def payload(closed: Path) -> bytes:
    return closed.read_bytes()


def outputs(payload: bytes, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return next(outputs_of(payload, [image]))


def fused_node(payload: bytes, operator: str) -> Any:
    (node,) = [
        node for node in onnx.load_from_string(payload).graph.node if node.op_type == operator
    ]
    assert node.domain == "pvlr"
    return node


@pytest.mark.slow
def test_one_node_with_the_plugins_interface(payload: bytes) -> None:
    fused = convert(payload, precision="fp32", attention="fused")
    model = onnx.load_from_string(fused)
    onnx.checker.check_model(model)
    node = fused_node(fused, "DualSoftmaxAttention")
    values = {
        attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute
    }
    assert values == {"heads": 8, "plugin_version": b"1", "plugin_namespace": b"pvlr"}
    assert ("pvlr", 1) in [(entry.domain, entry.version) for entry in model.opset_import]
    # some versions of TensorRT would take a function instead of the plugin
    assert not model.functions
    shapes = {tensor.name: list(tensor.dims) for tensor in model.graph.initializer}
    assert [shapes.get(name) for name in node.input] == [None, [1, 80, 256], None, [1, 80, 256]]
    before = onnx.load_from_string(payload)
    softmaxes = [
        sum(node.op_type == "Softmax" for node in one.graph.node) for one in (before, model)
    ]
    assert softmaxes == [3, 0]


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "low"), [("fp32", 1), ("fp16", 10), ("bf16", 16)])
def test_the_end_is_a_node_too(payload: bytes, precision: str, low: int) -> None:
    fused = convert(payload, precision=precision, attention="fused")
    model = onnx.load_from_string(fused)
    node = fused_node(fused, "TagHead")
    values = {
        attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute
    }
    assert values.pop("epsilon") == pytest.approx(1e-5)
    learned = {tensor.name: tensor for tensor in onnx.load_from_string(payload).graph.initializer}
    for name, source in (
        ("scale", "/head/predict/Exp_output_0"),
        ("alpha", "/head/predict/Exp_1_output_0"),
    ):
        assert values.pop(name) == pytest.approx(
            onnx.numpy_helper.to_array(learned[source]).item(), rel=1e-6
        )
    assert values == {"plugin_version": b"1", "plugin_namespace": b"pvlr"}
    assert list(node.output) == ["logits", "similarity"]
    constants = {
        tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in model.graph.initializer
    }
    assert [constants.get(name) for name in node.input] == [
        None,
        None,
        (1, [80]),
        *[(1, [256])] * 4,
    ]
    # Tokens come in the low type, as the plugin takes them, without a Cast before it.
    made = {name: one for one in model.graph.node for name in one.output}
    assert [made[name].op_type for name in node.input[:2]] == ["Add", "Add"]
    weights = {
        constants[name][0]
        for one in model.graph.node
        if one.op_type == "Gemm"
        for name in one.input
        if name in constants
    }
    assert weights == {low}


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-4), ("fp16", 0.05)])
def test_the_logits_stay(payload: bytes, precision: str, bound: float) -> None:
    image = np.random.default_rng(0).normal(size=(3, 288, 288)).astype(np.float32)
    exact = outputs(payload, image)
    fused = outputs(convert(payload, precision=precision, attention="fused"), image)
    for mine, theirs in zip(fused, exact, strict=True):
        assert np.abs(mine - theirs).max() < bound


@pytest.mark.slow
def test_a_head_that_is_a_part_of_another_one(payload: bytes) -> None:
    """Its attention is fused; the logits are not its own, as in networks of version 0.2, so the end is not."""

    def change(model: Any) -> None:
        for node in model.graph.node:
            node.name = node.name.replace("/head/", "/head/head/")
        model.graph.node[-1].output[0] = "inner"
        model.graph.node.append(onnx.helper.make_node("Add", ["inner", "inner"], ["logits"]))

    whole = changed(payload, change)
    fused = convert(whole, precision="fp32", attention="fused")
    assert [node.op_type for node in onnx.load_from_string(fused).graph.node if node.domain] == [
        "DualSoftmaxAttention"
    ]
    image = np.random.default_rng(0).normal(size=(3, 288, 288)).astype(np.float32)
    np.testing.assert_allclose(outputs(fused, image)[0], outputs(whole, image)[0], atol=1e-4)


def test_its_definition_in_float64() -> None:
    """The plugin's ONNX definition compared with NumPy, for a batch, odd sizes and a shared bank."""
    random = np.random.default_rng(0)
    heads, dim, tokens, labels = 3, 5, 7, 4
    helper, FP32 = onnx.helper, onnx.TensorProto.FLOAT
    sizes = {
        "q_x": (2, tokens, 15),
        "k_t": (1, labels, 15),
        "v_x": (2, tokens, 15),
        "v_t": (1, labels, 15),
    }
    node = helper.make_node(
        "DualSoftmaxAttention", list(sizes), ["o_x", "o_t"], domain="pvlr", heads=heads
    )
    graph = helper.make_graph(
        [node],
        "attention",
        [helper.make_tensor_value_info(name, FP32, size) for name, size in sizes.items()],
        [
            helper.make_tensor_value_info(name, FP32, (2, n, 15))
            for name, n in (("o_x", tokens), ("o_t", labels))
        ],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("pvlr", 1)]
    model = with_definition(helper.make_model(graph, opset_imports=opsets, ir_version=8))
    values = {name: random.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    mine = session.run(["o_x", "o_t"], values)

    q_x, k_t, v_x, v_t = (
        value.astype(np.float64).reshape(*value.shape[:2], heads, dim).transpose(0, 2, 1, 3)
        for value in values.values()
    )
    affinity = np.exp(q_x @ k_t.swapaxes(2, 3) / np.sqrt(dim))
    o_x = affinity / affinity.sum(3, keepdims=True) @ v_t
    o_t = (affinity / affinity.sum(2, keepdims=True)).swapaxes(2, 3) @ v_x
    for result, expected in zip(mine, (o_x, o_t), strict=True):
        np.testing.assert_allclose(
            result, expected.transpose(0, 2, 1, 3).reshape(result.shape), atol=1e-5
        )


def test_the_head_s_definition_in_float64() -> None:
    """With odd sizes, two images, and a token and a label of zeros."""
    random = np.random.default_rng(1)
    batch, tokens, labels, width, scale, alpha, epsilon = 2, 7, 5, 16, 12.0, 0.7, 1e-3
    helper, FP32 = onnx.helper, onnx.TensorProto.FLOAT
    sizes = {"x": (batch, tokens, width), "t": (batch, labels, width), "bias": (labels,)}
    sizes |= dict.fromkeys(("x_weight", "x_bias", "t_weight", "t_bias"), (width,))
    node = helper.make_node(
        "TagHead",
        list(sizes),
        ["logits", "similarity"],
        domain="pvlr",
        scale=scale,
        alpha=alpha,
        epsilon=epsilon,
    )
    ports = {"logits": (batch, labels), "similarity": (batch, tokens, labels)}
    graph = helper.make_graph(
        [node],
        "head",
        *(
            [helper.make_tensor_value_info(n, FP32, size) for n, size in some.items()]
            for some in (sizes, ports)
        ),
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("pvlr", 1)]
    model = with_definition(helper.make_model(graph, opset_imports=opsets, ir_version=8))
    values = {name: random.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    values["x"][0, 3] = values["x_bias"][:] = 0  # its norm is zero
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    logits, similarity = session.run(["logits", "similarity"], values)

    def direction(name: str) -> np.ndarray:
        rows = values[name].astype(np.float64)
        rows = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(
            rows.var(-1, keepdims=True) + epsilon
        )
        rows = rows * values[f"{name}_weight"] + values[f"{name}_bias"]
        length = np.linalg.norm(rows, axis=-1, keepdims=True)
        return rows / np.where(length == 0, 1, length)

    expected = scale * direction("x") @ direction("t").swapaxes(1, 2)
    weights = np.exp(alpha * expected)
    weights /= weights.sum(1, keepdims=True)
    np.testing.assert_allclose(similarity, expected, atol=1e-4)
    np.testing.assert_allclose(logits, (weights * expected).sum(1) + values["bias"], atol=1e-4)


@pytest.mark.slow
def test_the_kernel_that_the_plugin_runs_gives_the_same_logits(payload: bytes) -> None:
    """The CPU implementation, with the inputs and attributes of an exported node."""
    model = with_definition(
        onnx.load_from_string(convert(payload, precision="fp32", attention="fused"))
    )
    (node,) = [node for node in model.graph.node if node.op_type == "TagHead"]
    model.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, 1, None) for name in node.input[:2]
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    image = np.random.default_rng(2).normal(size=(2, 3, 288, 288)).astype(np.float32)
    logits, similarity, x, t = session.run(
        ["logits", "similarity", *node.input[:2]], {"image": image}
    )
    constants = {
        tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer
    }
    bias, *norms = (np.ascontiguousarray(constants[name]) for name in node.input[2:])
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    numbers = {name: attributes[name] for name in ("scale", "alpha", "epsilon")}
    mine = tag_head(
        x,
        t,
        **numbers,
        x_norm=tuple(norms[:2]),
        t_norm=tuple(norms[2:]),
        bias=bias,
        maps="similarity",
    )
    np.testing.assert_allclose(mine.logits, logits, atol=1e-5)
    np.testing.assert_allclose(mine.maps.transpose(0, 2, 1), similarity, atol=1e-4)


def test_a_network_without_is_refused(exported: Any) -> None:
    with pytest.raises(errors.ModelError, match="--attention native"):
        convert(exported.onnx.read_bytes(), precision="fp16", attention="fused")
