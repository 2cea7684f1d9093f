"""Stores weights in 8 bits: integers with one scale per output channel, rounded so that each layer's outputs stay.

Rounding to the nearest integer costs accuracy. GPTQ (Frantar et al., 2023) rounds the weights of a channel one after
another, and after each it changes the rest of them so that the outputs on typical images differ least.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from ....backends.openvino import Network, open_core, read_network
from ....bundle.open_labels import label_inputs
from ....bundle.schema import IMAGE
from . import edit

if TYPE_CHECKING:
    import onnx

_LARGEST = 127
_LARGEST_SUM = 128
"""Of two neighbours of the same sign: 255 times 128 is within 16 bits."""
_IMAGES = 64
"""Images to measure on; with 200, a Lite2 network's mean logit difference was 0.0209 instead of 0.0213."""
_SAMPLES = 256
"""Positions of each image that a layer's inputs are sampled at."""
_DAMPING = 0.1
"""Added to the variances, as a share of their mean. Of 0.01 to 10, 0.01 and 0.1 gave the smallest errors on other
images than those measured; without it, inputs that were always 0 would allow any weight."""
_BLOCK = 128
"""Inputs whose errors are passed on to the rest together, as one matrix product."""


@dataclass(frozen=True)
class _Layer:
    """A convolution or matrix product with constant weights."""

    node: onnx.NodeProto
    weights: NDArray[np.float32]

    @property
    def name(self) -> str:
        return self.node.input[1]

    @property
    def axis(self) -> int:
        """The axis of the output channels."""
        return 0 if self.node.op_type == "Conv" or edit.attribute(self.node, "transB", 0) else 1

    def rows(self) -> NDArray[np.float64]:
        """The weights as (groups, outputs, inputs): each row gives one output channel."""
        by_output = np.moveaxis(self.weights, self.axis, 0)
        groups = edit.attribute(self.node, "group", 1)
        channels = by_output.shape[1]
        taps = by_output.reshape(groups, len(by_output) // groups, channels, -1)
        return taps.swapaxes(2, 3).reshape(*taps.shape[:2], -1).astype(np.float64)

    def integers(self, rows: NDArray[np.float64]) -> NDArray[np.int8]:
        """Rounded rows in the order of the weights."""
        moved = np.moveaxis(self.weights, self.axis, 0).shape
        by_output = rows.reshape(moved[0], -1, moved[1]).swapaxes(1, 2).reshape(moved)
        return np.ascontiguousarray(np.moveaxis(by_output, 0, self.axis).astype(np.int8))

    def samples(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """What the rows are multiplied with, at some positions: (groups, inputs, positions)."""
        if self.node.op_type != "Conv":
            flat = inputs.reshape(-1, inputs.shape[-1])
            return flat[_evenly(len(flat))].T[None]
        top, left, bottom, right = edit.attribute(self.node, "pads", [0] * 4)
        (down, across), (y, x) = (
            edit.attribute(self.node, name, [1, 1]) for name in ("dilations", "strides")
        )
        height, width = self.weights.shape[2:]
        window = (height - 1) * down + 1, (width - 1) * across + 1
        padded = np.pad(inputs[0], ((0, 0), (top, bottom), (left, right)))
        windows = sliding_window_view(padded, window, (1, 2))[:, ::y, ::x, ::down, ::across]
        chosen = np.unravel_index(_evenly(windows.shape[1] * windows.shape[2]), windows.shape[1:3])
        groups = edit.attribute(self.node, "group", 1)
        channels = self.weights.shape[1]
        sampled = windows[:, chosen[0], chosen[1]].reshape(groups, channels, len(chosen[0]), -1)
        return sampled.transpose(0, 3, 1, 2).reshape(groups, -1, len(chosen[0]))


def store_in_8_bits(
    network: Network, images: Sequence[NDArray[np.float32]], with_ranges: bytes | None = None
) -> bytes:
    """Store the weights of layers that depend on the image as int8 with a DequantizeLinear.

    Weights that only labels are multiplied with stay as they are: an open network meets labels that no image shows.

    Args:
        network: an exported network in fp32.
        images: preprocessed images (3, H, W), to measure the layers' inputs on.
        with_ranges: the same network with quantised activations, to store instead.

    Raises:
        MissingPartError: the package onnx is not installed.
    """
    from onnx import helper, numpy_helper

    model = edit.load(network.payload, network.source)
    graph = model.graph
    layers = list(_layers(graph))
    moments = _second_moments(network, model, layers, images)
    if with_ranges is not None:
        model = edit.parse(with_ranges, network.source)
        graph = model.graph
    constants = edit.initializers(graph)
    nodes = []
    for layer in {layer.name: layer for layer in layers}.values():
        rows, scales = fit(layer.rows(), moments[layer.name])
        stored = f"{layer.name}_int8"
        scale = f"{layer.name}_scale"
        graph.initializer.append(
            numpy_helper.from_array(scales.reshape(-1).astype(np.float32), scale)
        )
        constants[layer.name].CopyFrom(numpy_helper.from_array(layer.integers(rows), stored))
        nodes.append(
            helper.make_node("DequantizeLinear", [stored, scale], [layer.name], axis=layer.axis)
        )
    edit.replace_nodes(graph, [*nodes, *graph.node])
    edit.store_half(graph)
    payload: bytes = model.SerializeToString()
    return payload


def _layers(graph: onnx.GraphProto) -> Iterator[_Layer]:
    constants = edit.initializers(graph)
    of_image = {IMAGE}
    for node in graph.node:  # in topological order
        if not of_image.isdisjoint(node.input):
            of_image.update(node.output)
        if node.op_type not in ("Conv", "MatMul", "Gemm") or node.input[0] not in of_image:
            continue
        weights = constants.get(node.input[1])
        if weights is not None and len(weights.dims) == (4 if node.op_type == "Conv" else 2):
            yield _Layer(node, edit.numpy(weights))


def _second_moments(
    network: Network,
    model: onnx.ModelProto,
    layers: Sequence[_Layer],
    images: Sequence[NDArray[np.float32]],
) -> dict[str, NDArray[np.float64]]:
    """Of the inputs of each layer, by the name of its weights: (groups, inputs, inputs)."""
    from onnx import helper

    observed = type(model)()
    observed.CopyFrom(model)
    ports = (*observed.graph.input, *observed.graph.output)
    for name in sorted({layer.node.input[0] for layer in layers} - {port.name for port in ports}):
        observed.graph.output.append(helper.make_empty_tensor_value_info(name))
    readable = read_network(observed.SerializeToString(), network.source)
    labels = (
        label_inputs(network.bank, network.open, network.source)
        if network.open and network.bank
        else {}
    )
    shapes = {IMAGE: network.input_shape, **{name: value.shape for name, value in labels.items()}}
    readable.reshape({name: list(shape) for name, shape in shapes.items()})
    request = (
        open_core()
        .compile_model(readable, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        .create_infer_request()
    )
    moments: dict[str, NDArray[np.float64]] = {}
    for image in images[:_IMAGES]:
        request.infer({IMAGE: image[None], **labels})
        for layer in layers:
            samples = layer.samples(request.get_tensor(layer.node.input[0]).data)
            products = (samples @ samples.swapaxes(1, 2)).astype(np.float64)
            moments[layer.name] = moments.get(layer.name, np.zeros(1)) + products
    return moments


def fit(
    rows: NDArray[np.float64], moments: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Round the rows of a layer to integers of -127 to 127 times one scale per row.

    A CPU without VNNI multiplies activations of 8 bits by two neighbours and adds both in 16 bits, which saturate. So
    the sum of two neighbours is at most 128, except in depthwise convolutions, which add in 32 bits. NNCF's answer, 7
    bits for all weights, doubles the rounding error everywhere.

    Args:
        rows: (groups, outputs, inputs), neighbours next to each other.
        moments: (groups, inputs, inputs), the second moments of the inputs.

    Returns:
        the integers, shaped like ``rows``, and the scales (groups, outputs).
    """
    groups, outputs, inputs = rows.shape
    paired = outputs > 1 or groups == 1
    even = np.zeros((groups, outputs, inputs + inputs % 2))
    even[:, :, :inputs] = rows
    pairs = even.reshape(groups, outputs, -1, 2)
    sums = np.maximum(np.maximum(pairs, 0).sum(3), np.maximum(-pairs, 0).sum(3)).max(2)
    largest = np.maximum(np.abs(rows).max(2) / _LARGEST, sums / _LARGEST_SUM if paired else 0)
    scales = np.where(largest > 0, largest, 1).astype(np.float32).astype(np.float64)
    variances = np.einsum("gii->gi", moments)
    damping = _DAMPING * (variances.mean(1) + 0.01 * variances.mean()) + 1e-12
    # The inputs that matter most come first: all others can still make up for their errors.
    order = np.argsort(-variances, axis=1, kind="stable")
    moments = np.take_along_axis(
        np.take_along_axis(moments, order[:, :, None], 1), order[:, None], 2
    )
    upper = np.linalg.inv(moments + damping[:, None, None] * np.eye(inputs))
    upper = np.linalg.cholesky(upper).swapaxes(1, 2)
    left = np.take_along_axis(rows, order[:, None], 2)
    integers = np.zeros_like(even)
    for begin in range(0, inputs, _BLOCK):
        block = slice(begin, min(begin + _BLOCK, inputs))
        errors = np.empty_like(left[:, :, block])
        for i in range(block.start, block.stop):
            place = order[:, i, None, None]
            # 0 before its turn
            neighbour = np.take_along_axis(integers, place ^ 1, 2)[:, :, 0] * paired
            lowest = np.maximum(-_LARGEST, -_LARGEST_SUM - np.minimum(neighbour, 0))
            most = np.minimum(_LARGEST, _LARGEST_SUM - np.maximum(neighbour, 0))
            rounded = np.clip(np.rint(left[:, :, i] / scales), lowest, most)
            np.put_along_axis(integers, place, rounded[:, :, None], 2)
            error = (left[:, :, i] - rounded * scales) / upper[:, i, i, None]
            left[:, :, i : block.stop] -= error[:, :, None] * upper[:, None, i, i : block.stop]
            errors[:, :, i - begin] = error
        left[:, :, block.stop :] -= errors @ upper[:, block, block.stop :]
    return integers[:, :, :inputs], scales


def _evenly(count: int) -> NDArray[np.int64]:
    """Positions to sample, of ``count``."""
    return np.linspace(0, count - 1, min(count, _SAMPLES)).round().astype(np.int64)
