"""Checks of this machine and of a plan on it: what ``pvlr doctor`` prints.

Every probe is guarded: if one fails, the report has the reason, and the others still run. Heavy packages that the SDK
does not need (torch, TensorRT, CUDA) are looked up without importing them.
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

from ... import errors
from ..._util.cores import available_cores, memory_limit
from ..._util.version import __version__
from ...backends import runtimes
from ...backends.openvino import open_core
from .probes import board, gpu, video
from .probes.programs import text_of

_CPU_FEATURES = (
    *("avx2", "fma", "f16c", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16"),
    *("amx_tile", "amx_int8", "amx_bf16", "asimd", "asimddp", "i8mm", "bf16", "sve", "sve2"),
)
_NEEDED = {"numpy": "numpy", "opencv-python": "cv2", "openvino": "openvino", "pydantic": "pydantic"}
_CUDA = Path("/usr/local/cuda")
_OPTIONAL = (
    *(
        "opencv-python-headless",
        "av",
        "PyGObject",
        "Pillow",
        "torch",
        "timm",
        "onnx",
        "onnxruntime",
    ),
    *("tensorrt", "tensorrt-cu12", "tensorrt-cu13", "pycuda"),
)


def examine(plan: str | Path | None = None) -> dict[str, Any]:
    """A report on this machine, of plain JSON values.

    Args:
        plan: the plan to load and to test (about a second); None for the bundled model.

    Returns:
        ``problems`` lists why the SDK or the plan does not run, and is empty otherwise; ``advice`` lists what would
        make it faster, with the command for it. The other keys are the probes: ``pvlr_sdk``, ``python``, ``system``,
        ``cpu``, ``memory_mib``, ``openvino``, ``cuda``, ``gpu``, ``nvcc``, ``tensorrt``, ``jetson``, ``clocks``,
        ``heat``, ``opencv``, ``gstreamer``, ``parts`` (compiled components), ``packages``, ``plan``. What was not found
        is None; a failed probe is ``{"error": reason}``.
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
        "parts": _guarded(_components),
        "packages": _guarded(_packages),
        "plan": _guarded(lambda: _plan(plan)),
    }
    report["advice"] = _advice(report)
    report["problems"] = _problems(report)
    return report


def _guarded(probe: Callable[[], Any]) -> Any:
    try:
        return probe()
    except Exception as error:  # an incomplete report is better than none
        return {"error": f"{type(error).__name__}: {error}"}


def _sdk() -> dict[str, Any]:
    core = _guarded(lambda: importlib.import_module("pvlr_sdk._core"))
    return {
        "version": __version__,
        "folder": str(Path(__file__).parents[2]),
        "core": core if isinstance(core, dict) else "ok",
    }


def _system() -> dict[str, Any]:
    return {
        "platform": platform.platform(),
        "machine": platform.machine(),
        "board": text_of("/proc/device-tree/model"),  # of a Jetson or a Raspberry Pi
    }


def _cpu() -> dict[str, Any]:
    first = (text_of("/proc/cpuinfo") or "").split("\n\n")[0]
    fields = {
        key.strip(): value.strip()
        for key, _, value in (line.partition(":") for line in first.splitlines())
    }
    flags = set((fields.get("flags") or fields.get("Features") or "").split())
    return {
        "name": fields.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "usable_cores": available_cores(),
        "features": [feature for feature in _CPU_FEATURES if feature in flags],
    }


def _memory() -> dict[str, int | None]:
    fields = dict(
        line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines() if ":" in line
    )
    total = int(fields["MemTotal"].split()[0]) // 1024
    limit = memory_limit()
    return {
        "total": total,
        "available": int(fields["MemAvailable"].split()[0]) // 1024,
        # Version 1 of cgroups has a huge limit for none.
        "container_limit": limit // 2**20 if limit is not None and limit // 2**20 < total else None,
    }


def _openvino() -> dict[str, Any]:
    core = open_core()
    return {
        "version": runtimes.openvino().get_version(),
        "devices": {name: _device(core, name) for name in core.available_devices},
    }


def _device(core: Any, name: str) -> Any:
    return _guarded(
        lambda: {
            "name": core.get_property(name, "FULL_DEVICE_NAME"),
            "capabilities": sorted(core.get_property(name, "OPTIMIZATION_CAPABILITIES")),
        }
    )


