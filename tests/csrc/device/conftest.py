"""Tests that need a GPU: skipped without one, with the reason; with PVLR_REQUIRE_GPU=1 they fail instead."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest

KERNELS = Path(__file__).resolve().parents[1] / "kernels"


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


@pytest.fixture(scope="session")
def cases() -> Any:
    """The inputs and the bounds of the emulator's tests: the same on a device."""
    return _load("dual_softmax_attention", "attention_cases")


@pytest.fixture(scope="session")
def head_cases() -> Any:
    """The same for the tag head."""
    return _load("tag_head", "tag_head_cases")


def _load(kernel: str, name: str) -> Any:
    pytest.importorskip("torch")
    spec = importlib.util.spec_from_file_location(name, KERNELS / kernel / "cases.py")
    assert spec is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
