"""A plan as an OpenVINO model that OpenVINO Model API, Geti and DL Streamer read: with its labels and preprocessing."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ..._util.files import write_files
from ...backends import runtimes
from ...backends.openvino import read_network
from ...backends.openvino.graph import remove_ranges
from ...bundle.bundle import labels_path, open_bundle
from ...bundle.label_bank import LabelBank
from ...models.find import find_plan
from ..compile.exported import Exported, read_exported

if TYPE_CHECKING:
    import openvino

    from ...bundle.manifest import Manifest
    from ...bundle.schema import OperatingPoint


def export_openvino(
    plan: str | os.PathLike[str] | None,
    out: Path,
    *,
    bank: str | os.PathLike[str] | None = None,
    operating_point: Literal["f1", "precise"] = "f1",
) -> Path:
    """Write a plan for the CPU as ``model.xml`` and ``model.bin``; returns the path of the first.

    The network has one output, ``logits`` (1, C), in which the threshold of each label is at 0: Model API has one
    threshold for all labels, so its scores are 0.5 at ours. Its tags differ from ours only where it resizes
    differently: it interpolates, and does not average pixels. In labels, it takes a space for the end.

    Args:
        plan: as for :class:`pvlr_sdk.Tagger`.
        out: a folder; it is created.
        bank: the labels of an open plan, instead of its own.
        operating_point: the thresholds, see ``Tagger``.

    Raises: as :func:`read_plan`, and
        OutputError: the files cannot be written.
    """
    manifest, exported, thresholds = read_plan(plan, bank, operating_point)
    network = read_network(exported.network.payload, exported.network.source)
    remove_ranges(network)  # of int8, which would be computed on every CPU
    share = np.clip(np.asarray(thresholds, np.float64), 1e-6, 1 - 1e-6)
    shift = np.log(share / (1 - share)).astype(np.float32)[None]
    api = runtimes.openvino()
    ops = api.opset13
    logits = ops.subtract(
        network.output("logits").get_node().input_value(0), ops.constant(shift), name="logits"
    )
    logits.output(0).set_names({"logits"})
    model = api.Model([logits], network.get_parameters(), manifest.name)
    spec = manifest.input
    for key, value in {
        "model_type": "Classification",
        "task_type": "classification",
        "multilabel": "True",
        "labels": " ".join(name.replace(" ", "_") for name in exported.bank.names),
        "confidence_threshold": "0.5",
        "resize_type": "standard" if spec.resize == "stretch" else "fit_to_window_letterbox",
        "pad_value": str(round(spec.pad[0])),
        "mean_values": " ".join(map(str, spec.mean)),
        "scale_values": " ".join(map(str, spec.std)),
        "reverse_input_channels": "True",
    }.items():
        model.set_rt_info(value, ["model_info", key])
    # Else OpenVINO rounds activations to 8 bits where they meet weights of 8 bits: 0.0015 in a score, measured.
    model.set_rt_info("0", ["runtime_options", "DYNAMIC_QUANTIZATION_GROUP_SIZE"])
    xml, weights = _serialised(model)
    write_files({out / "model.bin": weights, out / "model.xml": xml})
    return out / "model.xml"


def read_plan(
    plan: str | os.PathLike[str] | None,
    bank: str | os.PathLike[str] | None,
    operating_point: OperatingPoint,
) -> tuple[Manifest, Exported, NDArray[np.float32]]:
    """Read a plan for the CPU for another program: its manifest, its network, and the thresholds, float32 (C,).

    An open plan is closed with ``bank``, or its own. The arguments are those of :func:`export_openvino`.

    Raises:
        PlanNotFoundError, BundleError, SignatureError: the plan cannot be used.
        BackendError: the plan is not for the CPU, or ``bank`` is for a closed plan.
        LabelBankError: the bank is damaged or does not fit.
        OptionError: the bank has no precise thresholds.
        MissingPartError: an open plan without the package onnx.
    """
    path = find_plan(plan)
    manifest = open_bundle(path).manifest
    if manifest.backend != "openvino":
        raise errors.BackendError(
            str(path),
            "a plan for the CPU",
            f"one for {manifest.backend}",
            "Name the plan for the CPU.",
        )
    labels = bank or (labels_path(path) if manifest.open else None)
    exported = read_exported(path, labels)
    used = exported.bank if labels else LabelBank.load(labels_path(path), trust=False)
    thresholds = used.precise_thresholds if operating_point == "precise" else used.thresholds
    if thresholds is None:
        raise errors.OptionError(
            "operating_point",
            "f1",
            "a plan without precise thresholds",
            "Choose them with pvlr thresholds.",
        )
    return (
        manifest,
        Exported(exported.network, exported.spec, used),
        np.asarray(thresholds, np.float32),
    )


def _serialised(model: openvino.Model) -> tuple[bytes, bytes]:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        runtimes.openvino().save_model(model, path, compress_to_fp16=False)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()
