"""Where does the time go? Layer by layer, by OpenVINO's performance counters, against what the machine's peak allows.

    python benchmarks/layers.py [PLAN] [--int8 int8/engine.plan] [--dense] [--json FILE]

Each layer's time is the 10th percentile over the runs: the counters are in whole microseconds, and what the machine
does besides only ever adds. The peak is measured as well: a large matrix product in each precision, and a copy that is
too large for the cache. --dense quantises a ResNet-50 with random weights too: a backbone of dense convolutions.
"""

from __future__ import annotations

import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import openvino
import typer
from common import Case, conditions, interleaved, print_table, summarise, write_json
from openvino import opset13 as ops

from pvlr_sdk.backends.openvino import supports_bf16
from pvlr_sdk.bundle import Bundle, default_plan
from pvlr_sdk.quantize import quantize

_HINTS = {"fp32": "f32", "bf16": "bf16", "int8": "bf16"}


def main(
    plan: Annotated[Path | None, typer.Argument(help="A plan; the bundled one by default.")] = None,
    int8: Annotated[Path | None, typer.Option(help="The same model as a quantised plan.")] = None,
    dense: Annotated[bool, typer.Option(help="A ResNet-50 with random weights too (needs the extra [train]).")] = False,
    threads: Annotated[int, typer.Option(help="Threads of the engine.")] = 2,
    runs: Annotated[int, typer.Option(help="Inferences that are looked at, and rounds of the ratios.")] = 100,
    out: Annotated[Path | None, typer.Option("--json", help="Write the figures here as well.")] = None,
) -> None:
    """Print the time of each kind of layer, and what int8 gains."""
    bundle = Bundle.open(plan or default_plan())
    size = bundle.manifest.input.height, bundle.manifest.input.width
    networks = {"fp32": bundle.payload, "bf16": bundle.payload}
    if int8:
        networks["int8"] = Bundle.open(int8).payload
    if not supports_bf16(openvino.Core()):
        del networks["bf16"]
    layers = {name: kinds(payload, size, name, threads, runs) for name, payload in networks.items()}
    rows = [
        [kind, *(f"{layers[name].get(kind, {}).get(key, 0):.2f}" for name in layers for key in ("ms", "gflop"))]
        for kind in sorted({kind for table in layers.values() for kind in table})
    ]
    columns = ["layers", *(f"{name} {unit}" for name in layers for unit in ("ms", "GFLOP"))]
    print_table(f"{bundle.manifest.name}, {threads} threads, the engine alone", columns, rows)
    peak = machine_peak(threads)
    print_table("the machine's peak", ["", "measured"], [[name, f"{value:.1f}"] for name, value in peak.items()])
    ratios = {bundle.manifest.name: compare(networks, size, threads, runs)}
    if dense:
        payload = resnet50()
        ratios["ResNet-50, random weights, 224"] = compare(
            {**dict.fromkeys(networks, payload), "int8": quantised(payload)}, (224, 224), threads, runs
        )
    for name, figures in ratios.items():
        base = figures.get("bf16", figures["fp32"])["median_ms"]
        table = [[case, f"{v['median_ms']:.2f}", f"{base / v['median_ms']:.2f}"] for case, v in figures.items()]
        print_table(f"{name}: the engine alone", ["precision", "median ms", "times as fast"], table)
    write_json(out, {"conditions": conditions(threads), "layers": layers, "peak": peak, "engines": ratios})


def kinds(payload: bytes, size: tuple[int, int], precision: str, threads: int, runs: int) -> dict[str, dict[str, Any]]:
    """Milliseconds, GFLOP, number of layers and the engine's kernels by kind of layer."""
    network = read(payload, size)
    flops = flops_by_kind(network)
    compiled = openvino.Core().compile_model(network, "CPU", {**options(precision, threads), "PERF_COUNT": True})
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
        row = table.setdefault(kind_of(*names[name]), {"ms": 0.0, "gflop": 0.0, "layers": 0, "kernels": []})
        row["ms"] += float(np.percentile(values, 10))
        row["layers"] += 1
        row["kernels"] = sorted({*row["kernels"], names[name][1]})
    for kind, row in table.items():
        row["gflop"] = flops.get(kind, 0.0) / 1e9
    total = {key: sum(row[key] for row in table.values()) for key in ("ms", "gflop", "layers")}
    return {**{kind: row for kind, row in table.items() if row["ms"] > 0.005}, "~ all": {**total, "kernels": []}}


