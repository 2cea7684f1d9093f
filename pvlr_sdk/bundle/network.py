"""Checks that an ONNX network is plain data, before a runtime sees it.

A runtime does what a network says: read tensors from files or memory addresses, allocate what a shape asks for, loop
without end. So its bytes are walked first, without a runtime and without the package ``onnx``. What the exporter does
not write is refused: external data, functions, subgraphs, other operators, tensors whose bytes are not all there.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence

from .. import errors
from .operators import DOMAINS, OPERATORS, SHAPES
from .protobuf import BYTES, FLOAT, INT, Message, signed, varints

MAX_BYTES = 2**30
"""Of a network. The largest that the exporter was tried with has 172 MB."""
MAX_NODES = 4096
"""The largest that the exporter was tried with has 1,407, before quantisation. OpenVINO takes 20 s for 4,000."""
MAX_ELEMENTS = 2**26
"""Of a constant, of a shape that a constant gives, and of each tensor that the network computes: 256 MB in float32."""
_MAX_RANK = 8
_MAX_FIELDS = 2**20
"""Of all messages together, a byte of packed integers counting as one; 172 MB of ViT-B/16 have 15,000."""
_MAX_ATTRIBUTE = 2**20
"""Integers in attributes are axes, paddings, strides and sizes in pixels."""

_FIRST_TAG = b"\x08"
"""The IR version, with which every serialised network begins."""
_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 16: 2}
"""By TensorProto.DataType: float, uint8, int8, int32, int64, bool, float16, double, bfloat16."""
_INT64 = 7

# Field numbers as in onnx.proto. Left out, and so refused: training_info and functions of a model, sparse initializers
# and quantization annotations of a graph, references, subgraphs, sparse tensors and types in attributes, segments,
# strings and external data of a tensor, types of inputs other than tensors.
_ENTRY = Message("StringStringEntry", once={1: BYTES, 2: BYTES})
_OPSET = Message("OperatorSetId", once={1: BYTES, 2: INT})
_MODEL = Message(
    "Model",
    once={1: INT, 2: BYTES, 3: BYTES, 4: BYTES, 5: INT, 6: BYTES, 7: BYTES},
    any=((8, BYTES), (14, BYTES)),
)
_GRAPH = Message(
    "Graph",
    once={2: BYTES, 10: BYTES},
    any=((1, BYTES), (5, BYTES), (11, BYTES), (12, BYTES), (13, BYTES), (16, BYTES)),
)
_NODE = Message(
    "Node", once={3: BYTES, 4: BYTES, 6: BYTES, 7: BYTES}, any=((1, BYTES), (2, BYTES), (5, BYTES), (9, BYTES))
)
_ATTRIBUTE = Message(
    "Attribute",
    once={1: BYTES, 2: FLOAT, 3: INT, 4: BYTES, 5: BYTES, 13: BYTES, 20: INT},
    any=((7, FLOAT), (7, BYTES), (8, INT), (8, BYTES), (9, BYTES)),
)
_TENSOR = Message(
    "Tensor",
    once={2: INT, 8: BYTES, 9: BYTES, 12: BYTES, 14: INT},
    any=((1, INT), (1, BYTES), (4, FLOAT), (4, BYTES), (5, INT), (5, BYTES), (7, INT), (7, BYTES)),
)
_VALUE = Message("ValueInfo", once={1: BYTES, 2: BYTES, 3: BYTES}, any=((4, BYTES),))
_TYPE = Message("Type", once={1: BYTES})
_TENSOR_TYPE = Message("Type.Tensor", once={1: INT, 2: BYTES})
_SHAPE = Message("TensorShape", once={}, any=((1, BYTES),))
_DIMENSION = Message("Dimension", once={1: INT, 2: BYTES, 3: BYTES})


def check_network(payload: bytes, source: str) -> None:
    """Walk the bytes of an ONNX network; takes about 10 ms for 12 MB.

    Args:
        payload: the network.
        source: names it in errors.

    Raises:
        ModelError: it is not an ONNX network.
        UnsafeNetworkError: it has something that no exported network has.
    """
    if not payload.startswith(_FIRST_TAG):
        raise _not_onnx(source)
    try:
        _Walk(payload).model()
    except IndexError:  # it ends inside a field, or lacks one
        raise _not_onnx(source) from None
    except ValueError as error:
        raise errors.UnsafeNetworkError(
            source,
            expected="an ONNX network as pvlr export writes it, with its weights inside",
            got=str(error),
            hint="Export it again with pvlr export.",
        ) from None


def _not_onnx(source: str) -> errors.ModelError:
    return errors.ModelError(
        source, expected="an ONNX network", got="other or incomplete data", hint="Export it again with pvlr export."
    )


class _Walk:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.left = _MAX_FIELDS
        self.shapes: dict[bytes, list[int]] = {}
        """The constants that may be a shape: short lists of int64."""

    def model(self) -> None:
        if len(self.data) > MAX_BYTES:
            raise ValueError(f"{len(self.data)} bytes, more than {MAX_BYTES}")
        graph, domains = None, 0
        for number, _, start, end in self.fields(_MODEL, 0, len(self.data)):
            if number == 7:
                graph = start, end
            elif number == 8:
                domains += 1
                self.domain(start, end)
            elif number == 14:
                self.entry(start, end)
        if graph is None or not domains:
            raise IndexError
        self.graph(*graph)

    def fields(self, message: Message, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
        for field in message.fields(self.data, at, end):
            self.spend(1)
            yield field

    def domain(self, at: int, end: int) -> None:
        name, version = "", 0
        for number, _, start, stop in self.fields(_OPSET, at, end):
            if number == 1:
                name = self.text(start, stop)
            else:
                version = start
        if version not in DOMAINS.get(name, ()):
            raise ValueError(f"version {version} of the operators of domain {name!r}")

    def graph(self, at: int, end: int) -> None:
        nodes = []
        for number, _, start, stop in self.fields(_GRAPH, at, end):
            if number == 1:
                nodes.append((start, stop))
            elif number == 5:
                name, values = self.tensor(start, stop)
                if values is not None:
                    self.shapes[name] = values
            elif number in (11, 12, 13):
                self.value(start, stop)
            elif number == 16:
                self.entry(start, stop)
        if len(nodes) > MAX_NODES:
            raise ValueError(f"{len(nodes)} nodes, more than {MAX_NODES}")
        for start, stop in nodes:
            self.node(start, stop)

    def node(self, at: int, end: int) -> None:
        data, inputs, outputs, domain, operator = self.data, [], [], "", ""
        values: list[int] | None = None
        for number, _, start, stop in self.fields(_NODE, at, end):
            if number == 1:
                inputs.append(data[start:stop])
            elif number == 2:
                outputs.append(data[start:stop])
            elif number == 4:
                operator = self.text(start, stop)
            elif number == 5:
                values = self.attribute(start, stop)
            elif number == 7:
                domain = self.text(start, stop)
            elif number == 9:
                self.entry(start, stop)
        if operator not in OPERATORS.get(domain, ()):
            raise ValueError(f"the operator {operator!r} of domain {domain!r}")
        if operator == "Constant" and values is not None and outputs:
            self.shapes[outputs[0]] = values
        place = SHAPES.get(operator)
        if place is not None and place < len(inputs):
            _check_size(f"{operator} to shape", self.shapes.get(inputs[place], []))

    def attribute(self, at: int, end: int) -> list[int] | None:
        """Check an attribute; returns its integers, or its tensor's integers."""
        values: list[int] | None = None
        for number, wire, start, stop in self.fields(_ATTRIBUTE, at, end):
            if number == 5:
                values = self.tensor(start, stop)[1]
            elif number == 7:
                _floats(start, stop)
            elif number in (3, 8):
                found = self.integers(wire, start, stop)
                values = [*(values or ()), *found]
                for value in found:
                    if not -_MAX_ATTRIBUTE <= value <= _MAX_ATTRIBUTE:
                        raise ValueError(f"an attribute of {value}")
        return values

    def tensor(self, at: int, end: int) -> tuple[bytes, list[int] | None]:
        """Check that all values of a constant are in the file; returns its name and, if it has few, its integers."""
        data, dims, values, name = self.data, list[int](), list[int](), b""
        kind = floats = 0
        raw: tuple[int, int] | None = None
        for number, wire, start, stop in self.fields(_TENSOR, at, end):
            if number == 1:
                dims += self.integers(wire, start, stop)
            elif number == 2:
                kind = start
            elif number == 4:
                floats += _floats(start, stop)
            elif number in (5, 7):
                values += self.integers(wire, start, stop)
            elif number == 8:
                name = data[start:stop]
            elif number == 9:
                raw = start, stop
            elif number == 14 and start:
                raise ValueError("a constant whose values are outside of the network")
        size = _ITEM_BYTES.get(kind)
        if size is None:
            raise ValueError(f"a constant of data type {kind}")
        _check_size("a constant of shape", dims)
        count, found = math.prod(dims), floats + len(values)
        if min(dims, default=0) < 0 or (raw and found) or count * size != (raw[1] - raw[0] if raw else found * size):
            raise ValueError(f"a constant of shape {dims} without exactly {count} values")
        if kind != _INT64 or count > _MAX_RANK:
            return name, None
        return name, list(struct.unpack(f"<{count}q", data[raw[0] : raw[1]])) if raw else values

    def value(self, at: int, end: int) -> None:
        """Check the type of a tensor between nodes, of an input or of an output: its size is within the limits."""
        dims = []
        for number, _, start, stop in self.fields(_VALUE, at, end):
            if number == 4:
                self.entry(start, stop)
            for _, _, *tensor in self.fields(_TYPE, start, stop) if number == 2 else ():
                for part, _, *shape in self.fields(_TENSOR_TYPE, *tensor):
                    for _, _, *dimension in self.fields(_SHAPE, *shape) if part == 2 else ():
                        dims += [signed(side) for kind, _, side, _ in self.fields(_DIMENSION, *dimension) if kind == 1]
        _check_size("a tensor of shape", dims)

    def entry(self, at: int, end: int) -> None:
        """Check an entry of metadata."""
        for _ in self.fields(_ENTRY, at, end):
            pass

    def integers(self, wire: int, start: int, end: int) -> list[int]:
        """The signed integers of a field that may be packed."""
        if wire == INT:
            return [signed(start)]
        self.spend(end - start)
        return varints(self.data, start, end)

    def spend(self, count: int) -> None:
        """Limits the time that a walk takes."""
        self.left -= count
        if self.left < 0:
            raise ValueError(f"more than {_MAX_FIELDS} fields")

    def text(self, start: int, end: int) -> str:
        return self.data[start:end].decode("ascii", "backslashreplace")


def _floats(start: int, end: int) -> int:
    """The number of floats in a field, packed or not."""
    if (end - start) % 4:
        raise ValueError("a list of floats that ends early")
    return (end - start) // 4


def _check_size(what: str, dims: Sequence[int]) -> None:
    # Reshape copies a dimension of 0 from its input and computes one of -1.
    if len(dims) > _MAX_RANK or math.prod(max(side, 1) for side in dims) > MAX_ELEMENTS:
        limits = f"more than {_MAX_RANK} dimensions or {MAX_ELEMENTS} elements"
        raise ValueError(f"{what} {list(dims[: _MAX_RANK + 1])}, {limits}")
