"""Tensors, their names and a JSON object as the bytes of a ``.safetensors`` file; equal contents give equal bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from .._util.plain_json import Limits, read_json

_LIMITS = Limits(size=2**26, values=2**20, depth=32)
"""Of a header, and of each text in it."""


def to_safetensors(
    tensors: Mapping[str, NDArray[Any]], names: Sequence[str], text: Mapping[str, Any]
) -> bytes:
    """The bytes of a file with these tensors, floating-point or signed integers, their names and a JSON object."""
    # Not by the safetensors package: it writes metadata in random order, so two files would differ in their hash.
    metadata = {"names": json.dumps(list(names)), "text": json.dumps(text, sort_keys=True)}
    header: dict[str, Any] = {"__metadata__": metadata}
    start = 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": f"{tensor.dtype.kind.upper()}{8 * tensor.itemsize}",
            "shape": list(tensor.shape),
            "data_offsets": [start, start := start + tensor.nbytes],
        }
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    return (
        len(head).to_bytes(8, "little")
        + head
        + b"".join(tensor.tobytes() for tensor in tensors.values())
    )


def from_safetensors(data: bytes) -> tuple[dict[str, NDArray[Any]], Any, Any]:
    """The tensors of a file, its names and its JSON object. Raises what the safetensors package and json raise, and
    KeyError."""
    import safetensors.numpy

    tensors = safetensors.numpy.load(data)
    # safetensors reads metadata only from files; the header is a length and a JSON object.
    header = _read(data[8 : 8 + int.from_bytes(data[:8], "little")])
    metadata = header["__metadata__"]
    return tensors, _read(metadata["names"]), _read(metadata.get("text", "{}"))


def _read(text: str | bytes) -> Any:
    return read_json(text, _LIMITS, printable=False)
