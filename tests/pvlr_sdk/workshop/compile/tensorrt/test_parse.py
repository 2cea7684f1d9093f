"""A network that TensorRT's parser rejects raises one error with the node, the reason and a remedy."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

from pvlr_sdk import errors
from pvlr_sdk.workshop.compile.tensorrt.parse import parse

PLUGIN = 'creator && "Plugin not found, are the plugin name, version, and namespace correct?"'
INT32 = "fc.bias_DequantizeLinear: input has type Int32 but must have type FP8, FP4, Int4, Int8, or UInt8"


class Problem:
    """An entry of a parser's list, with the methods of TensorRT's ParserError."""

    def __init__(self, desc: str, node: str = "", operator: str = "") -> None:
        self._values = {
            "desc": desc,
            "node_name": node,
            "node_operator": operator,
            "code": "ErrorCode.INVALID_NODE",
        }

    def __getattr__(self, name: str) -> Any:
        return lambda: self._values[name]


class OldProblem:
    """An error of TensorRT before 10, which has no node names."""

    def desc(self) -> str:
        return "Assertion failed: axis"


def module(problems: list[Any], *, accepts: bool = False) -> Any:
    class Parser:
        num_errors = len(problems)

        def __init__(self, network: object, logger: object) -> None:
            assert (network, logger) == ("network", "logger")

        def parse(self, payload: bytes) -> bool:
            assert payload == b"onnx"
            return accepts

        def get_error(self, index: int) -> Any:
            return problems[index]

    return type("trt", (), {"OnnxParser": Parser, "__version__": "10.3.0"})


def refused(*problems: Any) -> errors.UnsupportedNodeError:
    with pytest.raises(errors.UnsupportedNodeError) as caught:
        parse(module(list(problems)), "network", "logger", b"onnx", "model.onnx")
    return caught.value


def test_an_accepted_network_passes() -> None:
    parse(module([], accepts=True), "network", "logger", b"onnx", "model.onnx")


@pytest.mark.parametrize(
    ("problem", "where", "reason", "remedy"),
    [
        (
            Problem(PLUGIN, "attention.0", "DualSoftmaxAttention"),
            "'attention.0'",
            "Plugin not found",
            "--attention native",
        ),
        (
            Problem(INT32, "fc.bias", "DequantizeLinear"),
            "'fc.bias'",
            "type Int32",
            "--precision int8",
        ),
        (
            Problem("TensorRT does not support UINT8 types", "q", "QuantizeLinear"),
            "'q'",
            "UINT8",
            "--precision int8",
        ),
        (Problem("Failed to parse the ONNX model."), "model.onnx: expected", "parse", "damaged"),
        (
            Problem("something new", "/a/Foo", "Foo"),
            "Foo '/a/Foo'",
            "something new",
            "--device cpu",
        ),
        (OldProblem(), "model.onnx: expected", "axis", "--device cpu"),
    ],
)
def test_the_error_names_node_reason_and_way_out(
    problem: Any, where: str, reason: str, remedy: str
) -> None:
    error = refused(problem)
    assert where in str(error)
    assert reason in error.got
    assert remedy in error.hint
    assert "10.3.0" in error.expected
    assert isinstance(error, errors.ModelError)


def test_several_are_counted_and_none_is_an_error_too() -> None:
    assert "and 2 more" in str(refused(Problem("first", "a", "A"), Problem("b"), Problem("c")))
    assert "no reason" in str(refused())
    assert str(pickle.loads(pickle.dumps(refused(Problem(PLUGIN, "n", "Op"))))) == str(
        refused(Problem(PLUGIN, "n", "Op"))
    )
