"""NV12 and I420 frames as planes for the GPU: from host memory, and on the device."""

from __future__ import annotations

import ctypes
import gc
from functools import partial
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.backends.tensorrt.pixels import DevicePixels
from pvlr_sdk.bundle.manifest import InputSpec
from pvlr_sdk.frames.device import DeviceArray, load
from pvlr_sdk.kernels.preprocess import launch
from tests.planes import ORDERS, planes_of, random_planes

from .test_preprocessing import FakeKernel, kernel

__all__ = ["kernel"]
SPEC = InputSpec(width=64, height=48, resize="letterbox", mean=(120, 110, 100), std=(60, 50, 70))
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
            np.testing.assert_array_equal(
                tagger.predict(frame, color=order, tiles=tiles).logits, expected
            )
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
def test_without_the_kernel_planes_go_through_the_cpu(
    order: Any, gpu_plan: Any, on_gpu: Any
) -> None:
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
        np.testing.assert_array_equal(
            tagger.predict(tuple(unfinished), color="nv12").logits, expected
        )
    assert len(gpu.timing) == events + 2  # an event for each plane, which the next frame uses again
    tagger.close()
    del tagger
    gc.collect()
    assert not gpu.events


@pytest.mark.parametrize("order", ORDERS)
def test_the_kernel_gets_the_planes_with_their_pitches(
    order: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As arrays on the CPU; tests/csrc/bindings calls it in the emulator."""

    def array(pointer: int, shape: tuple[int, ...], strides: tuple[int, ...], _: str) -> np.ndarray:
        memory = np.ctypeslib.as_array(
            (ctypes.c_uint8 * (shape[0] * strides[0])).from_address(pointer)
        )
        return np.lib.stride_tricks.as_strided(memory, shape, strides)

    monkeypatch.setattr("pvlr_sdk.backends.tensorrt.pixels._View", array)
    results = []
    for parts in ([FRAME], planes_of(FRAME, order)):
        planes = [DeviceArray(one.ctypes.data, one.shape, one.strides, None, one) for one in parts]
        results.append(np.empty((1, 3, SPEC.height, SPEC.width), np.float32))
        launch([DevicePixels(SPEC).prepare(planes, order)], SPEC, results[-1], None)
    np.testing.assert_array_equal(*results)


@pytest.mark.parametrize(
    ("pitched", "fits"),
    [
        (lambda chroma: chroma, True),
        (lambda chroma: chroma[::-1], True),
        (lambda chroma: np.broadcast_to(chroma[0], chroma.shape), False),  # rows overlap
        (lambda chroma: np.repeat(chroma, 2, axis=1)[:, ::2], False),
    ],
)
def test_a_pitch_that_the_kernel_refuses_is_not_passed_to_it(
    pitched: Any, fits: bool, on_gpu: Any
) -> None:
    """It would fail all frames of the batch."""
    luma, chroma = planes_of(FRAME, "nv12")
    there = load((on_gpu(luma), on_gpu(pitched(chroma))), "nv12")
    assert DevicePixels(SPEC).takes(there.planes, there.order) == fits


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
