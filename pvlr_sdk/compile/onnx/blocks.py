"""Joins the blocks in which an exported network updates many labels.

Beyond 1024 labels the dual-modal attention updates them in blocks, which suits the cache of a CPU; the affinity is
computed a second time, transposed. A GPU gains by one large product instead, and fused attention replaces nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import edit

if TYPE_CHECKING:
    import onnx

_BY_ROW = frozenset(["Add", "Div", "Erf", "Gemm", "LayerNormalization", "MatMul", "Mul", "Softmax"])
"""Operators of a block that compute each label on its own, under the conditions of :meth:`_Blocks.whole`."""
_SHAPES = frozenset(["Concat", "Reshape", "Shape", "Slice", "Transpose"])
_LABEL_AXIS = {3: 1, 4: 2}
"""The labels' axis, by rank: (1, labels, width) or (1, heads, labels, dim)."""


def join_blocks(graph: onnx.GraphProto) -> int:
    """Replace blocks of labels by one computation for all, in place; returns the number of layers that had blocks.

    The result is the graph of a network with fewer labels: one affinity, whose softmax is taken along both axes.
    """
    joined = 0
    for node in [node for node in graph.node if node.op_type == "Concat" and edit.attribute(node, "axis") == 1]:
        blocks = _Blocks(graph, node.output[0])
        whole = blocks.whole(tuple(node.input)) if len(node.input) > 1 else None
        if whole is not None:
            blocks.apply()
            _reconnect(graph, node.output[0], whole)
            joined += 1
    if joined:
        del graph.value_info[:]  # it has the shapes of blocks
        for softmax in [node for node in graph.node if node.op_type == "Softmax"]:
            _share_affinity(graph, softmax)
        edit.replace_nodes(graph, graph.node)
    return joined


class _Blocks:
    """Equal computations on blocks of labels, walked together from their results to where they begin."""

    def __init__(self, graph: onnx.GraphProto, name: str) -> None:
        self._graph, self._name = graph, name
        self._made = edit.producers(graph)
        self._inputs: dict[str, list[str]] = {}
        self._constants: dict[str, np.ndarray] = {}
        self._known: dict[tuple[str, ...], str | None] = {}

    def whole(self, parts: tuple[str, ...]) -> str | None:
        """The tensor of all labels for those of the blocks; None if they differ in more than their labels."""
        if parts not in self._known:
            self._known[parts] = self._whole(parts)
        return self._known[parts]

    def apply(self) -> None:
        """Let the first block compute what :meth:`whole` named."""
        from onnx import numpy_helper

        self._graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in self._constants.items())
        for name, inputs in self._inputs.items():
            node = self._made[name]
            del node.input[:]
            node.input.extend(inputs)

    def _whole(self, parts: tuple[str, ...]) -> str | None:
        if len(set(parts)) == 1:
            return parts[0]
        nodes = [self._made[part] for part in parts if part in self._made]
        if not nodes:
            return self._joined_constant(parts)
        first = nodes[0]
        if len(nodes) < len(parts):
            return None
        if first.op_type == "Split":
            return first.input[0] if list(first.output) == list(parts) else None
        if any(_kind(node) != _kind(first) for node in nodes) or not self._by_row(nodes):
            return None
        inputs = [self.whole(tuple(names)) for names in zip(*(node.input for node in nodes), strict=True)]
        if first.op_type == "Reshape" and first.input[1] not in self._made:
            inputs[1] = self._joined_shape([node.input[1] for node in nodes])
        if None in inputs:
            return None
        self._inputs[first.output[0]] = [name for name in inputs if name is not None]
        return first.output[0]

    def _by_row(self, nodes: list[onnx.NodeProto]) -> bool:
        """Whether the nodes compute for each label what one node for all labels would."""
        first = nodes[0]
        if first.op_type in ("Softmax", "LayerNormalization"):
            return edit.attribute(first, "axis", -1) == -1
        if first.op_type in ("MatMul", "Gemm"):
            shared = {tuple(node.input[1:]) for node in nodes}
            return len(shared) == 1 and not edit.attribute(first, "transA", 0)
        return first.op_type in _BY_ROW | _SHAPES

    def _joined_shape(self, parts: list[str]) -> str | None:
        """For Reshape: rows (-1, width), or (-1, labels of the block, width)."""
        shapes = [tuple(shape) for part in parts if (shape := edit.constant(self._graph, part)) is not None]
        if len(shapes) < len(parts) or {(len(one), one[0], one[-1]) for one in shapes} != {
            (len(shapes[0]), -1, shapes[0][-1])
        }:
            return None
        if len(shapes[0]) == 2:
            return parts[0]
        if len(shapes[0]) != 3 or min(one[1] for one in shapes) < 1:
            return None
        return self._constant(parts[0], np.array([-1, sum(one[1] for one in shapes), shapes[0][2]]))

    def _joined_constant(self, parts: tuple[str, ...]) -> str | None:
        values = [edit.constant(self._graph, part) for part in parts]
        arrays = [value for value in values if value is not None and value.ndim in _LABEL_AXIS]
        if len(arrays) < len(parts) or len({array.ndim for array in arrays}) > 1:
            return None
        axis = _LABEL_AXIS[arrays[0].ndim]
        if len({np.delete(array.shape, axis).tobytes() for array in arrays}) > 1:
            return None
        return self._constant(parts[0], np.concatenate(arrays, axis))

    def _constant(self, part: str, value: np.ndarray) -> str:
        name = f"{self._name}/{part}"
        self._constants[name] = value
        return name


