"""What the exporter writes and names, ``--attention fused`` replaces, with the same results."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.workshop.compile.export import outputs_of
from pvlr_sdk.workshop.compile.onnx import edit
from pvlr_sdk.workshop.compile.onnx.convert import convert

from .conftest import random_config

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")

SIDE = 64


def exported(
    labels: int = 20,
    backbone: str = "tf_efficientnet_lite0",
    *,
    is_open: bool = False,
    **model: Any,
) -> bytes:
    """A network with random weights as ``pvlr export`` writes it."""
    from pvlr_sdk.bundle.open_labels import label_inputs
    from pvlr_training.deploy import DeployedPVLR, OpenPVLR
    from pvlr_training.export import describe, label_bank, open_bank, to_onnx
    from pvlr_training.model.network import PVLR

    torch.manual_seed(0)
    names = tuple(f"label {number}" for number in range(labels))
    head = {"backbone": backbone, "width": 64, "heads": 2, "ffn": 48, "layers": 1}
    config = random_config(names, SIDE, **{**head, **model})
    trained = PVLR(names, SIDE, SIDE, config.model).eval()
    deployed = DeployedPVLR(trained)
    if not is_open:
        return describe(to_onnx(deployed, config), deployed, config, {"holdout": {}})
    opened = OpenPVLR(deployed, trained.text)
    bank, room = open_bank(
        label_bank(deployed, config, [0.5] * labels, None), opened, config, labels
    )
    return describe(
        to_onnx(opened, config, label_inputs(bank, room)), deployed, config, {"holdout": {}}, room
    )


def operators(payload: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(payload).graph.node)


def outputs(payload: bytes) -> tuple[np.ndarray, np.ndarray]:
    return next(
        outputs_of(
            payload, [np.random.default_rng(0).normal(size=(3, SIDE, SIDE)).astype(np.float32)]
        )
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "heads"),
    [
        ({}, 1),
        ({"layers": 2, "position": "none"}, 1),
        ({"labels": 1100}, 1),  # with a second affinity
        ({"backbone": "vit_tiny_patch16_224"}, 1),
        ({"width": 60}, 0),  # the plugin's is a multiple of 8
    ],
    ids=str,
)
def test_attention_and_end_are_nodes(options: dict[str, Any], heads: int) -> None:
    payload = exported(**options)
    before, layers = operators(payload), options.get("layers", 1)
    fused = convert(payload, precision="fp32", attention="fused")
    after = operators(fused)
    assert (after["DualSoftmaxAttention"], after["TagHead"]) == (layers, heads)
    assert before["Softmax"] - after["Softmax"] == 2 * layers + heads
    for result, wanted in zip(outputs(fused), outputs(payload), strict=True):
        np.testing.assert_allclose(result, wanted, atol=1e-4)
    graph = onnx.load_from_string(
        convert(payload, precision="fp16", attention="fused", maps=False)
    ).graph
    assert [output.name for output in graph.output] == ["logits"]
    ends = [node for node in graph.node if node.op_type == "TagHead"]
    assert [(len(node.output), edit.attribute(node, "maps")) for node in ends] == [(1, 0)] * heads


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dma": "visual_to_label"}, "/head/dma.0/visual_output"),
        ({"dma": "label_to_visual"}, "/head/dma.0/label_output"),
        ({"dma": "none"}, "/head/dma.0"),
        ({"head": "linear"}, "/head/dma.0"),
        ({"is_open": True}, "a label bank of its own"),
    ],
    ids=str,
)
def test_another_network_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(
        errors.ModelError,
        match=f"both directions, got a network without .*{reason}.*--attention native",
    ):
        convert(exported(**options), precision="fp32", attention="fused")


@pytest.mark.slow
def test_an_export_of_0_2_with_many_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    """Version 0.2 updated more than 1024 labels in blocks: native attention still is what it was."""
    from pvlr_training.model.dma import DualModalAttention, merge_heads

    def in_blocks(layer: Any, visual: Any, labels: Any, mask: None = None) -> tuple[Any, Any]:
        split = layer._split
        key, label_key = split(layer.visual_key(visual)), split(layer.label_key(labels))
        scale = key.shape[-1] ** -0.5
        read = (key @ label_key.transpose(-1, -2) * scale).softmax(-1) @ split(
            layer.label_value(labels)
        )
        new_visual = layer.visual_output(visual, merge_heads(read))
        value, updated = split(layer.visual_value(visual)), []
        for block, block_key in zip(
            labels.split(7, 1), (label_key * scale).split(7, 2), strict=True
        ):
            read = (block_key @ key.transpose(-1, -2)).softmax(-1) @ value
            updated.append(layer.label_output(block, merge_heads(read)))
        return new_visual, torch.cat(updated, 1)

    whole = exported()
    monkeypatch.setattr(DualModalAttention, "forward", in_blocks)
    blocked = exported()
    assert operators(blocked)["Softmax"] == operators(whole)["Softmax"] + 2
    for result, wanted in zip(
        outputs(convert(blocked, precision="fp32")), outputs(whole), strict=True
    ):
        np.testing.assert_allclose(result, wanted, atol=1e-4)
    with pytest.raises(
        errors.ModelError,
        match=r"all labels at once.*more than 1024 labels.*export it again",
    ):
        convert(blocked, precision="fp32", attention="fused")
