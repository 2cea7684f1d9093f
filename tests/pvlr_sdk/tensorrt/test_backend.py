"""The TensorRT backend on a fake: checks before loading, lanes, batches, graphs, threads, and every way to fail."""

from __future__ import annotations

import ctypes
import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, device_frames, errors
from pvlr_sdk.backends.tensorrt.cuda import CudaError
from pvlr_sdk.preprocess import Preprocessor


def _frames(count: int, seed: int = 0) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.integers(0, 256, (20 + n % 7, 30 + n % 5, 3), np.uint8) for n in range(count)]


def _expected(exported: Any, tagger: Tagger, frame: np.ndarray) -> np.ndarray:
    """The logits by the network's definition in float64."""
    return exported.weights.forward(tagger._inference.preprocess(frame, "bgr"))[0]


def test_tags_are_those_of_the_definition(gpu_plan, exported):
    with Tagger(gpu_plan) as tagger:
        assert tagger.info["backend"] == "tensorrt"
        assert tagger.info["cuda_graph"] == "in use"
        for frame in _frames(5):
            result = tagger.predict(frame)
            np.testing.assert_allclose(result.logits, _expected(exported, tagger, frame), atol=1e-4)


def test_the_graph_replaces_the_launches(gpu_plan, gpu):
    tagger = Tagger(gpu_plan)
    launches, graphs = gpu.kernel_launches, gpu.graph_launches
    tagger.predict(_frames(1)[0])
    assert (gpu.kernel_launches, gpu.graph_launches) == (launches, graphs + 1)


@pytest.mark.parametrize("how", ["begin_capture", "end_capture", "enqueue", "launch"])
def test_without_a_graph_it_runs_all_the_same(how, make_plan, exported, gpu, trt):
    if how == "enqueue":
        trt.world.capture_error = 900
    else:
        gpu.fail[how] = 900
    tagger = Tagger(make_plan())
    assert "900" in tagger.info["cuda_graph"]
    frame = _frames(1)[0]
    np.testing.assert_allclose(tagger.predict(frame).logits, _expected(exported, tagger, frame), atol=1e-4)


@pytest.mark.parametrize("optimize", ["latency", "throughput"])
def test_32_threads_on_one_tagger_get_what_one_gets(optimize, gpu_plan, gpu):
    tagger = Tagger(gpu_plan, optimize=optimize)
    frames = _frames(96)
    alone = [tagger.predict(frame).logits for frame in frames]
    with ThreadPoolExecutor(32) as pool:
        together = [result.logits for result in pool.map(tagger.predict, frames)]
    np.testing.assert_array_equal(together, alone)
    # Threads share the lanes: device memory does not grow with them.
    assert len(gpu.streams) == 3


def test_batches_form_while_the_gpu_is_busy(gpu_plan, gpu):
    tagger = Tagger(gpu_plan, optimize="throughput")
    assert tagger.info["batch"] == 4
    before = gpu.graph_launches
    pending = [tagger.submit(frame) for frame in _frames(12)]
    results = [job.result().logits for job in reversed(pending)]  # in any order
    # Two lanes take the first two frames at once; the other ten wait and share three batches.
    assert gpu.graph_launches - before == 5
    for result, frame in zip(reversed(results), _frames(12), strict=True):
        np.testing.assert_array_equal(result, tagger.predict(frame).logits)


def test_more_frames_under_way_than_lanes_by_one_thread(gpu_plan):
    tagger = Tagger(gpu_plan)
    pending = [tagger.submit(frame) for frame in _frames(9)]
    assert all(np.isfinite(job.result().logits).all() for job in pending)


def test_the_network_alone_is_timed_while_nothing_else_runs(gpu_plan, gpu):
    tagger = Tagger(gpu_plan)
    before = gpu.graph_launches
    assert tagger._backend.compute_times(5) == [1.5] * 5
    assert gpu.graph_launches == before + 5
    pending = tagger.submit(_frames(1)[0])
    with pytest.raises(errors.BackendError, match="under way"):
        tagger._backend.compute_times(1)
    pending.result()


