"""Networks that are not plain data: each way to make a runtime read, allocate or loop."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.manifests import edit_manifest

onnx = pytest.importorskip("onnx")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto

ROOT = Path(__file__).parents[1]
SHIPPED = sorted([*ROOT.glob("models/*/engine.plan"), *ROOT.glob("pvlr_sdk/models/*/engine.plan")])
Change = Callable[[Any], object]


def replace_payload(plan: Path, payload: bytes) -> None:
    """Replace a plan's network, with a manifest that fits."""
    plan.write_bytes(payload)
    spec = {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
    edit_manifest(plan, lambda raw: raw["files"].update(plan=spec))


def changed(payload: bytes, change: Change) -> bytes:
    model = onnx.load_from_string(payload)
    change(model)
    result: bytes = model.SerializeToString()
    return result


def outside(location: str, **entries: str) -> Change:
    """The values of the first constant are in a file, or at an address in memory."""

    def change(model: Any) -> None:
        set_outside(model.graph.initializer[0], location, **entries)

    return change


def set_outside(tensor: Any, location: str, **entries: str) -> None:
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=value)


def fed(*nodes: Any, **constants: np.ndarray) -> Change:
    """More nodes, whose output ``more`` is added to the logits."""

    def change(model: Any) -> None:
        graph = model.graph
        graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()
        )
        graph.node[-1].output[0] = "logits_before"
        graph.node.extend([*nodes, helper.make_node("Add", ["logits_before", "more"], ["logits"])])

    return change


def summed(name: str) -> Any:
    return helper.make_node("ReduceSum", [name], ["more"], keepdims=0)


def shaped(operator: str, *inputs: str) -> Change:
    """An operator whose output has 5 GB."""
    nodes = helper.make_node(operator, [*inputs, "huge"], ["wide"]), summed("wide")
    return fed(*nodes, point=np.float32([1]), huge=np.int64([1_250_000_000]))


def constant(dims: list[int], kind: int = TensorProto.FLOAT, **fields: Any) -> Change:
    return lambda model: model.graph.initializer.append(
        TensorProto(name="added", dims=dims, data_type=kind, **fields)
    )


def broadcast() -> Change:
    """A table of any size from two short constants."""
    column, row = np.zeros((50_000, 1), np.float32), np.zeros((1, 50_000), np.float32)
    return fed(
        helper.make_node("Add", ["column", "row"], ["table"]),
        summed("table"),
        column=column,
        row=row,
    )


def computed_shape() -> Change:
    """A shape that is computed from the input's."""
    nodes = [
        helper.make_node("Shape", ["similarity"], ["three"]),
        helper.make_node("Mul", ["three", "times"], ["huge"]),
        helper.make_node("ConstantOfShape", ["huge"], ["filled"]),
    ]
    return fed(*nodes, summed("filled"), times=np.int64([5_000, 5_000, 5]))


def doubled() -> Change:
    names = ["similarity", *(f"c{i}" for i in range(30))]
    nodes = (helper.make_node("Concat", [old] * 2, [new], axis=1) for old, new in pairwise(names))
    return fed(*nodes, summed(names[-1]))


def alive() -> Change:
    """Tables within the limit, 40 of them at the same time."""
    tables = [f"t{i}" for i in range(40)]
    nodes = [
        helper.make_node("Add", ["column", f"row{i}"], [name]) for i, name in enumerate(tables)
    ]
    nodes += [
        helper.make_node("Max", tables, ["most"]),
        helper.make_node("Min", [*tables, "most"], ["least"]),
    ]
    rows = {f"row{i}": np.full((1, 8192), i, np.float32) for i in range(40)}
    return fed(*nodes, summed("least"), column=np.zeros((8192, 1), np.float32), **rows)


def attribute(name: str, value: Any) -> Change:
    return lambda model: model.graph.node[0].attribute.append(helper.make_attribute(name, value))


def attribute_of_subgraph(model: Any) -> None:
    """A constant in a file, in a subgraph of a subgraph."""
    tensor = numpy_helper.from_array(np.float32([1]), "inside")
    set_outside(tensor, "secret.bin")
    graph = helper.make_graph([], "inner", [], [], [tensor])
    for name in ("middle", "outer"):
        graph = helper.make_graph(
            [helper.make_node("If", ["yes"], ["x"], then_branch=graph)], name, [], []
        )
    attribute("body", graph)(model)


