"""The TensorRT backend on a fake: its numbers, execution contexts, batches, CUDA graphs and threads."""

from __future__ import annotations

import gc
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors


def test_tags_are_those_of_the_definition(gpu_plan, random_frames, true_logits):
    with Tagger(gpu_plan) as tagger:
        assert tagger.info["backend"] == "tensorrt"
        assert tagger.info["cuda_graph"] == "in use"
        for frame in random_frames(5):
            result = tagger.predict(frame)
            np.testing.assert_allclose(result.logits, true_logits(tagger, frame), atol=1e-4)


def test_the_graph_replaces_the_launches(gpu_plan, gpu, frame):
    tagger = Tagger(gpu_plan)
    launches, graphs = gpu.kernel_launches, gpu.graph_launches
    tagger.predict(frame)
    assert (gpu.kernel_launches, gpu.graph_launches) == (launches, graphs + 1)


@pytest.mark.parametrize("how", ["begin_capture", "end_capture", "enqueue", "launch"])
def test_without_a_graph_it_runs_all_the_same(how, make_plan, gpu, trt, frame, true_logits):
    if how == "enqueue":
        trt.world.capture_error = 900
    else:
        gpu.fail[how] = 900
    tagger = Tagger(make_plan())
    assert "900" in tagger.info["cuda_graph"]
    np.testing.assert_allclose(tagger.predict(frame).logits, true_logits(tagger, frame), atol=1e-4)


@pytest.mark.parametrize("optimize", ["latency", "throughput"])
def test_32_threads_on_one_tagger_get_what_one_gets(optimize, gpu_plan, gpu, random_frames):
    tagger = Tagger(gpu_plan, optimize=optimize)
    frames = random_frames(96)
    alone = [tagger.predict(frame).logits for frame in frames]
    with ThreadPoolExecutor(32) as pool:
        together = [result.logits for result in pool.map(tagger.predict, frames)]
    np.testing.assert_array_equal(together, alone)
    # Threads share the execution contexts: device memory does not grow with them.
    assert len(gpu.streams) == 3


def test_batches_form_while_the_gpu_is_busy(gpu_plan, gpu, random_frames, started):
    tagger = Tagger(gpu_plan, optimize="throughput")
    assert tagger.info["batch"] == 4
    before = gpu.graph_launches
    pending = [started(tagger, frame) for frame in random_frames(12)]
    results = [job().logits for job in reversed(pending)]  # in any order
    # Two contexts take the first two frames at once; the other ten wait and share three batches.
    assert gpu.graph_launches - before == 5
    for result, frame in zip(reversed(results), random_frames(12), strict=True):
        np.testing.assert_array_equal(result, tagger.predict(frame).logits)


def test_a_batch_is_downloaded_at_once_and_read_later(
    gpu_plan, gpu, random_frames, started, true_logits
):
    """While frames of a batch are still to be read, later batches have other buffers."""
    tagger = Tagger(gpu_plan, optimize="throughput")
    before, frames = gpu.downloads, random_frames(6)
    results = [started(tagger, frame) for frame in frames]
    np.testing.assert_allclose(results.pop()().logits, true_logits(tagger, frames.pop()), atol=1e-4)
    assert gpu.downloads == before + 3 * 2  # logits and similarity of two single frames and a batch
    for _ in range(2):
        for result, frame in zip(
            [started(tagger, frame) for frame in frames[::-1]], frames[::-1], strict=True
        ):
            np.testing.assert_allclose(result().logits, true_logits(tagger, frame), atol=1e-4)
    for result, frame in zip(results, frames, strict=True):
        np.testing.assert_allclose(result().logits, true_logits(tagger, frame), atol=1e-4)


def test_the_network_alone_is_timed_while_nothing_else_runs(gpu_plan, gpu, frame, started):
    tagger = Tagger(gpu_plan)
    before = gpu.graph_launches
    # without the gap before a launch on an idle stream
    assert tagger._plan.backend.compute_times(5) == [1.5] * 5
    assert gpu.graph_launches == before + 5 * 11
    pending = started(tagger, frame)
    with pytest.raises(errors.BackendError, match="in flight"):
        tagger._plan.backend.compute_times(1)
    pending()


def test_closing_frees_the_engine_at_once(gpu_plan, frame):
    """Not when garbage is collected: TensorRT's memory is not in the view of Python's collector."""
    tagger = Tagger(gpu_plan)
    tagger.predict(frame)
    session = tagger._plan.backend._session
    held = [
        weakref.ref(thing)
        for thing in (session._engine._engine, *(one._context for one in session.contexts))
    ]
    del session
    gc.disable()
    try:
        tagger.close()
        assert [thing() for thing in held] == [None] * 3
    finally:
        gc.enable()


def test_nothing_is_left_on_the_gpu(gpu_plan, gpu, frame):
    tagger = Tagger(gpu_plan)
    tagger.predict(frame)
    tagger.close()
    del tagger
    gc.collect()
    assert not gpu.allocated
    assert not gpu.streams
    assert not gpu.graphs
