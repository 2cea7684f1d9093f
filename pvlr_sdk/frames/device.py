"""Frames in GPU memory, imported without a copy through DLPack or ``__cuda_array_interface__``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import errors
from .._util.core import _core, missing_core
from . import frames, yuv

_CUDA = 2
_CUDA_MANAGED = 13
"""DLPack's kDLCUDA and kDLCUDAManaged."""
_LEGACY_STREAM = 1
"""CUDA's default stream, as DLPack and the array interface number it."""


@dataclass(frozen=True)
class DeviceArray:
    """A uint8 array on the GPU, with the NumPy attributes that :mod:`pvlr_sdk.frames.frames` checks.

    ``strides`` are in bytes. ``ready`` is the stream to wait for before reading; None: no need to wait.
    ``owner`` keeps the memory alive.
    """

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    ready: int | None
    owner: Any

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def contiguous(self) -> bool:
        """Whether the array is C-contiguous."""
        return np.lib.stride_tricks.as_strided(
            np.empty(1, np.uint8), self.shape, self.strides
        ).flags.c_contiguous


@dataclass(frozen=True)
class DeviceFrame:
    """The counterpart of :class:`pvlr_sdk.frames.frames.Frame` on a GPU."""

    pixels: DeviceArray
    order: frames.Order
    size: tuple[int, int]
    crop: frames.Region | None = None
    chroma: tuple[DeviceArray, ...] = ()

    @property
    def planes(self) -> tuple[DeviceArray, ...]:
        """All arrays."""
        return self.pixels, *self.chroma

    def cut(self, region: frames.Region) -> DeviceFrame:
        """See :meth:`pvlr_sdk.frames.frames.Frame.cut`."""
        left, top, width, height = region
        cut = replace(self, size=(height, width))
        if yuv.is_yuv(self.order):
            return replace(cut, crop=region)
        whole = self.pixels
        pointer = whole.pointer + top * whole.strides[0] + left * whole.strides[1]
        return replace(
            cut, pixels=replace(whole, pointer=pointer, shape=(height, width, *whole.shape[2:]))
        )


def on_gpu(frame: Any) -> bool:
    """Whether a frame is an array on a GPU, or has a plane there."""
    if isinstance(frame, tuple):
        return any(on_gpu(plane) for plane in frame)
    if isinstance(frame, (np.ndarray, str, bytes)):
        return False
    try:
        if hasattr(frame, "__dlpack_device__"):
            return int(frame.__dlpack_device__()[0]) in (_CUDA, _CUDA_MANAGED)
        return hasattr(frame, "__cuda_array_interface__")
    except (
        Exception
    ):  # a property may raise what it likes, and PyTorch does for devices that DLPack lacks
        return False


def load(frame: Any, color: frames.Color = "bgr") -> DeviceFrame:
    """Check a frame on a GPU; nothing is copied.

    Args:
        frame: anything with DLPack on a CUDA device or ``__cuda_array_interface__`` (of torch, cupy, numba, pycuda):
            uint8, (H, W, 3), (H, W, 4), (H, W) or, with ``color="nv12"``, (H * 3 / 2, W); or a tuple of planes.
        color: as for :func:`pvlr_sdk.frames.frames.load_frame`.

    Raises:
        OptionError: ``color`` is unknown.
        FrameTypeError, FrameDtypeError, FrameShapeError, EmptyFrameError: the array is invalid.
    """
    frames.check_color(color)
    if _core is None:
        raise missing_core()
    planes = frame if isinstance(frame, tuple) else (frame,)
    if not all(map(on_gpu, planes)):
        raise errors.FrameTypeError(
            "frame", "all planes on a GPU", "only some", "Copy the planes to one place."
        )
    arrays = [_view(plane) for plane in planes]
    # Zero-stride stand-ins of the same shapes pass through the checks of CPU arrays.
    twins = tuple(
        np.lib.stride_tricks.as_strided(np.empty(1, np.uint8), a.shape, (0,) * a.ndim)
        for a in arrays
    )
    seen = frames.load_frame(twins if isinstance(frame, tuple) else twins[0], color)
    first, *chroma = arrays
    if seen.pixels.ndim < first.ndim:  # (H, W, 1) is grey
        first = replace(first, shape=first.shape[:2], strides=first.strides[:2])
    return DeviceFrame(first, seen.order, seen.size, chroma=tuple(chroma))


def _view(frame: Any) -> DeviceArray:
    """An array on a GPU. The producer makes the default stream wait for its work; readers wait for that."""
    protocol = "DLPack" if hasattr(frame, "__dlpack__") else "__cuda_array_interface__"
    ready: int | None = _LEGACY_STREAM
    try:
        if protocol == "DLPack":
            tensor = _core.Tensor.from_dlpack(frame.__dlpack__(stream=_LEGACY_STREAM))
        else:
            interface = frame.__cuda_array_interface__
            _check_dtype(np.dtype(interface["typestr"]))
            tensor = _core.Tensor.from_cuda_array_interface(interface, frame)
            ready = interface.get("stream", _LEGACY_STREAM)
    except errors.FrameError:
        raise
    except (BufferError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise errors.FrameTypeError(
            "frame",
            f"an array on a GPU that can be shared through {protocol}",
            f"{type(error).__name__}: {error}",
            "Copy it to the CPU, or make it contiguous and detach it first.",
        ) from error
    if tensor.on_cuda and tensor.device != "cuda:0":
        raise errors.FrameTypeError(
            "frame",
            "an array on GPU 0, where plans run",
            f"one on GPU {tensor.device.removeprefix('cuda:')}",
            "Copy it to the CPU or to GPU 0, which CUDA_VISIBLE_DEVICES selects.",
        )
    _check_dtype(tensor.type)
    return DeviceArray(tensor.pointer, tensor.shape, tensor.strides, ready, tensor)


def _check_dtype(dtype: object) -> None:
    if dtype != "uint8":
        raise errors.FrameDtypeError(
            "frame", "dtype uint8", f"dtype {dtype}", "Convert it to 8-bit values (0..255) first."
        )
