"""Preprocessing on the GPU, where our core has the kernel for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ... import kernels

if TYPE_CHECKING:
    from ...device_frames import DeviceArray
    from ...manifest import InputSpec

_PACKED = {"bgr": 3, "rgb": 3, "bgra": 4, "rgba": 4}


@dataclass(frozen=True)
class PixelSource:
    """A raw frame for the kernel.

    ``pointer`` is its device address, 0 for one that is still on the CPU; ``shape`` and ``strides`` (bytes) are those
    of the uint8 array; ``order`` is one of ``pvlr_sdk.preprocess.ORDERS``; ``owner`` keeps memory on the GPU alive.
    """

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    order: str
    owner: Any


class DevicePixels(Protocol):
    """The pixel contract on the GPU."""

    def takes(self, array: DeviceArray, order: str) -> bool:
        """Whether the kernel reads an array with these strides as it is."""

    def preprocess(self, frame: PixelSource, pointer: int, target: int, stream: int) -> None:
        """Enqueue the preprocessing of one frame; may be called from several threads.

        Args:
            frame: what lies at ``pointer``, and how.
            pointer: the device address of its bytes.
            target: the device address of the float32 (3, height, width) result.
            stream: the CUDA stream to run in.
        """


class KernelPixels:
    """:func:`pvlr_sdk.kernels.preprocess` on addresses."""

    def __init__(self, spec: InputSpec) -> None:
        self._spec = spec

    def takes(self, array: DeviceArray, order: str) -> bool:
        if order.startswith("i420"):
            return array.contiguous
        channels = _PACKED.get(order)
        return array.strides[1:] == ((1,) if channels is None else (channels, 1))

    def preprocess(self, frame: PixelSource, pointer: int, target: int, stream: int) -> None:
        shape = (1, 3, self._spec.height, self._spec.width)
        kernels.preprocess(
            [_View(pointer, frame.shape, frame.strides, "|u1")],
            self._spec,
            order=frame.order,
            out=_View(target, shape, None, "<f4"),
            stream=stream,
        )


def open_pixels(spec: InputSpec) -> DevicePixels | None:
    """The kernel for an input spec; None: the core was built without CUDA, so the CPU preprocesses."""
    return KernelPixels(spec) if kernels.has_cuda() else None


class _View:
    """An address with a shape, as other libraries show theirs; nothing has to be waited for."""

    def __init__(self, pointer: int, shape: tuple[int, ...], strides: tuple[int, ...] | None, typestr: str) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape,
            "strides": strides,
            "typestr": typestr,
            "data": (pointer, False),
            "stream": None,
            "version": 3,
        }
