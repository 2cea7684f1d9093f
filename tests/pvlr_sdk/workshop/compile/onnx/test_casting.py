"""fp16 and bf16 in the graph: types, and results compared with an independent rounding in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.workshop.compile.export import outputs_of
from pvlr_sdk.workshop.compile.onnx import edit
from pvlr_sdk.workshop.compile.onnx.casting import cast
from pvlr_sdk.workshop.compile.onnx.convert import convert
from pvlr_sdk.workshop.compile.onnx.rounding import emulated

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto

FP32, FP16, BF16 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16
DTYPES = {"fp16": np.float16, "bf16": ml_dtypes.bfloat16}


def chain(
    nodes: list[Any], constants: dict[str, np.ndarray], *, shape: tuple[int, ...], result: str
) -> Any:
    """A float32 network from ``x`` to ``result``."""
    graph = helper.make_graph(
        nodes,
        "chain",
        [helper.make_tensor_value_info("x", FP32, shape)],
        [helper.make_tensor_value_info(result, FP32, shape)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def run(model: Any, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return np.asarray(session.run(None, {"x": x})[0])


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_every_result_is_rounded_as_numpy_rounds_it(precision: str) -> None:
    """Three products, each rounded: by hand in NumPy, with exact sums in between."""
    random = np.random.default_rng(0)
    weights = [random.normal(0, 0.4, (24, 24)).astype(np.float32) for _ in range(3)]
    nodes = [
        helper.make_node("MatMul", ["x", "w0"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w1"], ["c"]),
        helper.make_node("MatMul", ["c", "w2"], ["y"]),
    ]
    model = chain(nodes, {f"w{i}": w for i, w in enumerate(weights)}, shape=(5, 24), result="y")
    cast(model, precision, "chain")
    x = random.normal(size=(5, 24)).astype(np.float32)

    def low(values: np.ndarray) -> np.ndarray:
        return values.astype(DTYPES[precision]).astype(np.float64)

    expected = low(low(np.maximum(low(low(x) @ low(weights[0])), 0)) @ low(weights[1])) @ weights[2]
    # The last product gives the output: it is computed in float32.
    unit = (
        float(np.finfo(np.float16).eps)
        if precision == "fp16"
        else float(ml_dtypes.finfo(ml_dtypes.bfloat16).eps)
    )
    difference = np.abs(run(emulated(model), x) - expected)
    assert difference.max() < 0.02 * unit * np.abs(expected).max()
    assert (
        np.abs(x.astype(np.float64) @ weights[0] @ weights[1] @ weights[2] - expected).max()
        > difference.max()
    )


def test_an_overflow_shows() -> None:
    """ONNX Runtime alone does not show it: it computes fp16 in float32 here."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["a", "v"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["y"]),
    ]
    model = chain(
        nodes,
        {"w": 300 * np.eye(4, dtype=np.float32), "v": np.eye(4, dtype=np.float32) / 2**9},
        shape=(1, 4),
        result="y",
    )
    x = np.full((1, 4), 400, np.float32)
    assert np.isfinite(run(model, x)).all()
    cast(model, "fp16", "chain")
    assert not np.isfinite(run(emulated(model), x)).any()


@pytest.mark.slow
def test_types_of_a_trained_network(closed: Path) -> None:
    payload = closed.read_bytes()
    for precision, kind in (("fp16", FP16), ("bf16", BF16)):
        model = onnx.load_from_string(convert(payload, precision=precision))
        onnx.checker.check_model(model)
        kinds = edit.element_types(model)
        results: dict[str, set[int]] = {}
        for node in model.graph.node:
            results.setdefault(node.op_type, set()).update(kinds[name] for name in node.output)
        assert results["Softmax"] == results["LayerNormalization"] == results["ReduceSum"] == {FP32}
        assert results["Gemm"] == {kind}
        # the front stays in fp16
        assert results["Conv"] == ({FP16} if precision == "fp16" else {FP16, BF16})
        end = [node for node in model.graph.node if node.name.startswith("/head/predict/")]
        assert {kinds[name] for node in end for name in node.output} == {FP32}
        assert {kinds[port.name] for port in (*model.graph.input, *model.graph.output)} == {FP32}
        assert sum(node.op_type == "LayerNormalization" for node in model.graph.node) == 5
        big = [tensor for tensor in model.graph.initializer if np.prod(tensor.dims) > 1024]
        assert big
        assert {tensor.data_type for tensor in big} <= {FP16, BF16}
        assert len(model.SerializeToString()) < 1.02 * len(payload)


