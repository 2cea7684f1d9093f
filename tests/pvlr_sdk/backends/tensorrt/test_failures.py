"""A GPU that fails: too little memory, failed inferences, and a lost context."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.backends.tensorrt.cuda import CudaError
from tests.tensorrt_cases import CASES


def test_too_little_memory(make_plan, gpu, trt):
    plan = make_plan()
    gpu.fail["malloc"] = 2
    with pytest.raises(errors.DeviceMemoryError, match="--batch"):
        Tagger(plan)
    del gpu.fail["malloc"]
    trt.world.contexts = 0
    with pytest.raises(errors.DeviceMemoryError, match="OutOfMemory"):
        Tagger(plan)


def test_memory_for_one_context_is_enough(make_plan, trt, frame, true_logits):
    trt.world.contexts = 1
    tagger = Tagger(make_plan())
    assert tagger.info["parallel"] == 1
    np.testing.assert_allclose(tagger.predict(frame).logits, true_logits(tagger, frame), atol=1e-4)


def test_one_context_is_enough_if_another_is_refused_the_profile(
    make_plan, trt, frame, true_logits
):
    trt.world.profile_error = (
        "Error Code 4: profile 0 has been chosen for another IExecutionContext"
    )
    tagger = Tagger(make_plan())
    assert tagger.info["parallel"] == 1
    assert "another IExecutionContext" in tagger.info["contexts"]
    np.testing.assert_allclose(tagger.predict(frame).logits, true_logits(tagger, frame), atol=1e-4)


@pytest.mark.parametrize(
    ("optimize", "profiles", "used"),
    [("latency", 2, 0), ("throughput", 2, 1), ("throughput", 1, 0)],
)
def test_the_profile_fits_the_batch(optimize, profiles, used, gpu_plan, trt):
    """Plans of earlier versions have one profile."""
    trt.world.profiles = profiles
    tagger = Tagger(gpu_plan, optimize=optimize)
    contexts = tagger._plan.backend._session._engine._engine.contexts
    assert [context.profile for context in contexts] == [used, used]


@pytest.mark.parametrize("where", ["capture", "run"])
def test_a_context_that_tensorrt_loses_is_noticed(where, gpu_plan, gpu, trt, frame):
    """TensorRT only says that it did not run: waiting shows why, before TensorRT is called again."""
    if where == "run":
        gpu.fail["begin_capture"] = 900
        tagger = Tagger(gpu_plan)
    trt.world.enqueue_loses = where
    with pytest.raises(errors.DeviceLostError, match="719"):
        Tagger(gpu_plan) if where == "capture" else tagger.predict(frame)


@pytest.mark.parametrize("error", [CudaError(3, "record"), RuntimeError("anything")])
def test_a_launch_that_fails_half_way_leaves_nothing_in_flight(
    error, gpu_plan, gpu, frame, monkeypatch
):
    """Its copies end before the buffers are freed; the execution context is used again."""
    tagger = Tagger(gpu_plan)

    def fail(*_):
        raise error

    monkeypatch.setattr(gpu, "record", fail)
    for _ in range(3):  # there are two contexts
        with pytest.raises((errors.BackendError, RuntimeError)):
            tagger.predict(frame)
        assert not gpu.unfinished()
    monkeypatch.undo()
    tagger.predict(frame)


def test_the_reason_reaches_the_plan_that_fails_though_the_first_logger_hears_it(
    make_plan, trt, frame
):
    """TensorRT keeps the first logger of a process for the CUDA errors of every engine."""
    plan = make_plan()
    first = Tagger(plan)
    trt.world.contexts = 0
    with pytest.raises(errors.DeviceMemoryError, match="OutOfMemory"):
        Tagger(plan)
    assert not any(
        "OutOfMemory" in line for line in first._plan.backend._session._engine.messages.lines
    )


@pytest.mark.slow
@pytest.mark.parametrize("fits", range(8))
def test_a_load_that_fails_leaves_nothing_on_the_gpu(fits, make_plan, gpu, monkeypatch):
    """Memory for ``fits`` buffers: none, some of the first context's, or some of the second's."""
    plan = make_plan()
    malloc, given = gpu.malloc, []

    def limited(size: int) -> int:
        if len(given) == fits:
            raise CudaError(2, "malloc")
        given.append(size)
        return malloc(size)

    monkeypatch.setattr(gpu, "malloc", limited)
    if fits < 3:
        with pytest.raises(errors.DeviceMemoryError):
            Tagger(plan)
    else:
        assert Tagger(plan).info["parallel"] == (1 if fits < 6 else 2)
    gc.collect()
    assert not gpu.allocated
    assert not gpu.streams
    assert not gpu.graphs


def test_a_gpu_that_tensorrt_does_not_know(make_plan, trt):
    plan = make_plan()
    trt.world.start_error = (
        "Error Code 6: API Usage Error "
        "(Target GPU SM 61 is not supported by this TensorRT release.)"
    )
    with pytest.raises(
        errors.BackendError,
        match=r"TensorRT 10\.3\.0 supports, got .*SM 61 is not supported.*doctor",
    ):
        Tagger(plan)


@pytest.mark.parametrize("code", [3, 209, 218, 400, 500, 701, 720, 801, 912])
def test_an_error_that_leaves_the_context_whole_ends_nothing(code, gpu_plan, gpu, frame):
    tagger = Tagger(gpu_plan)
    gpu.fail["record"] = code
    with pytest.raises(errors.BackendError, match=str(code)) as caught:
        tagger.predict(frame)
    assert not isinstance(caught.value, errors.DeviceLostError)
    gpu.fail.clear()
    tagger.predict(frame)


def test_a_plan_that_fails_for_days_remembers_the_newest_messages(gpu_plan, gpu, trt, frame):
    gpu.fail["begin_capture"] = 900  # without a graph, so that TensorRT is asked each time
    tagger = Tagger(gpu_plan)
    for number in range(300):
        trt.world.enqueue_error = f"Error Code {number}"
        with pytest.raises(errors.BackendError, match=f"got Error Code {number}\\."):
            tagger.predict(frame)
    assert len(tagger._plan.backend._session._engine.messages.lines) == 200
    trt.world.enqueue_error = None
    tagger.predict(frame)  # the next one is fine


def test_after_a_lost_context_no_plan_runs_in_the_process(gpu_plan, gpu, trt, frame):
    """The service manager restarts it: behind three CUDA runtimes there is no safe way to a new context."""
    used, idle = Tagger(gpu_plan), Tagger(gpu_plan)
    slot = used._plan.backend.acquire()
    gpu.fail["wait"] = 700
    with pytest.raises(
        errors.DeviceLostError, match=r"wait gave CUDA error 700.*Restart the process"
    ):
        used.predict(frame)
    gpu.fail.clear()
    gpu.broken = 0  # whatever the driver says later
    calls = trt.world.contexts, gpu.graph_launches
    for call in (
        lambda: used.predict(frame),
        lambda: idle.predict(frame),
        lambda: Tagger(gpu_plan),
        slot.start,
    ):
        with pytest.raises(errors.DeviceLostError, match="wait gave CUDA error 700"):
            call()
    assert (trt.world.contexts, gpu.graph_launches) == calls


def test_a_lost_context_ends_every_thread_s_call(gpu_plan, gpu, frame, random_frames, started):
    tagger = Tagger(gpu_plan)
    pending = [started(tagger, frame) for frame in random_frames(5)]
    gpu.broken = 719
    for job in pending:
        with pytest.raises(errors.DeviceLostError):
            job()
    with pytest.raises(errors.DeviceLostError):
        tagger.predict(frame)


def test_the_table_of_cases_names_tests():
    """The same cases run in C++ (tests/csrc/runtime)."""
    sources = "".join(
        path.read_text() for path in Path(__file__).parents[2].rglob("tensorrt/test_*.py")
    )
    assert [case for case in CASES if case.python and f"def {case.python}(" not in sources] == []
