"""Networks whose labels are updated in blocks become those without blocks again, for TensorRT."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pvlr_sdk.compile.export import OnnxBackend
from pvlr_sdk.compile.onnx import edit
from pvlr_sdk.compile.onnx.blocks import join_blocks
from pvlr_sdk.compile.onnx.convert import convert

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

LABELS = tuple(f"label {number}" for number in range(20))
SIDE = 64


def exported(monkeypatch: pytest.MonkeyPatch, block: int, layers: int = 1, mode: str = "both") -> bytes:
    """A network with random weights as ``pvlr export`` writes it, with so many labels per block."""
    from pvlr_training.config import Config
    from pvlr_training.deploy import DeployedPVLR
    from pvlr_training.export import describe, to_onnx
    from pvlr_training.model import dma
    from pvlr_training.model.network import PVLR

    monkeypatch.setattr(dma, "_BLOCK", block)
    torch.manual_seed(0)
    head = {"width": 64, "heads": 2, "ffn": 48, "layers": layers, "dma": mode, "text": {"encoder": "random"}}
    stage = {"epochs": 1, "batch": 1, "lr": 1e-3}
    config = Config.model_validate(
        {
            "name": "blocks",
            "model": {"backbone": "tf_efficientnet_lite0", "pretrained": False, **head},
            "data": {
                "input": {"width": SIDE, "height": SIDE, "mean": [127] * 3, "std": [64] * 3},
                "labels": LABELS,
                "sources": [{"images": ".", "labels": "x", "splits": ["train"]}],
            },
            "train": {"head": stage, "finetune": stage},
        }
    )
    deployed = DeployedPVLR(PVLR(LABELS, SIDE, SIDE, config.model).eval())
    return describe(to_onnx(deployed, config), deployed, config, {"holdout": {}})


def operators(payload: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(payload).graph.node)


def outputs(payload: bytes) -> tuple[np.ndarray, np.ndarray]:
    slot = OnnxBackend(payload).acquire()
    slot.input[:] = np.random.default_rng(0).normal(size=(3, SIDE, SIDE)).astype(np.float32)
    slot.start()
    logits, similarity = slot.wait()
    return logits.copy(), similarity.copy()


@pytest.mark.slow
@pytest.mark.parametrize(("block", "layers"), [(7, 1), (10, 2)])  # with a smaller last block, and without
def test_they_are_joined_and_fused(monkeypatch: pytest.MonkeyPatch, block: int, layers: int) -> None:
    blocked, whole = exported(monkeypatch, block, layers), exported(monkeypatch, 1024, layers)
    assert operators(blocked)["Softmax"] > operators(whole)["Softmax"]
    expected = outputs(whole)
    for attention in ("native", "fused"):
        mine, theirs = (convert(one, precision="fp32", attention=attention) for one in (blocked, whole))
        assert operators(mine) == operators(theirs)
        for result, wanted in zip(outputs(mine), expected, strict=True):
            np.testing.assert_allclose(result, wanted, atol=1e-4)
    fused = operators(convert(blocked, attention="fused"))
    assert (fused["DualSoftmaxAttention"], fused["TagHead"]) == (layers, 1)


@pytest.mark.slow
def test_one_direction_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no other affinity to share."""
    blocked = exported(monkeypatch, 7, mode="visual_to_label")
    joined = convert(blocked, precision="fp32")
    assert operators(joined)["Softmax"] == operators(blocked)["Softmax"] - 2
    np.testing.assert_allclose(outputs(joined)[0], outputs(blocked)[0], atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("change", ["operator", "weight", "order", "scale"])
def test_what_differs_stays_apart(monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    blocked = exported(monkeypatch, 7)
    model = edit.load(blocked, "network")
    nodes = model.graph.node
    last = [node for node in nodes if node.op_type == "Softmax" and node.name.startswith("/head/dma")][-1]
    if change == "operator":
        [node for node in nodes if node.op_type == "Erf"][-1].op_type = "Tanh"
    elif change == "weight":
        product = next(node for node in nodes if last.output[0] in node.input)
        value = edit.producers(model.graph)[product.input[1]]
        nodes.append(onnx.helper.make_node("Neg", [value.output[0]], ["other"]))
        product.input[1] = "other"
    elif change == "order":
        (concat,) = (node for node in nodes if node.op_type == "Concat" and edit.attribute(node, "axis") == 1)
        concat.input[:] = [*concat.input[1:], concat.input[0]]
    else:  # the keys of the second affinity are not those of the first one
        keys = edit.producers(model.graph)[last.input[0]].input[0]
        (tensor,) = (one for one in model.graph.initializer if one.name == keys)
        tensor.CopyFrom(onnx.numpy_helper.from_array(2 * onnx.numpy_helper.to_array(tensor), keys))
    edit.replace_nodes(model.graph, nodes)
    changed = model.SerializeToString()
    expected = outputs(changed)
    joined = join_blocks(model.graph)
    assert joined == (change in ("order", "scale"))
    softmaxes = [edit.attribute(node, "axis") for node in model.graph.node if node.op_type == "Softmax"]
    assert -2 not in softmaxes  # which would mean one affinity
    for result, wanted in zip(outputs(model.SerializeToString()), expected, strict=True):
        np.testing.assert_allclose(result, wanted, atol=1e-4)