def test_futures(gpu_plan):
    with Tagger(gpu_plan) as tagger:
        futures = [tagger.predict_async(frame) for frame in _frames(20)]
        for future, frame in zip(futures, _frames(20), strict=True):
            np.testing.assert_array_equal(future.result(20).logits, tagger.predict(frame).logits)


def test_nothing_is_left_on_the_gpu(gpu_plan, gpu):
    tagger = Tagger(gpu_plan)
    tagger.predict(_frames(1)[0])
    tagger.close()
    del tagger
    gc.collect()
    assert not gpu.allocated
    assert not gpu.streams
    assert not gpu.graphs


# -- plans that must not run ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": "10.13.0"}, "TensorRT: 10.13.0, got 10.3.0"),
        ({"version": "8.6.1"}, "TensorRT: 8.6.1, got 10.3.0"),
        ({"version": "11.0.0", "version_compatible": True}, "TensorRT: 11.0.0 or newer, got 10.3.0"),
        ({"capability": "8.9", "gpu": "L4"}, "GPU: L4, compute capability 8.9, got Fake Orin, compute capability 8.7"),
        ({"gpu": "Fake AGX"}, "GPU: Fake AGX, got Fake Orin"),
        ({"multiprocessors": 8}, "GPU: Fake Orin with 8 multiprocessors, got Fake Orin with 16 multiprocessors"),
        ({"machine": "sparc"}, "processor: sparc"),
        ({"plugins": "1", "attention": "fused"}, "plugin library: version 1, got none"),
    ],
)
def test_a_plan_for_something_else_never_reaches_tensorrt(change, words, make_plan, trt, monkeypatch):
    monkeypatch.setattr(trt.Runtime, "deserialize_cuda_engine", lambda *_: pytest.fail("TensorRT saw the plan"))
    with pytest.raises(errors.PlanMismatchError) as caught:
        Tagger(make_plan(**change))
    assert words in str(caught.value)
    assert "pvlr build model.onnx -o engine.plan --device tensorrt --batch 1:1:4" in str(caught.value)


def test_all_reasons_are_named_at_once(make_plan):
    with pytest.raises(errors.PlanMismatchError, match=r"TensorRT: 9\.9.*GPU: Fake Orin, compute capability 7\.2"):
        Tagger(make_plan(version="9.9", capability="7.2"))


@pytest.mark.parametrize(
    "change",
    [
        {"hardware": "ampere+", "capability": "8.9", "gpu": "L4"},
        {"hardware": "capability", "gpu": "Other Orin", "multiprocessors": 8},
        {"multiprocessors": 16},
    ],
)
def test_a_plan_for_more_gpus_runs_on_them(change, make_plan):
    assert Tagger(make_plan(**change)).info["device"] == "Fake Orin"


def test_a_version_compatible_plan_needs_the_older_lean_runtime(make_plan, monkeypatch):
    plan = make_plan(version="10.2.0", version_compatible=True)
    with pytest.raises(errors.PlanMismatchError, match="PVLR_LEAN_RUNTIME"):
        Tagger(plan)
    monkeypatch.setenv("PVLR_LEAN_RUNTIME", "/opt/other.so")
    with pytest.raises(errors.PlanMismatchError, match=r"other\.so does not load"):
        Tagger(plan)
    monkeypatch.setenv("PVLR_LEAN_RUNTIME", "/opt/libnvinfer_lean.so")
    tagger = Tagger(plan)
    assert tagger.info["version"] == "10.3.0"
    # The runtime that loaded the lean one lives as long, and not longer.
    parent = tagger._backend._session._engine._runtime.parent
    gc.collect()
    assert parent() is not None
    tagger.close()
    del tagger
    gc.collect()
    assert parent() is None


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda data: data[:-1], errors.FileSizeError),
        (lambda data: b"", errors.FileSizeError),
        (lambda data: data[:50] + bytes([data[50] ^ 4]) + data[51:], errors.FileHashError),
    ],
)
def test_a_damaged_plan_never_reaches_tensorrt(damage, error, gpu_plan, trt, monkeypatch):
    monkeypatch.setattr(trt.Runtime, "deserialize_cuda_engine", lambda *_: pytest.fail("TensorRT saw the plan"))
    gpu_plan.write_bytes(damage(gpu_plan.read_bytes()))
    with pytest.raises(error):
        Tagger(gpu_plan)


