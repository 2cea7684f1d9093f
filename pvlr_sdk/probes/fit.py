"""Whether a TensorRT plan fits this machine, from its manifest alone: nothing is loaded."""

from __future__ import annotations

from pathlib import Path

from ..backends.tensorrt.cuda import Gpu
from ..backends.tensorrt.fit import build_command, misfits
from ..bundle import read_manifest
from ..tensorrt import plugins
from . import gpu

_NO_GPU = Gpu("none", (0, 0), 0, "", 0)


def reasons(plan: Path) -> list[str]:
    """Why a plan does not run here, and the command that builds it here; empty: it should, or it is for the CPU.

    Raises:
        BundleError: there is no plan, or its manifest is no good.
    """
    manifest = read_manifest(plan)
    if manifest.tensorrt is None:
        return []
    found = misfits(manifest.tensorrt, gpu.tensorrt() or "none", _gpu(), plugins.version())
    words = [f"{misfit.what}: built for {misfit.built_for}, here is {misfit.here}" for misfit in found]
    return [*words, f"build it here: {build_command(manifest, plan)}"] if words else []


def _gpu() -> Gpu:
    seen = gpu.devices()
    if not seen or not seen["gpus"]:
        return _NO_GPU
    first = seen["gpus"][0]
    major, minor = map(int, first["capability"].split("."))
    return Gpu(first["name"], (major, minor), 0, seen["driver_cuda"], first["multiprocessors"])
