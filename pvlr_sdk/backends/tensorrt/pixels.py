"""Preprocessing on the GPU, where our core has the kernel for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ...manifest import InputSpec
    from ...preprocess import Region


@dataclass(frozen=True)
class PixelSource:
    """A raw frame for the kernel.

    ``pointer`` is its device address, 0 for one that is still on the CPU; ``shape`` and ``strides`` (bytes) are those
    of the uint8 array; ``order`` is one of ``pvlr_sdk.preprocess.ORDERS``; ``region`` is where the picture goes in the
    network's input; ``owner`` keeps memory on the GPU alive.
    """

    pointer: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    order: str
    region: Region
    owner: Any


class DevicePixels(Protocol):
    """The pixel contract on the GPU."""

    def preprocess(self, frame: PixelSource, pointer: int, target: int, stream: int) -> None:
        """Enqueue the preprocessing of one frame; may be called from several threads.

        Args:
            frame: what lies at ``pointer``, and how.
            pointer: the device address of its bytes.
            target: the device address of the float32 (3, height, width) result.
            stream: the CUDA stream to run in.
        """


def open_pixels(spec: InputSpec) -> DevicePixels | None:
    """The kernel for an input spec; None: the core was built without CUDA, so the CPU preprocesses."""
    return None