def test_a_foreign_plan_says_what_tensorrt_says(make_plan):
    with pytest.raises(errors.BackendError, match="kPLAN_MAGIC_TAG"):
        Tagger(make_plan(payload=b"some other file"))


def test_a_network_that_is_not_ours(make_plan, make_network, tmp_path):
    other = make_network(tmp_path / "other", output_name="probabilities")
    with pytest.raises(errors.ModelError, match="probabilities"):
        Tagger(make_plan(onnx=other.onnx.read_bytes()))
    wider = make_network(tmp_path / "wider", names=[f"label {n}" for n in range(9)])
    with pytest.raises(errors.ModelError, match=r"logits of shape \('batch', 5\)"):
        Tagger(make_plan(onnx=wider.onnx.read_bytes()))


def test_a_plan_that_computes_something_else(make_plan, make_network, tmp_path):
    other = make_network(tmp_path / "other", seed=7)
    with pytest.raises(errors.SelfTestError):
        Tagger(make_plan(onnx=other.onnx.read_bytes()))


def test_a_manifest_must_say_what_the_plan_was_built_for(gpu_plan):
    import json

    path = gpu_plan.with_suffix(".json")
    raw = json.loads(path.read_text())
    for change in ({"tensorrt": None}, {"tensorrt": raw["tensorrt"] | {"batch": [2, 1, 4]}}, {"backend": "openvino"}):
        path.write_text(json.dumps(raw | change))
        with pytest.raises(errors.ManifestError):
            Tagger(gpu_plan)


def test_options_that_do_not_fit(gpu_plan, plan):
    with pytest.raises(errors.OptionError, match="fp16"):
        Tagger(gpu_plan, precision="fp32")
    with pytest.raises(errors.BackendError, match="a plan for cpu"):
        Tagger(gpu_plan, device="cpu")
    with pytest.raises(errors.BackendError, match="a plan for tensorrt"):
        Tagger(plan, device="tensorrt")
    with pytest.raises(errors.OptionError, match="fp16 is for TensorRT"):
        Tagger(plan, precision="fp16")


# -- a machine without the parts --------------------------------------------------------------------------------------


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


# -- a GPU that fails -------------------------------------------------------------------------------------------------


def test_too_little_memory(make_plan, gpu, trt):
    plan = make_plan()
    gpu.fail["malloc"] = 2
    with pytest.raises(errors.DeviceMemoryError, match="--batch"):
        Tagger(plan)
    del gpu.fail["malloc"]
    trt.world.contexts = 0
    with pytest.raises(errors.DeviceMemoryError, match="OutOfMemory"):
        Tagger(plan)


def test_memory_for_one_lane_is_enough(make_plan, exported, trt):
    trt.world.contexts = 1
    tagger = Tagger(make_plan())
    assert tagger.info["parallel"] == 1
    frame = _frames(1)[0]
    np.testing.assert_allclose(tagger.predict(frame).logits, _expected(exported, tagger, frame), atol=1e-4)


@pytest.mark.parametrize("fits", range(8))
def test_a_load_that_fails_leaves_nothing_on_the_gpu(fits, make_plan, gpu, monkeypatch):
    """Memory for so many buffers and no more: none, some of the first lane's, or some of the second's."""
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
        "Error Code 6: API Usage Error (Target GPU SM 61 is not supported by this TensorRT release.)"
    )
    with pytest.raises(
        errors.BackendError, match=r"TensorRT 10\.3\.0 works with, got .*SM 61 is not supported.*doctor"
    ):
        Tagger(plan)


