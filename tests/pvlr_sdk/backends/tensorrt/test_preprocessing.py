"""Preprocessing on the GPU: the kernel's frames, batches and memory."""

from __future__ import annotations

import ctypes
import gc
from functools import partial
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.backends.tensorrt.pixels import LONGEST_SIDE
from pvlr_sdk.frames.preprocess import Preprocessor
from pvlr_sdk.workshop.compile.build import build
from pvlr_sdk.workshop.compile.tensorrt_options import BuildOptions


class FakeKernel:
    """The preprocessing kernel on the fake GPU: the CPU's, on device memory, when the stream gets there."""

    wrong: str | None = None
    """The order of frames that it reads one pixel too far."""

    def __init__(self, spec: Any, gpu: Any) -> None:
        self._preprocess, self._gpu, self.seen = Preprocessor(spec), gpu, []
        self.size = 4 * 3 * spec.height * spec.width
        self.launches = 0

    def takes(self, planes: Any, order: str) -> bool:
        return all(
            one.strides[1:] == ((1,) if one.ndim == 2 else (one.shape[2], 1)) for one in planes
        )

    def prepare(self, *frame: Any) -> Any:
        return frame

    def preprocess(self, frames: Any, target: int, stream: int) -> None:
        self.launches += 1
        for place, frame in enumerate(frames):
            self.seen.append((frame[0][0].pointer, frame[1]))
            self._gpu.enqueue(stream, partial(self._run, *frame, target + place * self.size))

    def _run(self, planes: Any, order: Any, crop: Any, target: int) -> None:
        pixels, *chroma = map(self._read, planes)
        pixels = np.roll(pixels, -1, axis=1) if order == self.wrong else pixels
        image = self._preprocess(pixels, order, crop=crop, chroma=chroma)
        ctypes.memmove(self._gpu.at(target, image.nbytes), image.ctypes.data, image.nbytes)

    def _read(self, array: Any) -> np.ndarray:
        extent = 1 + sum(
            (side - 1) * stride for side, stride in zip(array.shape, array.strides, strict=True)
        )
        data = np.ctypeslib.as_array(
            (ctypes.c_uint8 * extent).from_address(self._gpu.at(array.pointer, extent))
        )
        return np.lib.stride_tricks.as_strided(data, array.shape, array.strides)