def _kind(node: onnx.NodeProto) -> tuple[object, ...]:
    """What equal nodes of different blocks have in common."""
    attributes = sorted((one.name, one.SerializeToString()) for one in node.attribute)
    return node.op_type, node.domain, len(node.input), len(node.output), *attributes


def _reconnect(graph: onnx.GraphProto, before: str, after: str) -> None:
    for node in edit.consumers(graph)[before]:
        for place, name in enumerate(node.input):
            if name == before:
                node.input[place] = after


def _share_affinity(graph: onnx.GraphProto, softmax: onnx.NodeProto) -> None:
    """Take a softmax over K X^T from the affinity X K^T of the same rows instead, if the graph has it."""
    from onnx import helper

    made, read = edit.producers(graph), edit.consumers(graph)
    product = made.get(softmax.input[0])
    turned = made.get(product.input[1]) if product is not None and product.op_type == "MatMul" else None
    if product is None or turned is None or not _transposes(turned, [0, 2, 3, 1]):
        return
    queries = [node.output[0] for node in read[turned.input[0]] if _transposes(node, [0, 2, 1, 3])]
    products = [node for name in queries for node in read[name] if node.op_type == "MatMul" and node.input[0] == name]
    for other in products:
        for scaled in read[other.output[0]]:
            factor = _factor(graph, scaled)
            if factor is None or not _same_keys(graph, product.input[0], other.input[1], factor):
                continue
            by_label = f"{softmax.output[0]}_by_label"
            _reconnect(graph, softmax.output[0], by_label)
            softmax.input[0] = scaled.output[0]
            del softmax.attribute[:]
            softmax.attribute.append(helper.make_attribute("axis", -2))
            name = f"{softmax.name}_by_label"
            graph.node.append(helper.make_node("Transpose", [softmax.output[0]], [by_label], name, perm=[0, 1, 3, 2]))
            return


def _same_keys(graph: onnx.GraphProto, keys: str, transposed: str, factor: float) -> bool:
    """Whether ``keys`` (1, heads, labels, dim) are ``factor`` times the transposed ones (1, heads, dim, labels)."""
    mine, theirs = edit.constant(graph, keys), edit.constant(graph, transposed)
    if mine is not None and theirs is not None:
        expected = factor * theirs.swapaxes(2, 3)
        return mine.shape == expected.shape and np.allclose(mine, expected, rtol=1e-4, atol=1e-6)
    made = edit.producers(graph)
    scaled, turned = made.get(keys), made.get(transposed)
    if scaled is None or turned is None or not np.isclose(_factor(graph, scaled) or 0, factor, rtol=1e-5):
        return False
    plain = next((made[name] for name in scaled.input if name in made), None)
    if plain is None or not _transposes(plain, [0, 2, 1, 3]) or not _transposes(turned, [0, 2, 3, 1]):
        return False
    return plain.input[0] == turned.input[0]


def _factor(graph: onnx.GraphProto, node: onnx.NodeProto) -> float | None:
    """The constant number that a node multiplies a tensor by."""
    numbers = [value for name in node.input if (value := edit.constant(graph, name)) is not None and value.size == 1]
    if node.op_type not in ("Mul", "Div") or len(numbers) != 1:
        return None
    if node.op_type == "Div":
        return 1 / float(numbers[0]) if edit.constant(graph, node.input[0]) is None else None
    return float(numbers[0])


def _transposes(node: onnx.NodeProto, perm: list[int]) -> bool:
    return node.op_type == "Transpose" and list(edit.attribute(node, "perm")) == perm