def attribute_tensor(model: Any) -> None:
    tensor = numpy_helper.from_array(np.float32([1]), "inside")
    set_outside(tensor, "secret.bin")
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=tensor))


def endless() -> Any:
    """Loop with a condition that stays true."""
    numbers, booleans, floats = TensorProto.INT64, TensorProto.BOOL, TensorProto.FLOAT
    ports = [("number", numbers, []), ("again", booleans, []), ("value", floats, [1])]
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["again"], ["on"]),
            helper.make_node("Identity", ["value"], ["next"]),
        ],
        "body",
        [helper.make_tensor_value_info(*port) for port in ports],
        [
            helper.make_tensor_value_info(*port)
            for port in (("on", booleans, []), ("next", floats, [1]))
        ],
    )
    return helper.make_node("Loop", ["", "yes", "start"], ["more"], body=body)


def function(model: Any) -> None:
    model.functions.append(
        helper.make_function(
            "pvlr",
            "TagHead",
            ["x"],
            ["y"],
            [helper.make_node("Relu", ["x"], ["y"])],
            [helper.make_opsetid("", 17)],
        )
    )


def another_domain(model: Any) -> None:
    model.graph.node[1].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def sparse(model: Any) -> None:
    values = numpy_helper.from_array(np.float32([1]), "sparse")
    indices = numpy_helper.from_array(np.int64([0]), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [10**12]))


def lies(model: Any) -> None:
    """A constant of more elements than there are bytes for."""
    model.graph.initializer[0].dims[0] *= 2