@pytest.fixture
def kernel(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> list[FakeKernel]:
    """A core with CUDA; the list of its opened kernels."""
    opened: list[FakeKernel] = []

    def open_pixels(spec: Any) -> FakeKernel:
        opened.append(FakeKernel(spec, gpu))
        return opened[-1]

    monkeypatch.setattr("pvlr_sdk.backends.tensorrt.backend.open_pixels", open_pixels)
    return opened


@pytest.mark.parametrize("optimize", ["latency", "throughput"])
def test_preprocessing_on_the_gpu(optimize, gpu_plan, kernel, true_logits):
    tagger = Tagger(gpu_plan, optimize=optimize)
    assert tagger.info["preprocessing"] == "GPU"
    # staging and device buffers grow
    sizes = [
        (20, 30),
        (300, 200),
        (7, 9),
        (300, 200),
        (400, 500),
    ]
    frames = [
        np.random.default_rng(n).integers(0, 256, (*size, 3), np.uint8)
        for n, size in enumerate(sizes)
    ]
    for result, frame in zip(
        tagger.predict_batch(frames[:1] + frames), frames[:1] + frames, strict=True
    ):
        np.testing.assert_allclose(result.logits, true_logits(tagger, frame), atol=1e-4)
    flipped = frames[1][::-1, ::2]  # staged contiguously
    np.testing.assert_allclose(
        tagger.predict(flipped).logits, true_logits(tagger, flipped), atol=1e-4
    )
    assert len(kernel[0].seen) == 8  # the golden frame's too


def test_a_batch_is_preprocessed_in_one_launch(gpu_plan, kernel, true_logits, started):
    """The frames that the kernel refuses are in the same batch."""
    tagger = Tagger(gpu_plan, optimize="throughput")
    launches = kernel[0].launches
    frames = [np.random.default_rng(n).integers(0, 256, (8, 9 + n, 3), np.uint8) for n in range(6)]
    for n in (2, 4):
        frames[n] = np.repeat(frames[n], LONGEST_SIDE // 8 + 1, axis=0)
    for result, frame in zip([started(tagger, frame) for frame in frames], frames, strict=True):
        np.testing.assert_allclose(result().logits, true_logits(tagger, frame), atol=1e-4)
    assert kernel[0].launches == launches + 3  # two single frames, and then a full batch


@pytest.mark.parametrize("wrong", [None, "bgr", "nv12"])
def test_a_plan_whose_preprocessing_is_off_by_a_pixel_is_not_built(
    wrong, trt, kernel, exported, tmp_path, monkeypatch
):
    """Measured on the GPU's input, the golden difference would allow twice the fault."""
    monkeypatch.setattr(FakeKernel, "wrong", wrong)
    options = BuildOptions(attention="native")
    if wrong is None:
        build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=options)
    else:
        with pytest.raises(errors.AccuracyError, match=f"GPU preprocessing, {wrong}"):
            build(exported.onnx, tmp_path / "engine.plan", device="tensorrt", options=options)


def test_a_frame_on_the_gpu_is_not_copied(gpu_plan, kernel, on_gpu):
    tagger = Tagger(gpu_plan)
    # pitched
    frame = on_gpu(np.random.default_rng(5).integers(0, 256, (50, 64, 3), np.uint8)[4:40, 8:50])
    result = tagger.predict(frame)
    assert kernel[0].seen[-1] == (frame.pointer, "bgr")
    np.testing.assert_array_equal(result.logits, tagger.predict(frame.array).logits)


def test_the_gpu_waits_for_the_producer_and_not_the_caller(gpu_plan, kernel, on_gpu, gpu, started):
    tagger = Tagger(gpu_plan)
    random = np.random.default_rng(7)
    frames = [random.integers(0, 256, (30, 40, 3), np.uint8) for _ in range(3)]
    expected = [tagger.predict(frame).logits for frame in frames]
    with gpu.current():
        stream = gpu.stream()
    events = len(gpu.timing)
    gpu.fail["synchronize"] = gpu.fail["wait"] = 700
    results, written = [], []

    def write(there: Any, pixels: np.ndarray) -> None:
        ctypes.memmove(there.pointer, pixels.ctypes.data, pixels.nbytes)
        written.append(pixels)

    for pixels in frames:
        there = on_gpu(np.zeros_like(pixels))
        gpu.enqueue(stream, partial(write, there, pixels))
        interface = there.__cuda_array_interface__ | {"stream": stream}
        results.append(
            started(tagger, type("Unfinished", (), {"__cuda_array_interface__": interface})())
        )
    assert not written  # nobody has waited so far
    gpu.fail.clear()
    for result, logits in zip(results, expected, strict=True):
        np.testing.assert_array_equal(result().logits, logits)
    assert len(gpu.timing) == events + 3  # an event for each frame in flight
    there = on_gpu(frames[0])
    np.testing.assert_array_equal(tagger.predict(there).logits, expected[0])
    assert len(gpu.timing) == events + 3  # which the next frames use again
    del result, results
    tagger.close()
    gc.collect()
    assert not gpu.events


def test_a_layout_that_the_kernel_lacks_goes_through_the_cpu(gpu_plan, kernel, on_gpu):
    tagger = Tagger(gpu_plan)
    frame = on_gpu(np.random.default_rng(6).integers(0, 256, (50, 64, 4), np.uint8)[:, :, :3])
    launches = len(kernel[0].seen)
    result = tagger.predict(frame)
    assert len(kernel[0].seen) == launches
    np.testing.assert_allclose(result.logits, tagger.predict(frame.array).logits, atol=1e-5)


@pytest.mark.parametrize("there", [False, True])
def test_a_frame_too_long_for_the_kernel_goes_through_the_cpu(there, gpu_plan, kernel, on_gpu):
    """The kernel refuses it (tests/pvlr_sdk/kernels), and with it the frames of its batch."""
    tagger = Tagger(gpu_plan)
    frame = np.random.default_rng(7).integers(0, 256, (3, LONGEST_SIDE + 1, 3), np.uint8)
    launches = len(kernel[0].seen)
    result = tagger.predict(on_gpu(frame) if there else frame)
    assert len(kernel[0].seen) == launches
    assert result.frame_size == (3, LONGEST_SIDE + 1)
    tagger.predict(frame[:, :-1])
    assert len(kernel[0].seen) == launches + 1


def test_a_larger_frame_for_which_there_is_no_memory(gpu_plan, kernel, gpu):
    """The buffer that was too small for it is not used, or freed, again."""
    tagger = Tagger(gpu_plan)
    small, large = np.zeros((20, 30, 3), np.uint8), np.zeros((200, 300, 3), np.uint8)
    expected = tagger.predict(small).logits
    gpu.fail["malloc"] = 2
    for _ in range(3):  # each execution context has a buffer
        with pytest.raises(errors.DeviceMemoryError):
            tagger.predict(large)
    gpu.fail.clear()
    for frame in (small, large, small):
        logits = tagger.predict(frame).logits
    np.testing.assert_array_equal(logits, expected)
    del tagger
    gc.collect()
    assert not gpu.allocated


def test_a_kernel_that_fails(gpu_plan, kernel, monkeypatch, frame):
    tagger = Tagger(gpu_plan)

    def fail(*_: Any) -> None:
        raise errors.OptionError("frames[0]", expected="an image", got="none", hint="None.")

    monkeypatch.setattr(kernel[0], "preprocess", fail)
    with pytest.raises(errors.OptionError):
        tagger.predict(frame)
    monkeypatch.undo()


def test_memory_of_another_library_that_is_gone(gpu_plan, kernel, on_gpu, gpu, frame):
    tagger = Tagger(gpu_plan)
    there = on_gpu(frame)
    with gpu.current():
        gpu.free(there.pointer)
    with pytest.raises(errors.DeviceLostError, match="700"):
        tagger.predict(there)


@pytest.mark.parametrize("optimize", ["latency", "throughput"])
@pytest.mark.parametrize("color", ["bgr", "nv12"])
def test_tiles_share_batches(optimize, color, gpu_plan, kernel, gpu, on_gpu):
    tagger = Tagger(gpu_plan, optimize=optimize)
    frame = np.random.default_rng(8).integers(
        0, 256, (60, 64, 3) if color == "bgr" else (60, 64), np.uint8
    )
    launches = gpu.graph_launches
    result = tagger.predict(frame, color=color, tiles=(3, 2))
    if optimize == "throughput":
        assert gpu.graph_launches - launches < 7  # batches of four while the GPU is busy
    for region, part in result.tiles:
        left, top, width, height = region
        cut = frame[top : top + height, left : left + width]
        if color == "nv12":
            rows = slice(40 + top // 2, 40 + (top + height) // 2)
            cut = np.concatenate([cut, frame[rows, left : left + width]])
        np.testing.assert_array_equal(part.logits, tagger.predict(cut, color=color).logits)
    if color == "bgr":
        there = tagger.predict(on_gpu(frame), tiles=(3, 2))
        np.testing.assert_array_equal(there.logits, result.logits)
        assert kernel[0].seen[-1][0] > kernel[0].seen[-7][0]  # addresses in the frame's own memory
