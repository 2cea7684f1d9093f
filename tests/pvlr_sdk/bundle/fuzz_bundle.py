"""A fuzz target for the files of a bundle: python tests/pvlr_sdk/bundle/fuzz_bundle.py -max_total_time=600

Valid files with any edits, of bytes or of values in JSON, are accepted, or rejected with the one error of their kind. A
manifest that is accepted can be written again; a network that is accepted is valid for protobuf's own parser, and all
its values are in the file. ``PVLR_FUZZ_KIND`` chooses one kind: manifest, labels or network.
"""

from __future__ import annotations

import copy
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import atheris
import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

with atheris.instrument_imports(include=["pvlr_sdk.bundle"]):
    from pvlr_sdk import errors
    from pvlr_sdk.bundle import manifest
    from pvlr_sdk.bundle.bundle import manifest_data
    from pvlr_sdk.bundle.label_bank import LabelBank
    from pvlr_sdk.bundle.manifest import parse_manifest
    from pvlr_sdk.bundle.network import MAX_ELEMENTS, check_network

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "pvlr_sdk" / "models" / "pvlr-lite2-open" / "engine.json"
OPERATORS = (ROOT / "csrc/host/network/operators.inc").read_text()


def small_manifest() -> bytes:
    raw = json.loads(SHIPPED.read_text())
    raw["labels"], raw["golden"]["logits"] = raw["labels"][:2], raw["golden"]["logits"][:2]
    raw["golden"]["frame_png"] = ""
    raw["measured"] = {"precisions": {"fp32": {"inference_ms": 1.5, "photos": 3, "tag_sets": 1.0}}}
    raw["built"] = {"time": raw["built"]["time"]}
    return json.dumps(raw).encode()


def small_network() -> bytes:
    shape = numpy_helper.from_array(np.int64([0, -1]), "shape")
    weight = numpy_helper.from_array(np.ones((2, 3, 2, 2), np.float32), "weight")
    typed = helper.make_tensor("typed", TensorProto.INT64, [2], [1, 2])
    nodes = [
        helper.make_node("Conv", ["image", "weight"], ["y"], strides=[2, 2]),
        helper.make_node("Reshape", ["y", "shape"], ["out"]),
        helper.make_node("Constant", [], ["c"], value=typed),
    ]
    ports = [
        helper.make_tensor_value_info(name, 1, ["batch", 3, 4, 4]) for name in ("image", "out")
    ]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:], [shape, weight, typed])
    data: bytes = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)]
    ).SerializeToString()
    return data


SEEDS = {
    "manifest": small_manifest(),
    "labels": LabelBank(
        ["a", "b"], np.ones((2, 4), np.float16), np.float32([0.2, 0.3]), {}, np.float32([0.4, 0.3])
    ).to_bytes(),
    "network": small_network(),
}


def edited(provider: atheris.FuzzedDataProvider, data: bytes) -> bytes:
    """Replace, remove and insert a few bytes."""
    for _ in range(provider.ConsumeIntInRange(1, 4)):
        at = provider.ConsumeIntInRange(0, len(data))
        gone = provider.ConsumeIntInRange(0, 8)
        data = (
            data[:at] + provider.ConsumeBytes(provider.ConsumeIntInRange(0, 8)) + data[at + gone :]
        )
    return data


