"""NV12 and I420 frames as planes for the GPU: from host memory, and on the device."""

from __future__ import annotations

import ctypes
import gc
from functools import partial
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from tests.planes import ORDERS, planes_of, random_planes

from .test_preprocessing import FakeKernel, kernel

__all__ = ["kernel"]
FRAME = np.random.default_rng(5).integers(0, 256, (99, 70), np.uint8)


@pytest.mark.parametrize("order", ORDERS)
def test_planes_are_tagged_like_the_packed_frame(
    order: Any, gpu_plan: Any, kernel: list[FakeKernel], on_gpu: Any
) -> None:
    tagger = Tagger(gpu_plan, optimize="throughput")
    planes = planes_of(FRAME, order)
    there = tuple(map(on_gpu, planes))
    for tiles in (None, (3, 2)):
        expected = tagger.predict(FRAME, color=order, tiles=tiles).logits
        for frame in (planes, there):
            np.testing.assert_array_equal(tagger.predict(frame, color=order, tiles=tiles).logits, expected)
            assert (kernel[0].seen[-1][0] == there[0].pointer) == (frame is there)  # read in place
    mixed = tagger.predict_batch([planes, there, FRAME] * 4, color=order)
    expected = tagger.predict(FRAME, color=order).logits
    assert all(np.array_equal(result.logits, expected) for result in mixed)


@pytest.mark.parametrize("order", ORDERS)
def test_sizes_may_be_odd(order: Any, gpu_plan: Any, kernel: list[FakeKernel], on_gpu: Any) -> None:
    tagger, planes = Tagger(gpu_plan), random_planes(67, 71, order)
    results = [tagger.predict(frame, color=order) for frame in (planes, tuple(map(on_gpu, planes)))]
    np.testing.assert_array_equal(results[0].logits, results[1].logits)
    assert [result.frame_size for result in results] == [(67, 71)] * 2


@pytest.mark.parametrize("order", ["nv12", "i420"])
def test_without_the_kernel_planes_go_through_the_cpu(order: Any, gpu_plan: Any, on_gpu: Any) -> None:
    tagger, planes = Tagger(gpu_plan), planes_of(FRAME, order)
    assert tagger.info["preprocessing"] == "CPU"
    expected = tagger.predict(FRAME, color=order).logits
    for frame in (planes, tuple(map(on_gpu, planes))):
        np.testing.assert_array_equal(tagger.predict(frame, color=order).logits, expected)


def test_the_gpu_waits_for_the_stream_of_each_plane(
    gpu_plan: Any, kernel: list[FakeKernel], on_gpu: Any, gpu: Any
) -> None:
    tagger, planes = Tagger(gpu_plan), planes_of(FRAME, "nv12")
    expected = tagger.predict(planes, color="nv12").logits
    events = len(gpu.timing)
    for _ in range(2):
        unfinished = []
        for plane in planes:
            with gpu.current():
                stream = gpu.stream()
            there = on_gpu(np.zeros(plane.shape, np.uint8))
            gpu.enqueue(stream, partial(ctypes.memmove, there.pointer, plane.tobytes(), plane.size))
            interface = there.__cuda_array_interface__ | {"stream": stream}
            unfinished.append(type("Unfinished", (), {"__cuda_array_interface__": interface})())
        np.testing.assert_array_equal(tagger.predict(tuple(unfinished), color="nv12").logits, expected)
    assert len(gpu.timing) == events + 2  # an event for each plane, which the next frame uses again
    tagger.close()
    del tagger
    gc.collect()
    assert not gpu.events


def test_rows_that_overlap_do_not_fail_the_batch(gpu_plan: Any, kernel: list[FakeKernel], on_gpu: Any) -> None:
    """The kernel refuses such a pitch, and with it the frames of its batch."""
    from pvlr_sdk.backends.tensorrt.pixels import DevicePixels
    from pvlr_sdk.frames.device import load

    takes = partial(DevicePixels.takes, kernel)
    luma, chroma = planes_of(FRAME, "nv12")
    for frame, fits in (
        ((luma, chroma), True),
        ((luma[::-1], chroma), True),
        ((luma, np.broadcast_to(chroma[0], chroma.shape)), False),
        ((luma, np.repeat(chroma, 2, axis=1)[:, ::2]), False),
    ):
        there = load(tuple(map(on_gpu, frame)), "nv12")
        assert takes(there.planes, there.order) == fits


def test_planes_that_do_not_fit_together(gpu_plan: Any, on_gpu: Any) -> None:
    tagger = Tagger(gpu_plan)
    luma, chroma = planes_of(FRAME, "nv12")
    with pytest.raises(errors.FrameTypeError, match="on a GPU"):
        tagger.predict((luma, on_gpu(chroma)), color="nv12")
    with pytest.raises(errors.FrameTypeError, match="on a GPU"):
        tagger.predict((on_gpu(luma), chroma), color="nv12")
    with pytest.raises(errors.FrameShapeError, match="planes of the shapes"):
        tagger.predict((on_gpu(luma), on_gpu(chroma[1:])), color="nv12")
    with pytest.raises(errors.FrameTypeError, match="got tuple"):
        tagger.predict((on_gpu(luma), on_gpu(chroma)))


def test_planes_on_the_gpu_for_a_plan_on_the_cpu(plan: Any, on_gpu: Any) -> None:
    with pytest.raises(errors.FrameTypeError, match="--device tensorrt"):
        Tagger(plan).predict(tuple(map(on_gpu, planes_of(FRAME, "nv12"))), color="nv12")
