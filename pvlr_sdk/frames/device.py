"""Frames in GPU memory, imported without a copy through DLPack or ``__cuda_array_interface__``."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import errors
from . import frames

_CUDA, _CUDA_MANAGED = 2, 13
"""DLPack's kDLCUDA and kDLCUDAManaged."""
_LEGACY_STREAM = 1
"""CUDA's default stream, as DLPack and the array interface number it."""
_KINDS = {0: "int", 1: "uint", 2: "float", 4: "bfloat", 5: "complex", 6: "bool"}
"""DLPack's DLDataTypeCode."""


@dataclass(frozen=True)
class DeviceArray:
    """A uint8 array on the GPU, with the NumPy attributes that :mod:`pvlr_sdk.frames.frames` checks.

    ``strides`` are in bytes. ``ready`` is the stream to wait for before reading; None: no need to wait.
    ``owner`` keeps the memory alive.
    """

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: np.dtype[Any]
    ready: int | None
    owner: Any

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def contiguous(self) -> bool:
        """Whether the array is C-contiguous."""
        return self.strides == _c_strides(self.shape, self.dtype.itemsize)


@dataclass(frozen=True)
class DeviceFrame:
    """The counterpart of :class:`pvlr_sdk.frames.frames.Frame` on a GPU."""

    pixels: DeviceArray
    order: str
    size: tuple[int, int]


def on_gpu(frame: Any) -> bool:
    """Whether a frame is an array on a GPU."""
    if isinstance(frame, (np.ndarray, str, bytes)):
        return False
    try:
        if hasattr(frame, "__dlpack_device__"):
            return int(frame.__dlpack_device__()[0]) in (_CUDA, _CUDA_MANAGED)
        return hasattr(frame, "__cuda_array_interface__")
    except Exception:  # a property may raise what it likes, and PyTorch does for devices that DLPack lacks
        return False


def load(frame: Any, color: str = "bgr") -> DeviceFrame:
    """Check a frame on a GPU; nothing is copied.

    Args:
        frame: anything with DLPack on a CUDA device or ``__cuda_array_interface__`` (of torch, cupy, numba, pycuda):
            uint8, (H, W, 3), (H, W, 4), (H, W) or, with ``color="nv12"``, (H * 3 / 2, W).
        color: as for :func:`pvlr_sdk.frames.frames.load_frame`.

    Raises:
        OptionError: ``color`` is unknown.
        FrameTypeError, FrameDtypeError, FrameShapeError, EmptyFrameError: the array is invalid.
    """
    frames.check_color(color)
    array = _from_dlpack(frame) if hasattr(frame, "__dlpack__") else _from_interface(frame)
    if array.dtype != np.uint8:
        raise _not_uint8(array.dtype)
    # A zero-stride stand-in of the same shape passes through the checks of CPU arrays.
    twin = np.lib.stride_tricks.as_strided(np.empty(1, np.uint8), array.shape, (0,) * array.ndim)
    seen = frames.load_frame(twin, color)
    if seen.pixels.ndim < array.ndim:  # (H, W, 1) is grey
        array = DeviceArray(array.pointer, array.shape[:2], array.strides[:2], array.dtype, array.ready, array.owner)
    return DeviceFrame(array, seen.order, seen.size)


def _from_interface(frame: Any) -> DeviceArray:
    try:
        facts = frame.__cuda_array_interface__
        shape = tuple(int(side) for side in facts["shape"])
        dtype = np.dtype(facts["typestr"])
        strides = facts.get("strides") or _c_strides(shape, dtype.itemsize)
        # Without the key, wait for the default stream, where most work is queued.
        ready = facts.get("stream", _LEGACY_STREAM)
        return DeviceArray(int(facts["data"][0] or 0), shape, tuple(strides), dtype, ready, frame)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise _unreadable("__cuda_array_interface__", error) from error


class _Tensor(ctypes.Structure):
    """DLPack's DLTensor."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    )


_pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
_pointer_of.restype, _pointer_of.argtypes = ctypes.c_void_p, (ctypes.py_object, ctypes.c_char_p)


def _from_dlpack(frame: Any) -> DeviceArray:
    try:
        # The producer makes the default stream wait for its work; readers wait for the default stream.
        capsule = frame.__dlpack__(stream=_LEGACY_STREAM)
        tensor = _Tensor.from_address(_pointer_of(capsule, b"dltensor"))
        if tensor.device_id != 0:
            raise errors.FrameTypeError(
                "frame",
                expected="an array on GPU 0, where plans run",
                got=f"one on GPU {tensor.device_id}",
                hint="Copy it to the CPU or to GPU 0, which CUDA_VISIBLE_DEVICES selects.",
            )
        shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
        kind = f"{_KINDS.get(tensor.code, 'other')}{tensor.bits}"
        if kind != "uint8":  # also what NumPy has no dtype for, such as bfloat16
            raise _not_uint8(kind)
        strides = tuple(tensor.strides[axis] for axis in range(tensor.ndim)) if tensor.strides else _c_strides(shape, 1)
        # The capsule is not consumed: dropping it returns the tensor to its producer.
        pointer = (tensor.data or 0) + tensor.byte_offset
        return DeviceArray(pointer, shape, strides, np.dtype(np.uint8), _LEGACY_STREAM, capsule)
    except errors.FrameError:
        raise
    except (TypeError, ValueError, BufferError, RuntimeError) as error:
        raise _unreadable("DLPack", error) from error


def _c_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    strides = [itemsize]
    for side in reversed(shape[1:]):
        strides.insert(0, strides[0] * side)
    return tuple(strides[: len(shape)])


def _not_uint8(dtype: object) -> errors.FrameDtypeError:
    hint = "Convert it to 8-bit values (0..255) first."
    return errors.FrameDtypeError("frame", expected="dtype uint8", got=f"dtype {dtype}", hint=hint)


def _unreadable(protocol: str, error: Exception) -> errors.FrameTypeError:
    return errors.FrameTypeError(
        "frame",
        expected=f"an array on a GPU that can be shared through {protocol}",
        got=f"{type(error).__name__}: {error}",
        hint="Copy it to the CPU, or make it contiguous and detach it first.",
    )
