"""The CUDA calls of the TensorRT backend, as an interface, and their errors."""

from __future__ import annotations

from dataclasses import dataclass

from ... import errors

OUT_OF_MEMORY = 2
_LOST = {4, 201, 214, 220, 226, 700, 702, 709, 710, *range(714, 720), 721, 810, 911, 999}
"""Errors that make the context unusable: those for which CUDA's header says so (illegal addresses and instructions,
time-outs, assertions, ...), ECC and NVLink errors, an unknown error, and a destroyed context. After all others it still
works."""


class CudaError(Exception):
    """A CUDA call failed. ``code`` is the driver's number (CUresult)."""

    def __init__(self, code: int, call: str, words: str = "") -> None:
        self.code = code
        super().__init__(f"{call} gave CUDA error {code}{f' ({words})' if words else ''}")

    @property
    def sticky(self) -> bool:
        """Whether the context is lost: every later call fails as well."""
        return self.code in _LOST


@dataclass(frozen=True)
class Gpu:
    """The GPU in use. ``capability`` is its compute capability, ``memory`` in bytes."""

    name: str
    capability: tuple[int, int]
    memory: int
    driver: str
    """The newest CUDA version that the driver supports, for example ``12.6``."""
    multiprocessors: int
    """Distinguishes GPUs of one name: every Jetson Orin's GPU is called ``Orin``."""


def as_typed(error: CudaError, source: str) -> errors.BackendError:
    """The SDK's error for a CudaError; ``source`` names the plan."""
    if error.code == OUT_OF_MEMORY:
        return errors.DeviceMemoryError(
            source,
            "enough free GPU memory",
            str(error),
            "Close other programs that use the GPU, or build the plan with a smaller --batch.",
        )
    if error.sticky:
        return errors.DeviceLostError(
            source,
            "a working CUDA context",
            str(error),
            "Restart the process: no plan runs on the GPU in this one any more. See pvlr doctor.",
        )
    return errors.BackendError(source, "a successful CUDA call", str(error), "See pvlr doctor.")
