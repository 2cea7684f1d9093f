"""Networks compiled by OpenVINO without the SDK, for the engine's time alone."""

from __future__ import annotations

from typing import Any

from pvlr_sdk.backends import runtimes
from pvlr_sdk.backends.openvino import supports_bf16
from pvlr_sdk.backends.openvino.graph import fold_constants

openvino = runtimes.openvino()


def read(payload: bytes) -> openvino.Model:
    """The ONNX network of a plan for batch size 1."""
    network = openvino.Core().read_model(payload)
    network.reshape([1, *(size.get_length() for size in list(network.input().get_partial_shape())[1:])])
    fold_constants(network)
    return network


def options(threads: int, precision: str = "bf16") -> dict[str, Any]:
    """Options for low latency; fp32 where the CPU does not support bf16."""
    hint = "f32" if precision == "fp32" or not supports_bf16(openvino.Core()) else "bf16"
    return {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads}


def compile_network(payload: bytes, threads: int, precision: str = "bf16") -> openvino.CompiledModel:
    """The compiled network with :func:`options`."""
    return openvino.Core().compile_model(read(payload), "CPU", options(threads, precision))