@pytest.mark.parametrize("code", [3, 209, 218, 400, 500, 701, 720, 801, 912])
def test_an_error_that_leaves_the_context_whole_resets_nothing(code, gpu_plan, gpu):
    """Another library's memory is in that context too."""
    tagger = Tagger(gpu_plan)
    gpu.fail["record"] = code
    with pytest.raises(errors.BackendError, match=str(code)) as caught:
        tagger.predict(_frames(1)[0])
    assert not isinstance(caught.value, errors.DeviceLostError)
    gpu.fail.clear()
    tagger.predict(_frames(1)[0])
    assert gpu.resets == 0


def test_a_plan_that_fails_for_days_remembers_the_newest_messages(gpu_plan, gpu, trt):
    gpu.fail["begin_capture"] = 900
    tagger = Tagger(gpu_plan)
    trt.world.enqueue_error = "Error Code 3"
    for number in range(300):
        trt.world.enqueue_error = f"Error Code {number}"
        with pytest.raises(errors.BackendError, match=f"got Error Code {number}\\."):
            tagger.predict(_frames(1)[0])
    assert len(tagger._backend._session._engine.messages.lines) == 200


def test_an_inference_that_tensorrt_refuses(gpu_plan, gpu, trt):
    gpu.fail["begin_capture"] = 900  # without a graph, so that TensorRT is asked each time
    tagger = Tagger(gpu_plan)
    trt.world.enqueue_error = "Error Code 3: API Usage Error"
    with pytest.raises(errors.BackendError, match="API Usage Error"):
        tagger.predict(_frames(1)[0])
    trt.world.enqueue_error = None
    tagger.predict(_frames(1)[0])  # the next one is fine


def test_a_lost_context_is_one_typed_error_and_then_a_fresh_start(gpu_plan, exported, gpu):
    tagger = Tagger(gpu_plan)
    frame = _frames(1)[0]
    gpu.fail["wait"] = 700
    with pytest.raises(errors.DeviceLostError, match="700"):
        tagger.predict(frame)
    gpu.fail.clear()
    np.testing.assert_allclose(tagger.predict(frame).logits, _expected(exported, tagger, frame), atol=1e-4)
    assert gpu.resets == 1


def test_a_lost_context_ends_every_thread_s_call(gpu_plan, gpu):
    tagger = Tagger(gpu_plan)
    pending = [tagger.submit(frame) for frame in _frames(5)]
    gpu.broken = 719
    for job in pending:
        with pytest.raises(errors.DeviceLostError):
            job.result()
    tagger.predict(_frames(1)[0])
    assert gpu.resets == 1


def test_no_fresh_start_while_somebody_writes_into_the_old_memory(gpu_plan, gpu):
    tagger = Tagger(gpu_plan)
    slot = tagger._backend.acquire()
    gpu.broken = 700
    with pytest.raises(errors.DeviceLostError):
        tagger.predict(_frames(1)[0])
    with pytest.raises(errors.DeviceLostError):
        tagger.predict(_frames(1)[0])
    assert gpu.resets == 0
    with pytest.raises(errors.DeviceLostError):
        slot.start()
    tagger.predict(_frames(1)[0])
    assert gpu.resets == 1


def test_a_gpu_that_stays_broken(gpu_plan, gpu):
    tagger = Tagger(gpu_plan)
    gpu.broken = 700
    gpu.fail["reset"] = 46
    for _ in range(2):
        with pytest.raises(errors.DeviceLostError):
            tagger.predict(_frames(1)[0])


# -- frames on the GPU ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("color", ["bgr", "rgb", "nv12"])
def test_a_frame_on_the_gpu_is_tagged_like_its_copy(color, gpu_plan, on_gpu):
    tagger = Tagger(gpu_plan)
    shape = (36, 40) if color == "nv12" else (24, 40, 3)
    frame = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    there = tagger.predict(on_gpu(frame), color=color)
    np.testing.assert_array_equal(there.logits, tagger.predict(frame, color=color).logits)


def test_a_cropped_frame_on_the_gpu(gpu_plan, on_gpu):
    tagger = Tagger(gpu_plan)
    crop = np.random.default_rng(2).integers(0, 256, (50, 64, 4), np.uint8)[5:40, 8:50, :3]
    np.testing.assert_array_equal(tagger.predict(on_gpu(crop)).logits, tagger.predict(crop).logits)


