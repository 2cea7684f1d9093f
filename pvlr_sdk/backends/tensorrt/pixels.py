"""Preprocessing on the GPU, if the compiled core has CUDA kernels."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from ... import kernels
from ...kernels.preprocess import Entry, launch, prepare

if TYPE_CHECKING:
    from ...bundle.manifest import InputSpec
    from ...frames.device import DeviceArray
    from ...frames.frames import Order, Region

_PACKED = {"bgr": 3, "rgb": 3, "bgra": 4, "rgba": 4}
LONGEST_SIDE = 16384
"""Pixels: the kernel's limit, see :func:`pvlr_sdk.kernels.preprocess`."""


class DevicePixels:
    """The pixel contract on the GPU: :func:`pvlr_sdk.kernels.preprocess` on addresses."""

    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec

    def takes(self, planes: Sequence[DeviceArray], order: str) -> bool:
        """Whether the kernel reads arrays with these strides without a copy."""
        if order.startswith("i420") and len(planes) == 1:
            return planes[0].contiguous
        inner = (_PACKED[order], 1) if order in _PACKED else (1,)
        return all(
            plane.strides[1:] == inner and abs(plane.strides[0]) >= prod(plane.shape[1:])
            for plane in planes
        )

    def prepare(
        self, planes: Sequence[DeviceArray], order: Order, crop: Region | None = None
    ) -> Entry:
        """A frame, or a part of it, checked for :meth:`preprocess`.

        Raises:
            OptionError: the kernel refuses it.
        """
        views = [_View(plane.pointer, plane.shape, plane.strides, "|u1") for plane in planes]
        return prepare(views if len(views) > 1 else views[0], self._spec, order, crop)

    def preprocess(self, frames: Sequence[Entry], target: int, stream: int) -> None:
        """Enqueue the preprocessing of frames into the float32 (n, 3, height, width) at device address ``target``."""
        shape = (len(frames), 3, self._spec.height, self._spec.width)
        launch(frames, self._spec, _View(target, shape, None, "<f4"), stream)


def open_pixels(spec: InputSpec) -> DevicePixels | None:
    """The kernel for an input spec; None if the core was built without CUDA: then the CPU preprocesses."""
    return DevicePixels(spec) if kernels.has_cuda() else None


class _View:
    """Device memory as an array for other libraries, without a stream to wait for."""

    def __init__(
        self, pointer: int, shape: tuple[int, ...], strides: tuple[int, ...] | None, typestr: str
    ) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape,
            "strides": strides,
            "typestr": typestr,
            "data": (pointer, False),
            "stream": None,
            "version": 3,
        }
