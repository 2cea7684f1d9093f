"""What ``pvlr export`` wrote: a network, what it says of itself, and its label bank."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from . import errors
from .backends.openvino import Network, open_core, read_network
from .bundle import labels_path
from .labels import LabelBank
from .manifest import ModelSpec, parse_spec


@dataclass(frozen=True)
class Exported:
    """An exported network, what it says of itself, and its label bank."""

    network: Network
    spec: ModelSpec
    bank: LabelBank


def read_exported(onnx: str | os.PathLike[str], labels: str | os.PathLike[str] | None = None) -> Exported:
    """Read what ``pvlr export`` wrote; ``labels`` is the label bank, by default the one beside the network.

    Raises:
        ModelError: the file is no exported PVLR network in fp32.
        LabelBankError: the label bank is missing or damaged.
    """
    source = os.fspath(onnx)
    payload, spec = read_file(source)
    bank = LabelBank.load(labels_path(source) if labels is None else labels)
    return Exported(network_of(source, payload, spec, len(bank)), spec, bank)


def read_file(source: str) -> tuple[bytes, ModelSpec]:
    """An exported network's bytes, and what it says of itself.

    Raises: ModelError, as in :func:`read_exported`.
    """
    payload = read_payload(source)
    spec = read_spec(payload, source)
    if spec.precision != "fp32":
        raise errors.ModelError(
            source,
            expected="a network in fp32",
            got=f"one in {spec.precision}",
            hint="Give the one that it was made from: pvlr build writes the precision itself (--precision).",
        )
    return payload, spec


def read_payload(source: str) -> bytes:
    """The bytes of an ONNX file.

    Raises: ModelError: it can't be read.
    """
    try:
        return Path(source).read_bytes()
    except OSError as error:
        raise errors.ModelError(
            source, expected="an ONNX file", got=error.strerror or str(error), hint="Make one with pvlr export."
        ) from None


def network_of(source: str, payload: bytes, spec: ModelSpec, labels: int) -> Network:
    """The network as the backends take it; ``labels`` is how many it has."""
    return Network(
        source=source,
        payload=payload,
        sha256=hashlib.sha256(payload).hexdigest(),
        input_shape=(1, 3, spec.input.height, spec.input.width),
        tokens=spec.attention.rows * spec.attention.columns,
        labels=labels,
        fp32_until=spec.fp32_until,
    )


def read_spec(payload: bytes, source: str) -> ModelSpec:
    """What an exported network says of itself.

    Raises:
        ModelError: it can't be read, or has no valid ``pvlr`` metadata.
    """
    model = read_network(open_core(), payload, source)
    path = ["framework", "pvlr"]
    return parse_spec(model.get_rt_info(path).value if model.has_rt_info(path) else None, source)