def _components() -> dict[str, Any]:
    try:
        from ... import _core
    except ImportError as error:
        return {"core": str(error), "cuda_kernels": False, "tensorrt_plugins": None}
    from ...backends.tensorrt import driver, plugins

    return {
        "core": "ok",
        "cuda_kernels": bool(getattr(_core, "has_cuda", lambda: False)()),
        "tensorrt_plugins": plugins.version(),
        "cuda_interface": driver.find_driver().name,
    }


def _packages() -> dict[str, str | None]:
    def version(name: str) -> str | None:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return None

    return {name: version(name) for name in (*_NEEDED, *_OPTIONAL)}


def _plan(plan: str | Path | None) -> dict[str, Any]:
    from ...models.find import find_plan

    try:
        path = find_plan(plan)
        from ...tagger import Tagger
        from .precisions import precisions

        with Tagger(path) as tagger:
            facts = {"path": str(path), "runs": True, "info": tagger.info}
        return {**facts, "precisions": precisions(path)}
    except errors.PvlrError as error:
        name = str(plan) if plan is not None else "the bundled model"
        facts = {
            "path": name,
            "runs": False,
            "why": f"{type(error).__name__}: {error}",
            "help": error.help_anchor,
        }
        reasons = _guarded(lambda: _mismatches(path))
        return (
            {**facts, "does_not_fit": reasons} if isinstance(reasons, list) and reasons else facts
        )


def _mismatches(plan: Path) -> list[str]:
    """Why a TensorRT plan does not run here, from its manifest alone, and the command that builds it here; empty if
    nothing prevents it, or if the plan is for the CPU."""
    from ...backends.tensorrt import plugins
    from ...backends.tensorrt.compatibility import build_command, mismatches
    from ...bundle.bundle import read_manifest

    manifest = read_manifest(plan)
    if manifest.tensorrt is None:
        return []
    differences = mismatches(
        manifest.tensorrt, gpu.tensorrt() or "none", gpu.first(), plugins.version()
    )
    words = [
        f"{reason.what}: built for {reason.built_for}, here is {reason.here}"
        for reason in differences
    ]
    return [*words, f"build it here: {build_command(manifest, plan)}"] if words else []


def _advice(report: dict[str, Any]) -> list[str]:
    """What a core that was built without CUDA lacks on a Jetson: a wheel has none, nor a build without the toolkit."""
    components = report["parts"]
    if not report["jetson"] or components.get("core") != "ok":
        return []
    lacking = {
        "preprocessing on the GPU": components["cuda_kernels"],
        "fused attention": components["tensorrt_plugins"],
    }
    missing = [name for name, is_present in lacking.items() if not is_present]
    if not missing:
        return []
    # JetPack does not add it to PATH
    toolkit = isinstance(report["nvcc"], str) or (_CUDA / "bin/nvcc").is_file()
    command = "" if toolkit else "sudo apt-get install -y nvidia-jetpack && "
    command += "PVLR_CUDA=1 pip install --no-deps --force-reinstall ."
    return [
        f"this Jetson runs without {' and '.join(missing)}: in a clone of the repository, run {command}"
    ]


def _problems(report: dict[str, Any]) -> list[str]:
    problems = []
    core = report["pvlr_sdk"].get("core")
    if core != "ok":
        problems.append(
            f"the compiled core pvlr_sdk._core does not load: {core}; reinstall the package"
        )
    for package, module in _NEEDED.items():
        try:
            importlib.import_module(module)
        except (
            Exception
        ) as error:  # a broken binary can raise any error from ImportError to OSError
            problems.append(
                f"{package} does not load: {error}; install it with pip install {package}"
            )
    devices = report["openvino"].get("devices", {})
    if devices is not None and "CPU" not in devices:
        problems.append(f"OpenVINO has no CPU device here: {report['openvino']}")
    cuda = (report["cuda"] or {}).get("driver_cuda")
    for needed in (12, 13):
        if cuda and float(cuda) < needed and report["packages"].get(f"tensorrt-cu{needed}"):
            wanted = f"tensorrt-cu{needed} needs NVIDIA's driver for CUDA {needed} or later, not for CUDA {cuda}"
            problems.append(f"{wanted}; update the driver, or install TensorRT for an earlier CUDA")
    plan = report.get("plan", {})
    problems += [
        f"the plan does not fit this machine: {reason}" for reason in plan.get("does_not_fit", [])
    ]
    if "error" in plan or plan.get("runs") is False:
        problems.append(f"the plan does not run here: {plan.get('why') or plan.get('error')}")
    return problems
