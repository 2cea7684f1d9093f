"""Time by kind of layer, from OpenVINO's performance counters, compared with the peak of the machine.

    python -m benchmarks.cpu.layers [PLAN] [--int8 int8/engine.plan] [--dense]

The time of a layer is the 10th percentile over the runs, since other load only ever adds time. The peak is measured: a
matrix product in each precision, and a copy that exceeds the cache. --dense adds a backbone of dense convolutions.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Annotated, Any

import numpy as np
import typer

from pvlr_sdk.backends import runtimes
from pvlr_sdk.backends.openvino import supports_bf16
from pvlr_sdk.compile.onnx.quantize import quantize
from pvlr_sdk.models.find import default_plan, load_bundle

from ..common import Case, Int8, Json, Plan, Table, Threads, conditions, interleaved, run, save, summarise
from . import tables
from .engine import compile_network, options, read, to_onnx

openvino = runtimes.openvino()
ops = openvino.opset13


def main(
    plan: Plan = None,
    int8: Int8 = None,
    dense: Annotated[bool, typer.Option(help="Also a random ResNet-50 (needs the extra train).")] = False,
    threads: Threads = 2,
    runs: Annotated[int, typer.Option(help="Profiled inferences, and calls of each network as a whole.")] = 100,
    out: Json = None,
) -> None:
    """Measure the time of each kind of layer, and the speedup of int8."""
    bundle = load_bundle(plan or default_plan())
    networks = {"fp32": bundle.payload, "bf16": bundle.payload}
    if int8:
        networks["int8"] = load_bundle(int8).payload
    if not supports_bf16(openvino.Core()):
        del networks["bf16"]
    layers = {name: kinds(payload, name, threads, runs) for name, payload in networks.items()}
    engines = {bundle.manifest.name: compare(networks, threads, runs)}
    if dense:
        payload = resnet50()
        dense_networks = {**dict.fromkeys(networks, payload), "int8": quantised(payload)}
        engines["ResNet-50, random weights, 224"] = compare(dense_networks, threads, runs)
    data = {"conditions": conditions(threads), "layers": layers, "peak": machine_peak(threads), "engines": engines}
    peak = [[name, f"{value:.1f}"] for name, value in data["peak"].items()]
    for table in (*tables.layers(data), Table("Peak of the machine", ["", "measured"], peak)):
        table.print()
    save(out, data)


def kinds(payload: bytes, precision: str, threads: int, runs: int) -> dict[str, dict[str, Any]]:
    """Milliseconds, GFLOP, number of layers and kernels of the engine, by kind of layer."""
    network = read(payload)
    flops = flops_by_kind(network)
    compiled = openvino.Core().compile_model(network, "CPU", {**options(threads, precision), "PERF_COUNT": True})
    request = compiled.create_infer_request()
    times: dict[str, list[float]] = defaultdict(list)
    names: dict[str, tuple[str, str]] = {}
    for _ in range(runs):
        request.infer()
        for layer in request.profiling_info:
            times[layer.node_name].append(1e3 * layer.real_time.total_seconds())
            names[layer.node_name] = (layer.node_type, layer.exec_type)
    table: dict[str, dict[str, Any]] = {}
    for name, values in times.items():
        kind = kind_of(*names[name])
        row = table.setdefault(kind, {"ms": 0.0, "gflop": flops[kind] / 1e9, "layers": 0, "kernels": []})
        row["ms"] += float(np.percentile(values, 10))
        row["layers"] += 1
        row["kernels"] = sorted({*row["kernels"], names[name][1]})
    total = {key: sum(row[key] for row in table.values()) for key in ("ms", "gflop", "layers")}
    return {**{kind: row for kind, row in table.items() if row["ms"] > 0.005}, "~ all": {**total, "kernels": []}}


def kind_of(layer: str, kernel: str) -> str:
    """The kind of a layer, from its type and the name of its kernel."""
    if layer == "GroupConvolution":
        return "depthwise convolutions"
    if layer == "Convolution":
        return "pointwise convolutions" if "1x1" in kernel else "other convolutions"
    if layer == "Reorder":
        return "reorders between layouts and precisions"
    return "matrix products of the head" if layer in ("FullyConnected", "MatMul") or "FullyC" in layer else "the rest"


def flops_by_kind(network: openvino.Model) -> dict[str, float]:
    """Floating-point operations of the convolutions and matrix products, by kind of layer."""
    flops: dict[str, float] = defaultdict(float)
    for node in network.get_ordered_ops():
        layer = node.get_type_name()
        if layer == "GroupConvolution":
            taps = np.prod(node.input_value(1).get_shape()[2:])
        elif layer == "Convolution":
            taps = np.prod(node.input_value(1).get_shape()[1:])
        elif layer == "MatMul":
            taps = node.input_value(0).get_shape()[-2 if node.get_attributes()["transpose_a"] else -1]
        else:
            continue
        pointwise = layer == "Convolution" and max(node.input_value(1).get_shape()[2:]) == 1
        kind = kind_of(layer, "1x1" if pointwise else "")
        flops[kind] += 2.0 * float(np.prod(node.get_output_shape(0)) * taps)
    return flops


def machine_peak(threads: int) -> dict[str, float]:
    """TFLOP/s of a matrix product in fp32 and bf16, TOP/s in int8, the best of three sizes; GB/s of a copy."""
    figures = {}
    for precision, unit in (("fp32", "TFLOP/s"), ("bf16", "TFLOP/s"), ("int8", "TOP/s")):
        rates = []
        for side in (512, 1024, 2048):
            compiled = openvino.Core().compile_model(product(side, precision), "CPU", options(threads, precision))
            rates.append(2 * side**3 / fastest(compiled.create_infer_request().infer) / 1e12)
        figures[f"{precision} matrix product, {unit}"] = max(rates)
    source = np.zeros(2**27, np.uint8)
    target = np.empty_like(source)
    seconds = fastest(lambda: np.copyto(target, source))
    figures["copy, one thread, GB/s read and written"] = 2 * source.nbytes / seconds / 1e9
    return figures


def fastest(call: Case) -> float:
    """Seconds of the fastest of fifty calls."""
    return min(interleaved({"": call}, 10)[""]) / 1e3


def product(side: int, precision: str) -> openvino.Model:
    """A product with a random matrix; for int8 both sides are quantised."""
    entry = ops.parameter([side, side], np.float32)
    weights = ops.constant(np.random.default_rng(0).normal(size=(side, side)).astype(np.float32))
    left, right = entry, weights
    if precision == "int8":
        low, high = (ops.constant(np.float32(value)) for value in (-4, 4))
        left, right = (ops.fake_quantize(side_, low, high, low, high, 255) for side_ in (entry, weights))
    return openvino.Model([ops.matmul(left, right, False, True)], [entry])


def compare(networks: dict[str, bytes], threads: int, runs: int) -> dict[str, dict[str, float]]:
    """Times of each network in its precision, in interleaved rounds."""
    cases: dict[str, Case] = {
        precision: compile_network(payload, threads, precision).create_infer_request().infer
        for precision, payload in networks.items()
    }
    return summarise(interleaved(cases, max(1, runs // 5)))


def resnet50() -> bytes:
    """An ONNX ResNet-50 with random weights and batch norm folded, input ``image``."""
    import timm
    import torch

    from pvlr_training.deploy import fold_batch_norm

    torch.manual_seed(0)
    network = timm.create_model("resnet50", pretrained=False).eval()
    fold_batch_norm(network)
    return to_onnx(network, 3, 224, 224)


def quantised(payload: bytes) -> bytes:
    """The same network in int8, with ranges from noise."""
    random = np.random.default_rng(0)
    noise = [random.normal(size=(3, 224, 224)).astype(np.float32) for _ in range(8)]
    return quantize(payload, noise, lambda image: image, None)


if __name__ == "__main__":
    run(main)
