"""A network is plain data: each way to make a runtime read, allocate or loop is refused before it sees a byte."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.bundle.network import MAX_NODES, check_network
from tests.manifests import edit_manifest

onnx = pytest.importorskip("onnx")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto

ROOT = Path(__file__).parents[3]
SHIPPED = sorted([*ROOT.glob("models/*/engine.plan"), *ROOT.glob("pvlr_sdk/models/*/engine.plan")])


def outside(location: str, **entries: str) -> Callable[[Any], None]:
    """The values of the first constant are in a file, or at an address in memory."""

    def change(model: Any) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in {"location": location, **entries}.items():
            tensor.external_data.add(key=key, value=value)

    return change


def fed(*nodes: Any, **constants: np.ndarray) -> Callable[[Any], None]:
    """More nodes, whose output ``more`` is added to the logits."""

    def change(model: Any) -> None:
        graph = model.graph
        graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
        graph.node[-1].output[0] = "logits_before"
        graph.node.extend([*nodes, helper.make_node("Add", ["logits_before", "more"], ["logits"])])

    return change


def summed(name: str) -> Any:
    return helper.make_node("ReduceSum", [name], ["more"], keepdims=0)


def endless() -> Any:
    """Loop with a condition that stays true."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["again"], ["on"]), helper.make_node("Identity", ["value"], ["next"])],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("again", TensorProto.BOOL, []),
            helper.make_tensor_value_info("value", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [1]),
        ],
    )
    return helper.make_node("Loop", ["", "yes", "start"], ["more"], body=body)


def function(model: Any) -> None:
    """The first Relu is a function of the model."""
    model.opset_import.append(helper.make_opsetid("own", 1))
    inside = [helper.make_node("Relu", ["x"], ["y"])]
    model.functions.append(helper.make_function("own", "Mine", ["x"], ["y"], inside, [helper.make_opsetid("", 17)]))
    model.graph.node[1].op_type, model.graph.node[1].domain = "Mine", "own"


def sparse(model: Any) -> None:
    values = numpy_helper.from_array(np.float32([1]), "sparse")
    indices = numpy_helper.from_array(np.int64([0]), "indices")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [10**12]))


def lies(model: Any) -> None:
    """A constant of more elements than there are bytes for."""
    model.graph.initializer[0].dims[0] = 10**10


def negative(model: Any) -> None:
    tensor = model.graph.initializer[0]
    tensor.dims[0], tensor.dims[1] = -tensor.dims[0], -tensor.dims[1]


def deep(model: Any) -> None:
    model.graph.initializer.append(helper.make_tensor("deep", TensorProto.FLOAT, [1] * 9, [0.0]))


def strings(model: Any) -> None:
    model.graph.initializer.append(helper.make_tensor("text", TensorProto.STRING, [1], [b"x"]))


def another_domain(model: Any) -> None:
    model.graph.node[1].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def huge_padding(model: Any) -> None:
    model.graph.node[0].attribute.append(helper.make_attribute("pads", [2**30] * 4))


ADDS = [
    helper.make_node("Add", [f"a{i}" if i else "logits_before", "step"], [f"a{i + 1}" if i < 19_999 else "more"])
    for i in range(20_000)
]
HUGE = np.int64([1_250_000_000])
ATTACKS: dict[str, tuple[Callable[[Any], None], str]] = {
    "memory address": (outside("*/_ORT_MEM_ADDR_/*", offset="4096", length="6144"), "field 13 of Tensor"),
    "relative file": (outside("secret.bin"), "field 13 of Tensor"),
    "symbolic link": (outside("link/secret.bin"), "field 13 of Tensor"),
    "function": (function, "version 1 of the operators of domain 'own'"),
    "loop": (fed(endless(), yes=np.bool_(True), start=np.float32([0])), "field 6 of Attribute"),
    "constant of shape": (
        fed(helper.make_node("ConstantOfShape", ["huge"], ["filled"]), summed("filled"), huge=HUGE),
        "ConstantOfShape to shape",
    ),
    "expand": (
        fed(helper.make_node("Expand", ["point", "huge"], ["wide"]), summed("wide"), point=np.float32([1]), huge=HUGE),
        "Expand to shape",
    ),
    "tile": (
        fed(helper.make_node("Tile", ["point", "huge"], ["wide"]), summed("wide"), point=np.float32([1]), huge=HUGE),
        "Tile to shape",
    ),
    "20,000 adds": (fed(*ADDS, step=np.float32([1])), f"20011 nodes, more than {MAX_NODES}"),
    "sparse tensor": (sparse, "field 15 of Graph"),
    "too few values": (lies, "a constant of shape"),
    "negative sides": (negative, "a constant of shape"),
    "nine dimensions": (deep, "more than 8 dimensions"),
    "strings": (strings, "field 6 of Tensor"),
    "other domain": (another_domain, "domain 'com.microsoft'"),
    "padding": (huge_padding, "an attribute of 1073741824"),
}


def attacked(plan: Path, change: Callable[[Any], None]) -> bytes:
    """Replace a plan's network by a changed one, with a manifest that fits; returns the network."""
    model = onnx.load_from_string(plan.read_bytes())
    change(model)
    payload: bytes = model.SerializeToString()
    replace_payload(plan, payload)
    return payload


