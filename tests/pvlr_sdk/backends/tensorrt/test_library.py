"""A machine without TensorRT, a GPU or the plugin library."""

from __future__ import annotations

import pytest

from pvlr_sdk import Tagger, errors


def test_without_tensorrt(gpu_plan, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(errors.MissingPartError, match="JetPack"):
        Tagger(gpu_plan)


def test_type_stubs_are_no_tensorrt(gpu_plan, monkeypatch):
    import sys
    from types import ModuleType

    monkeypatch.setitem(sys.modules, "tensorrt", ModuleType("tensorrt"))
    with pytest.raises(errors.MissingPartError, match="type stubs"):
        Tagger(gpu_plan)


def test_a_tensorrt_that_is_too_old(gpu_plan, trt, monkeypatch):
    monkeypatch.setattr(trt, "__version__", "8.6.1")
    with pytest.raises(errors.MissingPartError, match=r"version 8\.6\.1"):
        Tagger(gpu_plan)


def test_without_a_gpu(gpu_plan, monkeypatch):
    from pvlr_sdk.backends.tensorrt import cuda

    monkeypatch.delitem(cuda._open, "cuda")
    with pytest.raises(errors.MissingPartError, match=r"(?s)pycuda: .*cuda-python: "):
        Tagger(gpu_plan)


def test_a_plan_with_plugins(make_plan, plugin_library, trt):
    plan = make_plan(plugins="1", attention="fused")
    trt.world.plugin_error = True
    with pytest.raises(errors.BackendError, match="DualSoftmaxAttention, TagHead"):
        Tagger(plan)
    trt.world.plugin_error = False
    assert Tagger(plan).info["attention"] == "fused"
    assert len(trt.world.loaded) == 1
    with pytest.raises(errors.PlanMismatchError, match=r"plugin library: version 2, got version 1"):
        Tagger(make_plan(plugins="2", attention="fused"))