def kind_of(layer: str, kernel: str) -> str:
    """The kind that a layer counts among."""
    if layer == "GroupConvolution":
        return "depthwise convolutions"
    if layer == "Convolution":
        return "pointwise convolutions" if "1x1" in kernel else "other convolutions"
    if layer == "Reorder":
        return "reorders between layouts and precisions"
    return "matrix products of the head" if layer in ("FullyConnected", "MatMul") or "FullyC" in layer else "the rest"


def flops_by_kind(network: openvino.Model) -> dict[str, float]:
    """Multiplications and additions of the convolutions and matrix products, by the kinds of ``kind_of``."""
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
    """TFLOP/s of a matrix product in fp32 and bf16, TOP/s in int8, at the best of three sizes; GB/s of a copy."""
    figures = {}
    for precision, unit in (("fp32", "TFLOP/s"), ("bf16", "TFLOP/s"), ("int8", "TOP/s")):
        rates = []
        for side in (512, 1024, 2048):
            compiled = openvino.Core().compile_model(product(side, precision), "CPU", options(precision, threads))
            rates.append(2 * side**3 / best_of(compiled.create_infer_request().infer, 0.4) / 1e12)
        figures[f"{precision} matrix product, {unit}"] = max(rates)
    source = np.zeros(2**27, np.uint8)
    target = np.empty_like(source)
    seconds = best_of(lambda: np.copyto(target, source))
    figures["copy, one thread, GB/s read and written"] = 2 * source.nbytes / seconds / 1e9
    return figures


def product(side: int, precision: str) -> openvino.Model:
    """x W with random W; for int8 with both sides quantised."""
    entry = ops.parameter([side, side], np.float32)
    weights = ops.constant(np.random.default_rng(0).normal(size=(side, side)).astype(np.float32))
    left, right = entry, weights
    if precision == "int8":
        low, high = (ops.constant(np.float32(value)) for value in (-4, 4))
        left, right = (ops.fake_quantize(side_, low, high, low, high, 255) for side_ in (entry, weights))
    return openvino.Model([ops.matmul(left, right, False, True)], [entry])


def best_of(call: Case, seconds: float = 1.0) -> float:
    """The fewest seconds that a call took."""
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        began = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - began)
    return best


def compare(networks: dict[str, bytes], size: tuple[int, int], threads: int, runs: int) -> dict[str, dict[str, float]]:
    """Each network as one piece in its precision, in interleaved rounds."""
    cases: dict[str, Case] = {}
    for precision, payload in networks.items():
        compiled = openvino.Core().compile_model(read(payload, size), "CPU", options(precision, threads))
        cases[precision] = compiled.create_infer_request().infer
    return summarise(interleaved(cases, max(1, runs // 5)))


def read(payload: bytes, size: tuple[int, int]) -> openvino.Model:
    network = openvino.Core().read_model(payload)
    network.reshape([1, 3, *size])
    return network


def options(precision: str, threads: int) -> dict[str, Any]:
    hint = _HINTS[precision] if supports_bf16(openvino.Core()) else "f32"
    return {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads}


def resnet50() -> bytes:
    """An ONNX ResNet-50 with random weights and batch norm folded, input ``image``."""
    import io

    import timm
    import torch

    from pvlr_training.deploy import fold_batch_norm

    torch.manual_seed(0)
    network = timm.create_model("resnet50", pretrained=False).eval()
    fold_batch_norm(network)
    buffer = io.BytesIO()
    arguments = {"input_names": ["image"], "output_names": ["logits"], "opset_version": 17, "dynamo": False}
    torch.onnx.export(network, (torch.zeros(1, 3, 224, 224),), buffer, **arguments)
    return buffer.getvalue()


def quantised(payload: bytes) -> bytes:
    """The same network in int8, with ranges from noise."""
    random = np.random.default_rng(0)
    noise = [random.normal(size=(3, 224, 224)).astype(np.float32) for _ in range(8)]
    return quantize(payload, noise, lambda image: image, None)


if __name__ == "__main__":
    typer.run(main)
