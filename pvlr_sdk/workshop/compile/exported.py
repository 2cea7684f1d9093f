"""Reads the output of ``pvlr export``: a network, its metadata and its label bank."""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ... import errors
from ..._util import files
from ...backends.backend import closed
from ...backends.openvino import Network, OpenVinoBackend, read_network
from ...bundle.bundle import labels_path, manifest_path, open_bundle
from ...bundle.label_bank import LabelBank
from ...bundle.manifest import ModelSpec, parse_spec
from ...bundle.network import check_network
from ...bundle.open_labels import check_fits

_MAX_BYTES = 2**30
"""Of a file, as of a network that is checked: a larger one is not read."""


@dataclass(frozen=True)
class Exported:
    """An exported network, its metadata and its label bank."""

    network: Network
    spec: ModelSpec
    bank: LabelBank


def read_exported(
    onnx: str | os.PathLike[str], bank: str | os.PathLike[str] | None = None
) -> Exported:
    """Read an exported network and its label bank, by default the one next to it.

    An open network or plan with another bank becomes a closed network, with the same logits in fp32 on the CPU, bit for
    bit. Trusted keys (``PVLR_TRUST``) apply to ``bank`` and to the bundle of a plan.

    Raises:
        ModelError: the file is not an exported PVLR network in fp32.
        BackendError: ``bank`` is for a plan whose labels are part of it.
        BundleError: the plan is damaged.
        LabelBankError: the label bank is missing or damaged, or the network cannot use it.
        SignatureError: the plan or ``bank`` is not signed by a trusted key.
        MissingPartError: closing a network needs the package onnx.
    """
    source = os.fspath(onnx)
    if bank is not None and manifest_path(source).exists():
        bundle = open_bundle(Path(source))
        if bundle.manifest.open is None:
            raise closed(source)
        payload = bundle.payload
    else:
        payload = read_payload(source)
    spec = fp32_spec(payload, source)
    label_bank = (
        LabelBank.load(labels_path(source), trust=False) if bank is None else LabelBank.load(bank)
    )
    if spec.open:
        check_fits(label_bank, spec.open, source if bank is None else os.fspath(bank))
    exported = Exported(
        Network.of(source, payload, sha256(payload).hexdigest(), spec, label_bank), spec, label_bank
    )
    return exported if bank is None or spec.open is None else _close(exported)


def _close(exported: Exported) -> Exported:
    from .onnx.closing import close

    network = exported.network
    bank = exported.bank
    opened = {"open_network": network.sha256}
    spec = exported.spec.model_copy(
        update={"open": None, "source": {**exported.spec.source, **opened}}
    )
    constants = OpenVinoBackend(network, "fp32", cached=False).label_constants()
    payload = close(network.payload, constants, len(bank), spec, network.source)
    return Exported(
        Network.of(network.source, payload, sha256(payload).hexdigest(), spec, bank), spec, bank
    )


def with_plain_weights(exported: Exported) -> Exported:
    """The network with float32 weights and without the ranges of int8, for runtimes that would compute in these."""
    from .onnx.edit import parse, plain_weights

    network = exported.network
    model = parse(network.payload, network.source)
    plain_weights(model.graph)
    payload = model.SerializeToString()
    plain = Network.of(
        network.source, payload, sha256(payload).hexdigest(), exported.spec, exported.bank
    )
    return Exported(plain, exported.spec, exported.bank)


def fp32_spec(payload: bytes, source: str) -> ModelSpec:
    """An exported network's metadata. Raises ModelError as :func:`read_spec`, and if the network is not in fp32."""
    spec = read_spec(payload, source)
    if spec.precision != "fp32":
        raise errors.ModelError(
            source,
            "a network in fp32",
            f"one in {spec.precision}",
            "Use the network that it was made from: pvlr build sets the precision itself (--precision).",
        )
    return spec


def read_payload(source: str) -> bytes:
    """The bytes of an ONNX file, which is plain data.

    Raises:
        ModelError: it cannot be read.
        UnsafeNetworkError: it is not ONNX as the exporter writes it.
    """
    hint = "Create one with pvlr export."
    with files.system_errors(errors.ModelError, source, expected="an ONNX file", hint=hint):
        payload = files.read_file(source, _MAX_BYTES)
    check_network(payload, source)
    return payload


def read_spec(payload: bytes, source: str) -> ModelSpec:
    """An exported network's metadata.

    Raises:
        ModelError: the network cannot be read, or has no valid ``pvlr`` metadata.
    """
    model = read_network(payload, source)
    path = ["framework", "pvlr"]
    return parse_spec(model.get_rt_info(path).value if model.has_rt_info(path) else None, source)