def test_a_weight_that_overflows_is_refused() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "big"], ["a"]),
        helper.make_node("MatMul", ["a", "one"], ["y"]),
    ]
    constants = {"big": np.full((4, 4), 7e4, np.float32), "one": np.eye(4, dtype=np.float32)}
    with pytest.raises(errors.ModelError, match="chain: big"):
        cast(chain(nodes, constants, shape=(1, 4), result="y"), "fp16", "chain")
    cast(chain(nodes, constants, shape=(1, 4), result="y"), "bf16", "chain")


def test_an_epsilon_that_would_vanish_keeps_its_node_in_fp32() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Add", ["a", "epsilon"], ["b"]),
        helper.make_node("Div", ["a", "b"], ["c"]),
        helper.make_node("MatMul", ["c", "w"], ["y"]),
    ]
    constants = {"w": np.zeros((4, 4), np.float32), "epsilon": np.float32(1e-9)}
    model = chain(nodes, constants, shape=(1, 4), result="y")
    cast(model, "fp16", "chain")
    kinds = edit.element_types(model)
    assert (kinds["a"], kinds["b"]) == (FP16, FP32)


def test_two_outputs_and_an_output_that_is_read_again_are_float32() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "w"], ["c"]),
        helper.make_node("MatMul", ["c", "w"], ["y"]),
    ]
    w = np.random.default_rng(0).normal(size=(4, 4)).astype(np.float32)
    model = chain(nodes, {"w": w}, shape=(2, 4), result="y")
    model.graph.output.append(helper.make_tensor_value_info("b", FP32, (2, 4)))
    cast(model, "fp16", "chain")
    onnx.checker.check_model(model)
    kinds = edit.element_types(model)
    assert kinds["b"] == kinds["y"] == FP32


class TestRefused:
    def test_a_converted_network(self, exported: Any) -> None:
        once = convert(exported.onnx.read_bytes(), precision="fp16")
        with pytest.raises(errors.ModelError, match="fp16"):
            convert(once, precision="bf16")

    def test_no_network(self, make_network: Callable[..., Any], tmp_path: Path) -> None:
        for payload in (b"no network", make_network(tmp_path, spec={}).onnx.read_bytes()):
            with pytest.raises(errors.ModelError):
                convert(payload, precision="fp16")

    @pytest.mark.parametrize(
        "options", [{"precision": "fp8"}, {"attention": "slow"}, {"precision": "int8"}]
    )
    def test_options(self, exported: Any, options: dict[str, str]) -> None:
        with pytest.raises(errors.OptionError):
            convert(exported.onnx.read_bytes(), **options)

    def test_control_flow(self) -> None:
        body = helper.make_graph([], "body", [], [])
        model = chain(
            [helper.make_node("If", ["x"], ["y"], then_branch=body)], {}, shape=(1,), result="y"
        )
        with pytest.raises(errors.ModelError, match="control flow"):
            edit.load(model.SerializeToString(), "network")


def test_the_tiny_network_agrees_with_its_definition(exported: Any) -> None:
    image = np.random.default_rng(0).normal(size=(3, 32, 40)).astype(np.float32)
    logits, similarity = exported.weights.forward(image)
    differences = {}
    for precision in ("fp32", "fp16", "bf16"):
        mine = next(outputs_of(convert(exported.onnx.read_bytes(), precision=precision), [image]))
        differences[precision] = np.abs(mine[0] - logits).max()
        assert np.abs(mine[1] - similarity).max() < (0.1 if precision == "bf16" else 0.02)
    assert differences["fp32"] < 1e-5 < differences["fp16"] < differences["bf16"] < 0.05
