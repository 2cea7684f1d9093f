"""Frames that are on a GPU already, taken over without a copy through DLPack or ``__cuda_array_interface__``."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import errors, frames

_CUDA, _CUDA_MANAGED = 2, 13
"""DLPack's kDLCUDA and kDLCUDAManaged."""
_LEGACY_STREAM = 1
"""CUDA's default stream, as DLPack and the array interface number it."""
_KINDS = {0: "int", 1: "uint", 2: "float"}


@dataclass(frozen=True)
class DeviceArray:
    """A uint8 array on the GPU: enough of NumPy's attributes for the checks of :mod:`pvlr_sdk.frames`.

    ``strides`` are in bytes. ``ready`` is the stream after which the pixels are there; None: they are there already.
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
        """Whether the bytes lie one after the other in C order."""
        return self.strides == _c_strides(self.shape, self.dtype.itemsize)


@dataclass(frozen=True)
class DeviceFrame:
    """What :class:`pvlr_sdk.frames.Frame` is, on a GPU."""

    pixels: DeviceArray
    order: str
    size: tuple[int, int]


def on_gpu(frame: Any) -> bool:
    """Whether a frame is an array on a GPU."""
    if isinstance(frame, (np.ndarray, str, bytes)):
        return False
    if hasattr(frame, "__dlpack_device__"):
        return int(frame.__dlpack_device__()[0]) in (_CUDA, _CUDA_MANAGED)
    try:
        return hasattr(frame, "__cuda_array_interface__")
    except Exception:  # a property may raise what it likes
        return False


def load(frame: Any, color: str = "bgr") -> DeviceFrame:
    """Check a frame on a GPU; nothing is copied.

    Args:
        frame: anything with DLPack on a CUDA device or ``__cuda_array_interface__`` (of torch, cupy, numba, pycuda):
            uint8, (H, W, 3), (H, W, 4), (H, W) or, with ``color="nv12"``, (H * 3 / 2, W).
        color: as for :func:`pvlr_sdk.frames.load_frame`.

    Raises:
        OptionError: ``color`` is unknown.
        FrameTypeError, FrameDtypeError, FrameShapeError, EmptyFrameError: the array is unfit.
    """
    frames.check_color(color)
    array = _from_dlpack(frame) if hasattr(frame, "__dlpack__") else _from_interface(frame)
    if array.dtype != np.uint8:
        raise errors.FrameDtypeError(
            "frame",
            expected="dtype uint8",
            got=f"dtype {array.dtype}",
            hint="Convert it to 8-bit values (0..255) first.",
        )
    # A twin without memory goes through the very checks that arrays on the CPU go through.
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
        # Without the key nobody said what to wait for: the default stream is where most work is done.
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
        # The producer lets the default stream wait for its own work; whoever reads waits for the default stream.
        capsule = frame.__dlpack__(stream=_LEGACY_STREAM)
        tensor = _Tensor.from_address(_pointer_of(capsule, b"dltensor"))
        if tensor.device_id != 0:
            raise errors.FrameTypeError(
                "frame",
                expected="an array on GPU 0, where plans run",
                got=f"one on GPU {tensor.device_id}",
                hint="Copy it to the CPU or to GPU 0; CUDA_VISIBLE_DEVICES says which one that is.",
            )
        shape = tuple(tensor.shape[axis] for axis in range(tensor.ndim))
        dtype = np.dtype(f"{_KINDS[tensor.code]}{tensor.bits}")
        if tensor.strides:
            strides = tuple(tensor.strides[axis] * dtype.itemsize for axis in range(tensor.ndim))
        else:
            strides = _c_strides(shape, dtype.itemsize)
        # The capsule was not taken over: dropping it gives the tensor back to its producer.
        return DeviceArray((tensor.data or 0) + tensor.byte_offset, shape, strides, dtype, _LEGACY_STREAM, capsule)
    except errors.FrameTypeError:
        raise
    except (KeyError, TypeError, ValueError, BufferError, RuntimeError) as error:
        raise _unreadable("DLPack", error) from error


def _c_strides(shape: tuple[int, ...], itemsize: int) -> tuple[int, ...]:
    strides = [itemsize]
    for side in reversed(shape[1:]):
        strides.insert(0, strides[0] * side)
    return tuple(strides[: len(shape)])


def _unreadable(protocol: str, error: Exception) -> errors.FrameTypeError:
    return errors.FrameTypeError(
        "frame",
        expected=f"an array on a GPU that can be shared through {protocol}",
        got=f"{type(error).__name__}: {error}",
        hint="Copy it to the CPU, or make it contiguous and detach it first.",
    )
