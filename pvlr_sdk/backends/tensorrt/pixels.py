"""Preprocessing on the GPU, if the compiled core has CUDA kernels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ... import kernels

if TYPE_CHECKING:
    from ...bundle.manifest import InputSpec
    from ...frames.device import DeviceArray
    from ...frames.frames import Order

_PACKED = {"bgr": 3, "rgb": 3, "bgra": 4, "rgba": 4}
LONGEST_SIDE = 16384
"""Pixels: the kernel's limit, see :func:`pvlr_sdk.kernels.preprocess`."""


@dataclass(frozen=True)
class PixelSource:
    """A raw frame for the kernel.

    ``pointer`` is its device address, 0 for a frame that is still on the CPU; ``shape`` and ``strides`` (in bytes) are
    those of the uint8 array; ``order`` is one of :data:`pvlr_sdk.frames.preprocess.ORDERS`; ``owner`` keeps GPU memory
    alive.
    """

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    order: Order
    owner: Any


class DevicePixels:
    """The pixel contract on the GPU: :func:`pvlr_sdk.kernels.preprocess` on addresses."""

    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec

    def takes(self, array: DeviceArray, order: str) -> bool:
        """Whether the kernel reads an array with these strides without a copy."""
        if order.startswith("i420"):
            return array.contiguous
        channels = _PACKED.get(order)
        return array.strides[1:] == ((1,) if channels is None else (channels, 1))

    def preprocess(self, frame: PixelSource, pointer: int, target: int, stream: int) -> None:
        """Enqueue the preprocessing of a frame at ``pointer`` into the float32 (3, height, width) at ``target``.

        Both are device addresses. Safe to call from several threads.
        """
        shape = (1, 3, self._spec.height, self._spec.width)
        kernels.preprocess(
            [_View(pointer, frame.shape, frame.strides, "|u1")],
            self._spec,
            order=frame.order,
            out=_View(target, shape, None, "<f4"),
            stream=stream,
        )


def open_pixels(spec: InputSpec) -> DevicePixels | None:
    """The kernel for an input spec; None if the core was built without CUDA: then the CPU preprocesses."""
    return DevicePixels(spec) if kernels.has_cuda() else None


class _View:
    """Device memory as an array for other libraries, without a stream to wait for."""

    def __init__(self, pointer: int, shape: tuple[int, ...], strides: tuple[int, ...] | None, typestr: str) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape,
            "strides": strides,
            "typestr": typestr,
            "data": (pointer, False),
            "stream": None,
            "version": 3,
        }
