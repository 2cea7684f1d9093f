"""A machine without TensorRT, a GPU or the plugin library."""

from __future__ import annotations

import sys
from threading import Thread
from types import ModuleType

import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.backends.tensorrt import library


@pytest.mark.parametrize(
    ("module", "told"), [(None, "JetPack"), (ModuleType("tensorrt"), "type stubs")]
)
def test_without_tensorrt(gpu_plan, monkeypatch, module, told):
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    with pytest.raises(errors.MissingPartError, match=told):
        Tagger(gpu_plan)


def test_a_tensorrt_that_is_too_old(gpu_plan, trt, monkeypatch):
    monkeypatch.setattr(trt, "__version__", "8.6.1")
    with pytest.raises(errors.MissingPartError, match=r"version 8\.6\.1"):
        Tagger(gpu_plan)


def test_without_a_gpu(gpu_plan, monkeypatch):
    from pvlr_sdk.backends.tensorrt import driver

    monkeypatch.delitem(driver._open, "cuda")
    with pytest.raises(errors.MissingPartError, match=r"driver, got libcuda.*pvlr doctor"):
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


def test_messages_go_to_the_thread_that_caused_them(trt, caplog):
    """And to everyone who collects, if they come from a thread of TensorRT's own."""
    severity = trt.ILogger.Severity

    def log_elsewhere(level: int, text: str) -> None:
        thread = Thread(target=library.logger().log, args=(severity(level), text))
        thread.start()
        thread.join()

    def collect_elsewhere(text: str) -> None:
        with second.collect():
            library.logger().log(severity.ERROR, text)

    first, inner, second = (library.Messages() for _ in range(3))
    with first.collect(verbose=True):
        thread = Thread(target=collect_elsewhere, args=("of the other thread",))
        thread.start()
        thread.join()
        with inner.collect():
            library.logger().log(severity.INFO, "of the inner one")
            library.logger().log(severity.VERBOSE, "a detail")
        library.logger().log(severity.VERBOSE, "a wanted detail")
        log_elsewhere(severity.WARNING, "of TensorRT's own thread")
    log_elsewhere(severity.ERROR, "of a destructor")
    assert list(second.lines) == ["[ERROR] of the other thread"]
    assert list(inner.lines) == ["[INFO] of the inner one"]
    assert list(first.lines) == ["[VERBOSE] a wanted detail", "[WARNING] of TensorRT's own thread"]
    assert second.reason("") == "of the other thread"
    assert [record.message for record in caplog.records] == ["TensorRT: of a destructor"]
