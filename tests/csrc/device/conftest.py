"""Tests that need a GPU: skipped without one, with the reason; with PVLR_REQUIRE_GPU=1 they fail instead."""

from __future__ import annotations

import importlib.util
import os

import pytest


def missing() -> str | None:
    """Why no kernel can run on a device here; None if one can."""
    if importlib.util.find_spec("torch") is None:
        return "no PyTorch"
    import torch

    from pvlr_sdk import kernels

    if not torch.cuda.is_available():
        return f"no GPU that PyTorch {torch.__version__} can use"
    if not kernels.has_cuda():
        return "the core was built without CUDA"
    if torch.cuda.get_device_capability() < (7, 5):
        return "the GPU's compute capability is below 7.5"
    return None


@pytest.fixture(scope="session", autouse=True)
def _gpu() -> None:
    reason = missing()
    if reason is None:
        return
    if os.environ.get("PVLR_REQUIRE_GPU") == "1":
        pytest.fail(f"PVLR_REQUIRE_GPU=1, but {reason}")
    pytest.skip(reason)
