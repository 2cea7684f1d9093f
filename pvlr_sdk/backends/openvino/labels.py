"""The part of an open network for labels, which the CPU computes for all backends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...bundle.open_labels import label_inputs
from ...bundle.schema import PROJECTION
from .compilation import open_core, read_network
from .device import CPU, label_options
from .request import create_request, failed

if TYPE_CHECKING:
    import numpy as np
    import openvino
    from numpy.typing import NDArray

    from ...bundle.label_bank import LabelBank
    from ...bundle.manifest import OpenSpec


def compile_labels(payload: bytes, source: str) -> openvino.CompiledModel:
    """Compile the part for labels where that is an ONNX network of its own. Raises ModelError: it is not one."""
    return open_core().compile_model(read_network(payload, source), CPU, label_options())


def project(
    compiled: openvino.CompiledModel, bank: LabelBank, spec: OpenSpec, source: str
) -> dict[str, NDArray[np.float32]]:
    """What the part for frames reads of a label bank: the outputs of the part for labels. Threads may share that.

    Raises:
        LabelBankError: the plan ``source`` cannot use the bank.
        BackendError: the inference failed.
    """
    inputs = label_inputs(bank, spec, source)
    request = create_request(compiled)
    try:
        outputs = request.infer(inputs).to_tuple()
    except Exception as error:  # OpenVINO raises various classes
        raise failed(error) from error
    return {f"{PROJECTION}{index}": output for index, output in enumerate(outputs)}
