"""Tensors, their names and a JSON object as the bytes of a ``.safetensors`` file; equal contents give equal bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
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


def packed(name: str, tensor: NDArray[np.float16]) -> dict[str, NDArray[np.int8]]:
    """A tensor (n, d) as those of a file: 8 bits per value, and an exponent of 2 per row."""
    array = tensor.astype(np.float32)
    peaks = np.abs(array).max(1, keepdims=True)
    exponents = np.ceil(np.log2(np.maximum(peaks, 1e-6) / 127)).astype(np.int8)
    return {
        name: np.round(np.ldexp(array, -exponents)).astype(np.int8),
        f"{name}_exponents": exponents,
    }


def unpacked(tensors: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    """float16, of :func:`packed`; files of version 0.2 have float16. Raises KeyError."""
    exponents = tensors.get(f"{name}_exponents")
    if exponents is None:
        return tensors[name]
    with np.errstate(over="ignore"):  # infinite values are refused
        return np.ldexp(tensors[name].astype(np.float32), exponents).astype(np.float16)


def _read(text: str | bytes) -> Any:
    return read_json(text, _LIMITS, printable=False)