class ThroughDlpack:
    """A frame on the fake GPU that shows itself through DLPack; NumPy makes the capsule."""

    def __init__(self, there: Any, gpu: Any) -> None:
        self.streams: list[Any] = []
        memory = np.frombuffer(gpu.allocated[there.pointer], np.uint8)
        self._array = np.lib.stride_tricks.as_strided(memory, there.array.shape, there.array.strides)

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __dlpack__(self, *, stream: Any = None) -> Any:
        self.streams.append(stream)
        return self._array.__dlpack__()


def test_a_frame_through_dlpack(gpu_plan, on_gpu, gpu):
    tagger = Tagger(gpu_plan)
    whole = np.random.default_rng(3).integers(0, 256, (40, 52, 3), np.uint8)
    frame = ThroughDlpack(on_gpu(whole), gpu)
    np.testing.assert_array_equal(tagger.predict(frame).logits, tagger.predict(whole).logits)
    assert frame.streams == [1]  # its producer makes the default stream wait, which we wait for


def test_a_frame_on_another_gpu_is_refused_before_anything_reads_it(gpu_plan, on_gpu, gpu):
    class Elsewhere(ThroughDlpack):
        def __dlpack__(self, *, stream: Any = None) -> Any:
            capsule = super().__dlpack__(stream=stream)
            device_frames._Tensor.from_address(device_frames._pointer_of(capsule, b"dltensor")).device_id = 1
            return capsule

    tagger = Tagger(gpu_plan)
    frame = Elsewhere(on_gpu(np.zeros((30, 40, 3), np.uint8)), gpu)
    with pytest.raises(errors.FrameTypeError, match=r"GPU 0.* got one on GPU 1.*CUDA_VISIBLE_DEVICES"):
        tagger.predict(frame)


def test_a_frame_that_its_producer_still_works_on_is_waited_for(gpu_plan, on_gpu, gpu):
    tagger = Tagger(gpu_plan)
    pixels = np.random.default_rng(4).integers(0, 256, (30, 40, 3), np.uint8)
    there = on_gpu(np.zeros_like(pixels))
    with gpu.current():
        stream = gpu.stream()
    gpu.enqueue(stream, lambda: ctypes.memmove(there.pointer, pixels.ctypes.data, pixels.nbytes))
    interface = there.__cuda_array_interface__ | {"stream": stream}
    frame = type("Unfinished", (), {"__cuda_array_interface__": interface})()
    np.testing.assert_array_equal(tagger.predict(frame).logits, tagger.predict(pixels).logits)


class FakeKernel:
    """The preprocessing kernel on the fake GPU: the CPU's, on device memory, when the stream gets there."""

    def __init__(self, spec: Any, gpu: Any) -> None:
        self._preprocess, self._gpu, self.seen = Preprocessor(spec), gpu, []

    def takes(self, array: Any, order: str) -> bool:
        return array.strides[1:] == ((1,) if array.ndim == 2 else (array.shape[2], 1))

    def preprocess(self, frame: Any, pointer: int, target: int, stream: int) -> None:
        self.seen.append((pointer, frame.order))

        def run() -> None:
            extent = 1 + sum((side - 1) * stride for side, stride in zip(frame.shape, frame.strides, strict=True))
            data = np.ctypeslib.as_array((ctypes.c_uint8 * extent).from_address(self._gpu.at(pointer, extent)))
            pixels = np.lib.stride_tricks.as_strided(data, frame.shape, frame.strides)
            image = self._preprocess(pixels, frame.order)
            ctypes.memmove(self._gpu.at(target, image.nbytes), image.ctypes.data, image.nbytes)

        self._gpu.enqueue(stream, run)


@pytest.fixture
def kernel(gpu: Any, monkeypatch: pytest.MonkeyPatch) -> list[FakeKernel]:
    """A core with CUDA; what was opened of it."""
    opened: list[FakeKernel] = []

    def open_pixels(spec: Any) -> FakeKernel:
        opened.append(FakeKernel(spec, gpu))
        return opened[-1]

    monkeypatch.setattr("pvlr_sdk.backends.tensorrt.open_pixels", open_pixels)
    return opened


