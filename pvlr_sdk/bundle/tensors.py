"""Tensors and text as the bytes of a ``.safetensors`` file; equal contents give equal bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from .._util.plain_json import read_json


def to_safetensors(tensors: Mapping[str, NDArray[Any]], metadata: Mapping[str, str]) -> bytes:
    """The bytes of a file with these tensors, float16 or float32, in their order."""
    # Not by the safetensors package: it writes metadata in random order, so two files would differ in their hash.
    header: dict[str, Any] = {"__metadata__": dict(metadata)}
    start = 0
    for name, tensor in tensors.items():
        header[name] = {
            "dtype": f"F{8 * tensor.itemsize}",
            "shape": list(tensor.shape),
            "data_offsets": [start, start := start + tensor.nbytes],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(tensor.tobytes() for tensor in tensors.values())


def from_safetensors(data: bytes) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """The tensors of a file and its metadata. Raises what the safetensors package and json raise, and KeyError."""
    import safetensors.numpy

    tensors = safetensors.numpy.load(data)
    # safetensors reads metadata only from files; the header is a length and a JSON object.
    header = read_json(data[8 : 8 + int.from_bytes(data[:8], "little")], printable=False)
    return tensors, header["__metadata__"]
