"""Frames on the GPU."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors


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


class DLTensor(ctypes.Structure):
    """The head of DLPack's DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
    )


def tensor_in(capsule: Any) -> DLTensor:
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)
    return DLTensor.from_address(pointer_of(capsule, b"dltensor"))


class ThroughDlpack:
    """A frame on the fake GPU with DLPack; NumPy makes the capsule."""

    def __init__(self, there: Any, gpu: Any) -> None:
        self.streams: list[Any] = []
        memory = np.frombuffer(gpu.allocated[there.pointer], np.uint8)
        self._array = np.lib.stride_tricks.as_strided(
            memory, there.array.shape, there.array.strides
        )

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
    # its producer makes the default stream wait, and the backend waits for that
    assert frame.streams == [1]


@pytest.mark.parametrize(
    ("fields", "error", "told"),
    [
        (
            {"device_type": 2, "device_id": 1},
            errors.FrameTypeError,
            r"GPU 0.* got one on GPU 1.*CUDA_VISIBLE_DEVICES",
        ),
        ({"code": 4, "bits": 16}, errors.FrameDtypeError, "got dtype bfloat16"),
    ],
    ids=["another GPU", "a type that NumPy lacks"],
)
def test_what_is_refused_before_anything_reads_it(gpu_plan, on_gpu, gpu, fields, error, told):
    class Changed(ThroughDlpack):
        def __dlpack__(self, *, stream: Any = None) -> Any:
            capsule = super().__dlpack__(stream=stream)
            for name, value in fields.items():
                setattr(tensor_in(capsule), name, value)
            return capsule

    frame = Changed(on_gpu(np.zeros((30, 40, 3), np.uint8)), gpu)
    with pytest.raises(error, match=told):
        Tagger(gpu_plan).predict(frame)


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


@pytest.mark.parametrize(
    ("array", "error"),
    [
        (np.zeros((4, 4, 3), np.float32), errors.FrameDtypeError),
        (np.zeros((3, 4, 5), np.uint8), errors.FrameShapeError),
        (np.zeros((0, 4, 3), np.uint8), errors.EmptyFrameError),
    ],
)
def test_frames_on_the_gpu_that_are_none(array, error, gpu_plan, on_gpu, gpu):
    interface = {
        "shape": array.shape,
        "typestr": array.dtype.str,
        "data": (1, False),
        "strides": None,
        "version": 3,
    }
    thing = type("Thing", (), {"__cuda_array_interface__": interface})()
    with pytest.raises(error):
        Tagger(gpu_plan).predict(thing)


def test_a_frame_on_the_gpu_for_a_plan_on_the_cpu(plan, on_gpu):
    with pytest.raises(errors.FrameTypeError, match="--device tensorrt"):
        Tagger(plan).predict(on_gpu(np.zeros((4, 4, 3), np.uint8)))