def field(number: int, data: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    more = bytes([value & 0x7F | (0x80 if value > 0x7F else 0)])
    return more + varint(value >> 7) if value > 0x7F else more


def deep() -> bytes:
    """A graph within a graph, 5,000 times."""
    graph = b""
    for _ in range(5_000):
        graph = field(1, field(5, field(6, graph)))
    return graph


def appended(data: bytes) -> Callable[[bytes], bytes]:
    return lambda payload: payload + data


def in_graph(data: bytes) -> Callable[[bytes], bytes]:
    """A network of its own, whose graph has these bytes."""
    return lambda payload: b"\x08\x08" + field(8, b"\x10\x11") + field(7, data)


ADDS = [
    helper.make_node(
        "Add", [f"a{i}" if i else "logits_before", "step"], [f"a{i + 1}" if i < 19_999 else "more"]
    )
    for i in range(20_000)
]
TENSOR = "more than 8 dimensions or 67108864 elements"
NEW = "which no exported network has"
MORE = field(16, b"")
# Name -> how to change a plan's network, and words of the error.
CHANGES: dict[str, tuple[Change, str]] = {
    "memory address": (
        outside("*/_ORT_MEM_ADDR_/*", offset="4096", length="6144"),
        f"field 13 of Tensor, {NEW}",
    ),
    "relative file": (outside("secret.bin"), f"field 13 of Tensor, {NEW}"),
    "symbolic link": (outside("link/secret.bin"), f"field 13 of Tensor, {NEW}"),
    "a file in a constant node": (attribute_tensor, f"field 13 of Tensor, {NEW}"),
    "a file in a nested subgraph": (attribute_of_subgraph, f"field 6 of Attribute, {NEW}"),
    "external without a file": (
        lambda model: setattr(model.graph.initializer[0], "data_location", 1),
        "a constant whose values are outside of the network",
    ),
    "function": (function, f"field 25 of Model, {NEW}"),
    "loop": (
        fed(endless(), yes=np.bool_(True), start=np.float32([0])),
        f"field 6 of Attribute, {NEW}",
    ),
    "unknown operator": (
        lambda model: setattr(model.graph.node[1], "op_type", "Unknown"),
        "the operator 'Unknown'",
    ),
    "operators in one name": (
        lambda model: setattr(model.graph.node[1], "op_type", "Add Mul"),
        "the operator 'Add Mul'",
    ),
    "other domain": (another_domain, "version 1 of the operators of domain 'com.microsoft'"),
    "operator of a later version": (
        lambda model: setattr(model.opset_import[0], "version", 25),
        "version 25 of",
    ),
    "constant of shape": (
        shaped("ConstantOfShape"),
        f"ConstantOfShape to shape [1250000000], {TENSOR}",
    ),
    "expand": (shaped("Expand", "point"), f"Expand to shape [1250000000], {TENSOR}"),
    "tile": (shaped("Tile", "point"), f"Tile to shape [1250000000], {TENSOR}"),
    "shape of a constant node": (
        fed(
            helper.make_node("Constant", [], ["huge"], value_ints=[2**20, 2**10]),
            helper.make_node("ConstantOfShape", ["huge"], ["wide"]),
            summed("wide"),
        ),
        f"ConstantOfShape to shape [1048576, 1024], {TENSOR}",
    ),
    "20,000 nodes": (fed(*ADDS, step=np.float32([1])), "20011 nodes, more than 4096"),
    "oversized constant": (
        constant([2**14, 2**13]),
        f"a constant of shape [16384, 8192], {TENSOR}",
    ),
    "oversized by overflow": (
        constant([2**32, 2**32]),
        f"a constant of shape [4294967296, 4294967296], {TENSOR}",
    ),
    "oversized declaration": (
        lambda model: model.graph.value_info.append(helper.make_tensor_value_info("x", 1, [2**40])),
        f"a tensor of shape [1099511627776], {TENSOR}",
    ),
    "nine dimensions": (constant([1] * 9, float_data=[0]), TENSOR),
    "too few values": (lies, "a constant of shape"),
    "values twice": (constant([1], raw_data=b"1234", float_data=[0]), "without exactly 1 values"),
    "negative sides": (
        constant([-2, -2], float_data=[0] * 4),
        "a constant of shape [-2, -2] without",
    ),
    "sparse tensor": (sparse, f"field 15 of Graph, {NEW}"),
    "strings": (constant([1], TensorProto.STRING, string_data=[b"x"]), f"field 6 of Tensor, {NEW}"),
    "type of constants": (
        constant([1], TensorProto.COMPLEX64, raw_data=bytes(8)),
        "a constant of data type 14",
    ),
    "padding": (attribute("pads", [2**30] * 4), "an attribute of 1073741824"),
}
BYTES: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "5,000 graphs in each other": (in_graph(deep()), f"field 6 of Attribute, {NEW}"),
    "a million fields": (in_graph(field(16, b"") * 2**20), "more than 1048576 fields"),
    "a second network": (lambda payload: payload + payload, "field 1 of Model twice"),
    "a second graph": (appended(field(7, b"")), "field 7 of Model twice"),
    "a graph that is an integer": (appended(b"\x38\x01"), f"field 7 of Model, {NEW}"),
    "a field of 8 bytes": (appended(b"\x71" + bytes(8)), f"field 14 of Model, {NEW}"),
    "a group": (appended(b"\x73\x74"), f"field 14 of Model, {NEW}"),
    "a field number of three bytes": (appended(b"\xf2\x80\x01\x00"), f"field 2062 of Model, {NEW}"),
    "a length of 2^64 - 1": (appended(b"\x72" + b"\xff" * 9 + b"\x01"), "a Model that ends early"),
    "a varint of eleven bytes": (
        appended(b"\x72" + b"\x80" * 11),
        "an integer of more than ten bytes",
    ),
    "a varint that the end cuts": (appended(b"\x72\x80"), "other or incomplete data"),
    "a varint that its list cuts": (
        in_graph(field(5, field(1, b"\x01\x80")) + MORE),
        "a list of integers that ends early",
    ),
    "a varint that its message cuts": (
        in_graph(field(5, b"\x10\x80") + MORE),
        "a Tensor that ends early",
    ),
    "a list of three bytes of floats": (
        in_graph(field(5, field(4, b"abc"))),
        "a list of floats that ends early",
    ),
    "no operator set": (lambda payload: b"\x08\x08" + field(7, b""), "other or incomplete data"),
    "no graph": (lambda payload: b"\x08\x08" + field(8, b"\x10\x11"), "other or incomplete data"),
    "another format": (
        lambda payload: b'<?xml version="1.0"?><net name="pvlr"/>',
        "other or incomplete data",
    ),
}
RUNTIME = {
    "column by row": broadcast,
    "computed shape": computed_shape,
    "doubled": doubled,
    "alive": alive,
}
"""Networks whose shapes only a runtime knows: they are refused before it allocates."""


def attacked(attack: str, payload: bytes) -> tuple[bytes, str]:
    """A network changed by one of :data:`CHANGES` or :data:`BYTES`, and what the error says."""
    if attack in CHANGES:
        change, says = CHANGES[attack]
        return changed(payload, change), says
    make, says = BYTES[attack]
    return make(payload), says
