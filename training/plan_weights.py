"""The weights of a compiled network, to train on from: deployment in reverse, as far as it can be reversed."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from pvlr_sdk.bundle.manifest import Manifest
from pvlr_sdk.errors import CheckpointError
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.workshop.compile.onnx.edit import plain_weights

from .model.network import PVLR

_LEAST = 1e-3
"""The smallest scale of a batch norm that weights are divided by."""


def read_plan(plan: Path, model: PVLR) -> tuple[dict[str, Tensor], Manifest]:
    """The weights of a bundle by their names in ``model``, and the bundle's manifest.

    A plan has the backbone and the layers of the head that read the image, rounded to 8 or 16 bits. Of the text
    branch it has only what that computed, the label bank; the layers that read the bank are constants there.

    Raises:
        CheckpointError: the plan is for TensorRT, which keeps no weights.
        PlanNotFoundError, ManifestError, FileHashError, LabelBankError, SignatureError: as :meth:`load_bundle`.
    """
    bundle = load_bundle(plan)
    if bundle.manifest.backend != "openvino":
        raise CheckpointError(
            str(plan),
            "a plan for the CPU",
            f"one for {bundle.manifest.backend}",
            "Use the plan for the CPU that is built from the same network.",
        )
    graph = onnx.load_from_string(bundle.payload).graph
    plain_weights(graph)
    constants = {
        one.name: torch.from_numpy(numpy_helper.to_array(one).copy())
        for one in graph.initializer
        if one.data_type == onnx.TensorProto.FLOAT
    }
    return {
        **constants,
        **_products(graph, constants),
        **_convolutions(model.backbone, constants),
    }, bundle.manifest


def _products(graph: onnx.GraphProto, constants: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of linear layers, which the export transposes and renames, by the names of the layers."""
    found = {}
    for node in graph.node:
        weight = constants.get(node.input[1]) if node.op_type in ("MatMul", "Gemm") else None
        if weight is None or weight.ndim != 2:
            continue
        bias = node.input[2] if node.op_type == "Gemm" else ""
        layer = bias.removesuffix(".bias") or node.output[0].strip("/").rpartition("/")[0].replace(
            "/", "."
        )
        transposed = any(one.name == "transB" and one.i for one in node.attribute)
        found[f"{layer}.weight"] = weight if transposed else weight.T
    return found


def _convolutions(backbone: nn.Module, constants: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convolutions with the batch norm that was folded into them taken out again.

    Many pairs compute the same. This one keeps the statistics and scales of the norms of ``backbone``: a learning rate
    then means for these weights what it means for pretrained ones.
    """
    found = {}
    for path, parent in backbone.named_modules(prefix="backbone"):
        for (conv, layer), (name, norm) in pairwise(list(parent.named_children())):
            if not isinstance(layer, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                continue
            weight, bias = (constants.get(f"{path}.{conv}.{part}") for part in ("weight", "bias"))
            if weight is None or bias is None:  # as in int8; the caller says so
                continue
            spread = torch.sqrt(norm.running_var + norm.eps)
            scale = norm.weight.detach() / spread
            scale = torch.where(scale.abs() < _LEAST, torch.ones_like(scale), scale)
            if scale.shape != bias.shape:  # another network; the caller says so
                continue
            found[f"{path}.{conv}.weight"] = weight / scale[:, None, None, None]
            found[f"{path}.{name}.weight"] = scale * spread
            found[f"{path}.{name}.bias"] = bias + norm.running_mean * scale
            found[f"{path}.{name}.running_mean"] = norm.running_mean
            found[f"{path}.{name}.running_var"] = norm.running_var
            found[f"{path}.{name}.num_batches_tracked"] = norm.num_batches_tracked
    return found