@pytest.mark.parametrize("optimize", ["latency", "throughput"])
def test_preprocessing_on_the_gpu(optimize, gpu_plan, kernel, exported):
    tagger = Tagger(gpu_plan, optimize=optimize)
    assert tagger.info["preprocessing"] == "GPU"
    sizes = [(20, 30), (300, 200), (7, 9), (300, 200), (400, 500)]  # staging and device buffers grow
    frames = [np.random.default_rng(n).integers(0, 256, (*size, 3), np.uint8) for n, size in enumerate(sizes)]
    for result, frame in zip(tagger.predict_batch(frames[:1] + frames), frames[:1] + frames, strict=True):
        np.testing.assert_allclose(result.logits, _expected(exported, tagger, frame), atol=1e-4)
    flipped = frames[1][::-1, ::2]  # staged contiguously, whatever it is
    np.testing.assert_allclose(tagger.predict(flipped).logits, _expected(exported, tagger, flipped), atol=1e-4)
    assert len(kernel[0].seen) == 8  # the golden frame's too


def test_a_frame_on_the_gpu_is_not_copied(gpu_plan, kernel, on_gpu):
    tagger = Tagger(gpu_plan)
    frame = on_gpu(np.random.default_rng(5).integers(0, 256, (50, 64, 3), np.uint8)[4:40, 8:50])  # pitched
    result = tagger.predict(frame)
    assert kernel[0].seen[-1] == (frame.pointer, "bgr")
    np.testing.assert_array_equal(result.logits, tagger.predict(frame.array).logits)


def test_a_layout_that_the_kernel_lacks_goes_through_the_cpu(gpu_plan, kernel, on_gpu):
    tagger = Tagger(gpu_plan)
    frame = on_gpu(np.random.default_rng(6).integers(0, 256, (50, 64, 4), np.uint8)[:, :, :3])
    launches = len(kernel[0].seen)
    result = tagger.predict(frame)
    assert len(kernel[0].seen) == launches
    np.testing.assert_allclose(result.logits, tagger.predict(frame.array).logits, atol=1e-5)


def test_a_kernel_that_fails(gpu_plan, kernel, monkeypatch):
    tagger = Tagger(gpu_plan)

    def fail(*_: Any) -> None:
        raise errors.OptionError("frames[0]", expected="a picture", got="none", hint="None.")

    monkeypatch.setattr(kernel[0], "preprocess", fail)
    with pytest.raises(errors.OptionError):
        tagger.predict(_frames(1)[0])
    monkeypatch.undo()


def test_memory_of_another_library_that_is_gone(gpu_plan, kernel, on_gpu, gpu):
    tagger = Tagger(gpu_plan)
    frame = on_gpu(_frames(1)[0])
    with gpu.current():
        gpu.free(frame.pointer)
    with pytest.raises(errors.DeviceLostError, match="700"):
        tagger.predict(frame)
    assert np.isfinite(tagger.predict(_frames(1)[0]).logits).all()


@pytest.mark.parametrize(
    ("array", "error"),
    [
        (np.zeros((4, 4, 3), np.float32), errors.FrameDtypeError),
        (np.zeros((3, 4, 5), np.uint8), errors.FrameShapeError),
        (np.zeros((0, 4, 3), np.uint8), errors.EmptyFrameError),
    ],
)
def test_frames_on_the_gpu_that_are_none(array, error, gpu_plan, on_gpu, gpu):
    thing = type(
        "Thing",
        (),
        {
            "__cuda_array_interface__": {
                "shape": array.shape,
                "typestr": array.dtype.str,
                "data": (1, False),
                "strides": None,
                "version": 3,
            }
        },
    )()
    with pytest.raises(error):
        Tagger(gpu_plan).predict(thing)


def test_a_frame_on_the_gpu_for_a_plan_on_the_cpu(plan, on_gpu):
    with pytest.raises(errors.FrameTypeError, match="--device tensorrt"):
        Tagger(plan).predict(on_gpu(np.zeros((4, 4, 3), np.uint8)))
