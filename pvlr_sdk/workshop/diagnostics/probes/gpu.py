"""NVIDIA GPUs, their state, and the libraries for them, without importing any."""

from __future__ import annotations

import ctypes
import importlib.metadata
import re
from typing import TYPE_CHECKING, Any

from .programs import output_of, package_version

if TYPE_CHECKING:
    from ....backends.tensorrt.cuda import Gpu

_QUERY = {
    "name": "name",
    "driver": "driver_version",
    "memory": "memory.total",
    "memory_free": "memory.free",
    "temperature_c": "temperature.gpu",
    "clock": "clocks.sm",
    "clock_max": "clocks.max.sm",
    "power": "power.draw",
    "power_limit": "power.limit",
    "power_state": "pstate",
}
_THROTTLING = {
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
}
# CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT, ..._COMPUTE_CAPABILITY_*
_MULTIPROCESSORS = 16
_MAJOR = 75
_MINOR = 76


def devices() -> dict[str, Any] | None:
    """CUDA version of the driver, and name, compute capability and multiprocessors of each GPU; None without a driver.

    Raises:
        RuntimeError: the driver does not work.
    """
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    _check(cuda.cuInit(0), "cuInit")
    version = ctypes.c_int()
    count = ctypes.c_int()
    _check(cuda.cuDriverGetVersion(ctypes.byref(version)), "cuDriverGetVersion")
    _check(cuda.cuDeviceGetCount(ctypes.byref(count)), "cuDeviceGetCount")
    return {
        "driver_cuda": f"{version.value // 1000}.{version.value % 1000 // 10}",
        "gpus": [_device(cuda, index) for index in range(count.value)],
    }


def first() -> Gpu:
    """The first GPU, as the TensorRT backend describes it; named ``none`` if there is no GPU."""
    from ....backends.tensorrt.cuda import Gpu

    seen = devices()
    if not seen or not seen["gpus"]:
        return Gpu("none", (0, 0), 0, "", 0)
    gpu = seen["gpus"][0]
    major, minor = map(int, gpu["capability"].split("."))
    return Gpu(gpu["name"], (major, minor), 0, seen["driver_cuda"], gpu["multiprocessors"])


def now() -> list[dict[str, str]] | None:
    """Memory, temperature, clocks, power and throttling of each GPU; None if nvidia-smi is not installed."""
    text = output_of(
        "nvidia-smi", f"--query-gpu={','.join(_QUERY.values())}", "--format=csv,noheader"
    )
    if text is None:
        return None
    rows = [
        dict(zip(_QUERY, (cell.strip() for cell in line.split(",")), strict=False))
        for line in text.splitlines()
    ]
    for row, reasons in zip(rows, _throttling(), strict=False):
        row["throttling"] = reasons
    return [{key: value for key, value in row.items() if "N/A" not in value} for row in rows]


def toolkit() -> str | None:
    """Version of the CUDA compiler; None if it is not installed."""
    text = output_of("nvcc", "--version")
    match = re.search(r"release (\S+),", text or "")
    return match[1] if match else None


def tensorrt() -> str | None:
    """Version of TensorRT, from its Python package or the packages of the system; None if it is not installed."""
    for name in ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    for package in ("libnvinfer11", "libnvinfer10"):
        if text := package_version(package):
            return f"{text.split('-')[0]} (library {package}; Python can't import it)"
    return None


def _device(cuda: ctypes.CDLL, index: int) -> dict[str, Any]:
    device = ctypes.c_int()
    name = ctypes.create_string_buffer(128)
    value = ctypes.c_int()
    _check(cuda.cuDeviceGet(ctypes.byref(device), index), "cuDeviceGet")
    _check(cuda.cuDeviceGetName(name, 128, device), "cuDeviceGetName")
    numbers = []
    for attribute in (_MAJOR, _MINOR, _MULTIPROCESSORS):
        _check(
            cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device),
            "cuDeviceGetAttribute",
        )
        numbers.append(value.value)
    major, minor, multiprocessors = numbers
    return {
        "name": name.value.decode(errors="replace"),
        "capability": f"{major}.{minor}",
        "multiprocessors": multiprocessors,
    }


def _throttling() -> list[str]:
    """Why each GPU is throttled; driver 535 renamed the query."""
    for query in ("clocks_event_reasons.active", "clocks_throttle_reasons.active"):
        try:
            text = output_of("nvidia-smi", f"--query-gpu={query}", "--format=csv,noheader") or ""
            masks = [int(line, 16) for line in text.split()]
        except (RuntimeError, ValueError):
            continue
        return [
            ", ".join(words for bit, words in _THROTTLING.items() if mask & bit) or "none"
            for mask in masks
        ]
    return []


def _check(code: int, call: str) -> None:
    if code != 0:
        raise RuntimeError(f"{call} gave CUDA error {code}")
