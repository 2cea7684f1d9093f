"""TensorRT's builder and parser: timings, progress, refusals and Ctrl-C on the fake; real builds on TensorRT-RTX, whose
builder needs no GPU."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from concurrent.futures import wait
from typing import Any

import pytest

from pvlr_sdk import errors
from pvlr_sdk.backends.tensorrt.library import Messages
from pvlr_sdk.workshop.compile.build import build
from pvlr_sdk.workshop.compile.tensorrt_options import BuildOptions

NATIVE = BuildOptions(attention="native")


class Seen:
    """A watcher that records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def begin(self, *arguments: Any) -> None:
        self.calls.append(("begin", *arguments))

    def step(self, *arguments: Any) -> None:
        self.calls.append(("step", *arguments))

    def end(self, *arguments: Any) -> None:
        self.calls.append(("end", *arguments))


def test_timings_are_kept_for_the_next_build(trt, exported, tmp_path):
    build(exported.onnx, tmp_path / "a.plan", device="tensorrt", options=NATIVE)
    build(exported.onnx, tmp_path / "b.plan", device="tensorrt", options=NATIVE)
    assert trt.world.seen.given[-1].startswith(b"timings")
    trt.world.cuda._gpu = type(trt.world.cuda._gpu)("Other", (8, 9), 1 << 30, "12.6", 58)
    build(exported.onnx, tmp_path / "c.plan", device="tensorrt", options=NATIVE)
    assert trt.world.seen.given[-1] == b""  # timings of another GPU are not used


@pytest.mark.parametrize("where", ["create", "set"])
def test_timings_that_tensorrt_refuses_are_left_out(where, trt, exported, tmp_path):
    build(exported.onnx, tmp_path / "a.plan", device="tensorrt", options=NATIVE)
    trt.world.timings_refused = where
    build(exported.onnx, tmp_path / "b.plan", device="tensorrt", options=NATIVE)
    assert trt.world.seen.given[-2].startswith(b"timings")
    assert trt.world.seen.given[-1] == b""


def test_a_gpu_that_tensorrt_does_not_build_for(trt, exported, tmp_path):
    trt.world.start_error = (
        "Error Code 6: API Usage Error "
        "(Target GPU SM 61 is not supported by this TensorRT release.)"
    )
    with pytest.raises(errors.BackendError, match=r"SM 61 is not supported.*support matrix"):
        build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=NATIVE)


def test_progress_is_passed_on(trt, exported, tmp_path):
    seen = Seen()
    build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=NATIVE, watcher=seen)
    assert seen.calls[:4] == [
        ("begin", "Building", None, 2),
        ("step", "Building", 1),
        ("step", "Building", 2),
        ("end", "Building"),
    ]


def test_a_build_that_fails_says_why_and_leaves_the_log(trt, exported, tmp_path):
    trt.world.build_error = (
        "Error Code 10: Could not find any implementation for node /head/attention."
    )
    with pytest.raises(errors.BuildError, match="implementation for node /head/attention"):
        build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=NATIVE)
    assert [path.name for path in tmp_path.iterdir()] == ["engine.build.log"]
    assert "implementation for node" in (tmp_path / "engine.build.log").read_text()


def test_a_node_that_tensorrt_lacks(trt, exported, tmp_path):
    import onnx

    model = onnx.load(exported.onnx)
    model.graph.node[1].op_type, model.graph.node[1].name = "Mish", "middle"
    with pytest.raises(errors.UnsupportedNodeError, match=r"Mish 'middle'.*no importer registered"):
        _compile(model.SerializeToString())


@pytest.mark.parametrize("awake", [True, False])
def test_ctrl_c_ends_the_build_and_leaves_nothing(awake, trt, exported, tmp_path, monkeypatch):
    """Also if it arrives just before the main thread blocks, which it does not wake then."""
    steps, seen, cancelled, waited_for = [], [], threading.Event(), threading.Event()

    def waiting(*arguments: Any, **options: Any) -> Any:
        waited_for.set()
        return wait(*arguments, **options)

    def during() -> None:
        steps.append(threading.current_thread())
        assert waited_for.wait(60)  # an interrupt in Thread.start would break its lock
        if awake:
            os.kill(os.getpid(), signal.SIGINT)
        else:
            while sys._current_frames()[threading.main_thread().ident].f_code.co_name != "wait":
                pass
            _thread.interrupt_main()
        seen.append(cancelled.wait(30))
        assert seen[-1]  # the build ends

    monkeypatch.setattr("pvlr_sdk.workshop.compile.tensorrt.compiler.wait", waiting)
    monkeypatch.setattr("pvlr_sdk.workshop.compile.tensorrt.compiler.Event", lambda: cancelled)
    trt.world.during_build = during
    trt.world.phases = [("Building", 50)]
    with pytest.raises(KeyboardInterrupt):
        build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=NATIVE)
    assert seen == [True]
    assert steps[0] is not threading.main_thread()
    assert not list(tmp_path.iterdir())
    assert not [thread for thread in threading.enumerate() if thread.name == "pvlr-tensorrt-build"]


def _compile(payload: bytes) -> bytes:
    from pvlr_sdk.workshop.compile.tensorrt.compiler import compile_network

    return compile_network(payload, "model.onnx", NATIVE, Messages()).plan