VALUES: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        1,
        2**63 - 1,
        2**64,
        1e300,
        1e-300,
        -0.0,
        5e-324,
        "",
        "x",
        "9" * 50,
        "\ud800",
        "\x1b[2J",
    ),
    *(
        "fp32",
        "int8",
        "tensorrt",
        "2026-02-31",
        "10.3",
        [],
        {},
        [[]],
        [1, 2, 3],
        ["a", "a"],
        {"": {}},
    ),
    *(
        {"fp32": {"inference_ms": "x"}},
        {"version": "1.0", "capability": "8.7", "gpu": "x", "machine": "y"},
    ),
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Each container in a JSON document with each of its keys."""
    for key, inner in list(value.items() if isinstance(value, dict) else enumerate(value)):
        yield value, key
        if isinstance(inner, (dict, list)):
            yield from places(inner)


def altered(provider: atheris.FuzzedDataProvider, data: bytes) -> bytes:
    """Replace and remove values of a JSON document, and add some under new keys."""
    raw = json.loads(data)
    for _ in range(provider.ConsumeIntInRange(1, 3)):
        found = list(places(raw))
        container, key = found[provider.ConsumeIntInRange(0, len(found) - 1)]
        what = provider.ConsumeIntInRange(0, 9)
        if what == 0:
            del container[key]
        elif what == 1 and isinstance(container, dict):
            container[provider.ConsumeUnicode(8)] = copy.deepcopy(
                provider.PickValueInList(list(VALUES))
            )
        elif what == 2:
            container[key] = provider.ConsumeFloat()
        else:
            container[key] = copy.deepcopy(provider.PickValueInList(list(VALUES)))
    return json.dumps(raw).encode()


def check_manifest(data: bytes) -> None:
    try:
        parsed = parse_manifest(data, SHIPPED)
    except (errors.ManifestError, errors.ManifestVersionError):
        return
    text = json.dumps(parsed.model_dump(mode="json"), ensure_ascii=False)
    assert parse_manifest(text.encode(), SHIPPED) == parsed
    assert parse_manifest(manifest_data(parsed), SHIPPED) == parsed
    assert all(std > 0 for std in parsed.input.std)


def check_labels(data: bytes) -> None:
    try:
        bank = LabelBank.from_bytes(data)
    except errors.LabelBankError:
        return
    assert LabelBank.from_bytes(bank.to_bytes()).names == bank.names
    assert all(isinstance(name, str) for name in bank.names)
    assert len(bank.names) == len(bank.embeddings) == len(bank.thresholds)
    assert np.isfinite(bank.embeddings).all()
    assert ((bank.thresholds > 0) & (bank.thresholds < 1)).all()


def check_onnx(data: bytes) -> None:
    try:
        check_network(data, "engine.plan")
    except errors.ModelError:
        return
    model = ModelProto.FromString(data)
    assert not model.functions
    assert not model.training_info
    assert not model.graph.sparse_initializer
    tensors = [*model.graph.initializer]
    for node in model.graph.node:
        assert f'"{node.op_type}"' in OPERATORS
        for attribute in node.attribute:
            assert not attribute.HasField("g")
            assert not attribute.graphs
            assert not attribute.tensors
            if attribute.HasField("t"):
                tensors.append(attribute.t)
    for tensor in tensors:
        assert not tensor.external_data
        assert tensor.data_location == TensorProto.DEFAULT
        assert all(0 <= side <= MAX_ELEMENTS for side in tensor.dims)
        count = int(np.prod(tensor.dims))
        there = len(tensor.raw_data) or sum(
            map(len, (tensor.float_data, tensor.int32_data, tensor.int64_data))
        )
        assert count <= there


CHECKS = {"manifest": check_manifest, "labels": check_labels, "network": check_onnx}
KINDS = [kind] if (kind := os.environ.get("PVLR_FUZZ_KIND")) else sorted(CHECKS)


def check(data: bytes) -> None:
    """One input."""
    provider = atheris.FuzzedDataProvider(data)
    kind = provider.PickValueInList(KINDS)
    data = SEEDS[kind]
    if kind == "manifest" and provider.ConsumeBool():
        data = altered(provider, data)
        if provider.ConsumeBool():
            CHECKS[kind](data)
            return
    CHECKS[kind](edited(provider, data))


# networks and label banks are not checked, and measurements are read as they come
if "PVLR_PLANTED_BUG" in os.environ:
    check_network = lambda *_: None
    manifest._PRECISIONS = SimpleNamespace(
        validate_python=lambda found: [one["tag_sets"] for one in found.values()]
    )
    LabelBank._check = lambda *_: None

if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
