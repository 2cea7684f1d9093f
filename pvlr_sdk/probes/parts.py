"""Which of our own parts this installation has."""

from __future__ import annotations

from typing import Any


def parts() -> dict[str, Any]:
    """The compiled core, its CUDA kernels, and the TensorRT plugins."""
    try:
        from .. import _core
    except ImportError as error:
        return {"core": str(error), "cuda_kernels": False, "tensorrt_plugins": None}
    from ..tensorrt import plugins

    return {
        "core": "ok",
        "cuda_kernels": bool(getattr(_core, "has_cuda", lambda: False)()),
        "tensorrt_plugins": plugins.version(),
    }