def replace_payload(plan: Path, payload: bytes) -> None:
    plan.write_bytes(payload)
    spec = {"bytes": len(payload), "sha256": hashlib.sha256(payload).hexdigest()}
    edit_manifest(plan, lambda raw: raw["files"].update(plan=spec))


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_attack_is_refused_before_a_runtime_sees_it(
    attack: str, own_plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, says = ATTACKS[attack]
    payload = attacked(own_plan, change)
    monkeypatch.setattr("pvlr_sdk.backends.runtimes.openvino", None, raising=True)
    began = time.perf_counter()
    with pytest.raises(errors.UnsafeNetworkError, match=says):
        check_network(payload, "engine.plan")
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("attack", ["memory address", "loop"])
def test_the_tagger_and_the_compiler_refuse_too(attack: str, own_plan: Path) -> None:
    from pvlr_sdk.compile.build import build

    attacked(own_plan, ATTACKS[attack][0])
    with pytest.raises(errors.UnsafeNetworkError):
        Tagger(own_plan)
    onnx_path = own_plan.with_suffix(".onnx")
    own_plan.rename(onnx_path)
    with pytest.raises(errors.UnsafeNetworkError):
        build(onnx_path, own_plan)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["column by row", "computed shape", "doubled", "alive"])
def test_shapes_that_only_the_runtime_knows_are_bounded_before_it_allocates(what: str, own_plan: Path) -> None:
    """Broadcasting makes a table of any size from two short constants; a shape may be computed from the input's."""
    import resource

    column, row = np.zeros((50_000, 1), np.float32), np.zeros((1, 50_000), np.float32)
    table = [helper.make_node("Add", ["column", "row"], ["table"]), summed("table")]
    shape = [
        helper.make_node("Shape", ["similarity"], ["three"]),
        helper.make_node("Mul", ["three", "times"], ["huge"]),
        helper.make_node("ConstantOfShape", ["huge"], ["filled"]),
        summed("filled"),
    ]
    doubled = [
        helper.make_node("Concat", [f"c{i}" if i else "similarity"] * 2, [f"c{i + 1}"], axis=1) for i in range(30)
    ]
    row_of = np.zeros((1, 8192), np.float32)
    wide = [helper.make_node("Add", ["column", f"row{i}"], [f"t{i}"]) for i in range(40)]
    tables = [f"t{i}" for i in range(40)]
    twice = [helper.make_node("Max", tables, ["most"]), helper.make_node("Min", [*tables, "most"], ["least"])]
    change = {
        "column by row": fed(*table, column=column, row=row),
        "computed shape": fed(*shape, times=np.int64([5_000, 5_000, 5])),
        "doubled": fed(*doubled, summed("c30")),
        "alive": fed(
            *wide,
            *twice,
            summed("least"),
            column=np.zeros((8192, 1), np.float32),
            **{f"row{i}": row_of + i for i in range(40)},
        ),
    }[what]
    check_network(attacked(own_plan, change), "engine.plan")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(errors.UnsafeNetworkError, match="tensors of at most"):
        Tagger(own_plan)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"no network",
        b'<?xml version="1.0"?><net name="pvlr" version="11"><layers/><edges/></net>',
        b"\x08\x08",
        b"\xff" * 100,
        b"\x08" + b"\x80" * 11,
        b"\x08\x08\x0a\x0cTFL3" + b"x" * 8,
    ],
)
def test_other_bytes_are_refused(payload: bytes, own_plan: Path) -> None:
    with pytest.raises(errors.ModelError):
        check_network(payload, "engine.plan")
    if payload:
        replace_payload(own_plan, payload)
        with pytest.raises(errors.ModelError):
            Tagger(own_plan)


def test_a_field_that_is_there_twice_is_refused(exported: Any) -> None:
    """Parsers merge or replace: the second graph would not be the one that was walked."""
    payload = exported.onnx.read_bytes()
    assert onnx.load_from_string(payload + payload)
    with pytest.raises(errors.UnsafeNetworkError, match="field 1 of Model twice"):
        check_network(payload + payload, "engine.plan")


def test_every_cut_is_an_error(exported: Any) -> None:
    model = onnx.load(exported.onnx)
    del model.metadata_props[:]  # the rest is needed to its last byte
    payload = model.SerializeToString()
    for length in range(0, len(payload), 7):
        with pytest.raises(errors.ModelError):
            check_network(payload[:length], "engine.plan")


def test_a_file_of_many_fields_takes_no_time() -> None:
    many = b"\x08\x08" + b"\x72\x00" * 20_000_000  # empty entries of metadata
    began = time.perf_counter()
    with pytest.raises(errors.UnsafeNetworkError, match="fields"):
        check_network(many, "engine.plan")
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("plan", SHIPPED, ids=lambda path: path.parent.name)
def test_the_models_pass(plan: Path) -> None:
    check_network(plan.read_bytes(), str(plan))


def test_the_walk_is_fast() -> None:
    """Less than 10 ms of processor time for the model in the wheel; 3 ms were measured."""
    payload = next(path for path in SHIPPED if "pvlr_sdk" in path.parts[-4:]).read_bytes()
    times = []
    for _ in range(5):
        began = time.process_time()
        check_network(payload, "engine.plan")
        times.append(time.process_time() - began)
    assert min(times) < 0.01
