"""Looks at this machine and says what runs here, and why something doesn't: what ``pvlr doctor`` prints.

Every probe is guarded: one that fails leaves its reason in the report, and the others go on. Nothing heavy that the
SDK itself doesn't need (torch, TensorRT, CUDA) is imported, only looked for.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import __version__, errors
from .cores import available_cores
from .probes import board, gpu, parts, video

_CPU_FEATURES = (
    *("avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
_NEEDED = {"numpy": "numpy", "opencv-python": "cv2", "openvino": "openvino", "pydantic": "pydantic"}
_OPTIONAL = (
    "opencv-python-headless",
    "av",
    "PyGObject",
    "Pillow",
    "torch",
    "timm",
    "onnx",
    "onnxruntime",
    "tensorrt",
    "pycuda",
    "cuda-python",
    "cuda-bindings",
)


def examine(plan: str | Path | None = None, *, load: bool = True) -> dict[str, Any]:
    """A report on this machine, of plain JSON values.

    Args:
        plan: the plan to try; None takes the bundled model.
        load: load the plan and run its self-test (about a second); False leaves the key ``plan`` out.

    Returns:
        ``problems`` lists in words what keeps the SDK or the plan from running; empty if all is well. The other keys
        are the probes: ``pvlr_sdk``, ``python``, ``system``, ``cpu``, ``memory_mib``, ``openvino``, ``cuda``, ``gpu``,
        ``nvcc``, ``tensorrt``, ``jetson``, ``clocks``, ``heat``, ``opencv``, ``gstreamer``, ``parts``, ``packages``,
        ``plan``. What is not here is None; a probe that failed is ``{"error": reason}``.
    """
    report: dict[str, Any] = {
        "pvlr_sdk": _guarded(_sdk),
        "python": _guarded(lambda: f"{platform.python_version()} ({sys.executable})"),
        "system": _guarded(_system),
        "cpu": _guarded(_cpu),
        "memory_mib": _guarded(_memory),
        "openvino": _guarded(_openvino),
        "cuda": _guarded(gpu.devices),
        "gpu": _guarded(gpu.now),
        "nvcc": _guarded(gpu.toolkit),
        "tensorrt": _guarded(gpu.tensorrt),
        "jetson": _guarded(board.jetson),
        "clocks": _guarded(board.clocks),
        "heat": _guarded(board.heat),
        "opencv": _guarded(video.opencv),
        "gstreamer": _guarded(video.gstreamer),
        "parts": _guarded(parts.parts),
        "packages": _guarded(_packages),
    }
    if load:
        report["plan"] = _guarded(lambda: _plan(plan))
    report["problems"] = _problems(report)
    return report


def _guarded(probe: Callable[[], Any]) -> Any:
    try:
        return probe()
    except Exception as error:  # a report with a hole is better than none
        return {"error": f"{type(error).__name__}: {error}"}


def _sdk() -> dict[str, Any]:
    core = _guarded(lambda: importlib.import_module("pvlr_sdk._core"))
    return {
        "version": __version__,
        "folder": str(Path(__file__).parent),
        "core": core if isinstance(core, dict) else "ok",
    }


def _system() -> dict[str, Any]:
    board = Path("/proc/device-tree/model")  # names the board on a Jetson or a Raspberry Pi
    return {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "board": board.read_text().strip("\0\n") if board.is_file() else None,
    }


def _cpu() -> dict[str, Any]:
    fields = _first_processor()
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return {
        "name": fields.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": available_cores(),
        "features": [feature for feature in _CPU_FEATURES if feature in flags],
    }


def _first_processor() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    lines = path.read_text().split("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _memory() -> dict[str, int | None]:
    fields = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines() if ":" in line)
    limit = _cgroup("memory.max") or _cgroup("memory/memory.limit_in_bytes")
    total = int(fields["MemTotal"].split()[0]) // 1024
    limit_mib = int(limit) // 2**20 if limit.isdigit() else None
    return {
        "total": total,
        "available": int(fields["MemAvailable"].split()[0]) // 1024,
        "container_limit": limit_mib if limit_mib is not None and limit_mib < total else None,
    }


def _cgroup(name: str) -> str:
    try:
        return Path("/sys/fs/cgroup", name).read_text().strip()
    except OSError:
        return ""


def _openvino() -> dict[str, Any]:
    import openvino

    core = openvino.Core()
    return {
        "version": openvino.get_version(),
        "devices": {name: _device(core, name) for name in core.available_devices},
    }


def _device(core: Any, name: str) -> Any:
    return _guarded(
        lambda: {
            "name": core.get_property(name, "FULL_DEVICE_NAME"),
            "capabilities": sorted(core.get_property(name, "OPTIMIZATION_CAPABILITIES")),
        }
    )


def _packages() -> dict[str, str | None]:
    def version(name: str) -> str | None:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    return {name: version(name) for name in (*_NEEDED, *_OPTIONAL)}


def _plan(plan: str | Path | None) -> dict[str, Any]:
    from .bundle import default_plan
    from .probes import fit

    try:
        path = Path(plan) if plan is not None else default_plan()
        from .tagger import Tagger

        with Tagger(path) as tagger:
            return {"path": str(path), "runs": True, "info": tagger.info}
    except errors.PvlrError as error:
        given = str(plan) if plan is not None else "the bundled model"
        found = {"path": given, "runs": False, "why": f"{type(error).__name__}: {error}", "help": error.help_anchor}
        misfits = _guarded(lambda: fit.reasons(path))
        return {**found, "does_not_fit": misfits} if isinstance(misfits, list) and misfits else found


def _problems(report: dict[str, Any]) -> list[str]:
    problems = []
    core = report["pvlr_sdk"].get("core")
    if core != "ok":
        problems.append(f"the compiled core pvlr_sdk._core does not load: {core}; install the package again")
    for package, module in _NEEDED.items():
        try:
            importlib.import_module(module)
        except Exception as error:  # a broken binary raises anything from ImportError to OSError
            problems.append(f"{package} does not load: {error}; install it with pip install {package}")
    devices = report["openvino"].get("devices", {})
    if devices is not None and "CPU" not in devices:
        problems.append(f"OpenVINO has no CPU device here: {report['openvino']}")
    plan = report.get("plan", {})
    problems += [f"the plan does not fit this machine: {reason}" for reason in plan.get("does_not_fit", [])]
    if "error" in plan or plan.get("runs") is False:
        problems.append(f"the plan does not run here: {plan.get('why') or plan.get('error')}")
    return problems
