"""The few CUDA calls that the TensorRT backend makes, on whichever Python binding is installed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ... import errors

if TYPE_CHECKING:
    from numpy.typing import NDArray

INVALID_VALUE, OUT_OF_MEMORY = 1, 2
_LOST = {4, 201, 214, 220, 226, 700, 702, 709, 710, *range(714, 720), 721, 810, 911, 999}
"""Codes after which nothing works in the context: those of which CUDA's header says so (illegal addresses and
instructions, time-outs, assertions, ...), ECC and NVLink errors, an unknown error, and a context that is gone. After
all others it still works, and a fresh one would take other libraries' memory away."""


class CudaError(Exception):
    """A CUDA call failed. ``code`` is the driver's number (CUresult)."""

    def __init__(self, code: int, call: str, words: str = "") -> None:
        self.code = code
        super().__init__(f"{call} gave CUDA error {code}{f' ({words})' if words else ''}")

    @property
    def sticky(self) -> bool:
        """Whether the context is lost: every later call in it fails as well."""
        return self.code in _LOST


@dataclass(frozen=True)
class Gpu:
    """The GPU in use. ``capability`` is its compute capability, ``memory`` in bytes."""

    name: str
    capability: tuple[int, int]
    memory: int
    driver: str
    """The newest CUDA that the driver knows, for example ``12.6``."""
    multiprocessors: int
    """Tells boards apart whose GPUs have one name: every Jetson Orin's is ``Orin``."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        major, minor = self.capability
        return {
            "name": self.name,
            "capability": f"{major}.{minor}",
            "multiprocessors": self.multiprocessors,
            "memory": self.memory,
            "driver_cuda": self.driver,
        }


class Cuda(Protocol):
    """Device 0 through its primary context, which TensorRT and our kernels use too.

    Pointers, streams, events and graphs are the driver's handles as integers. All methods but ``gpu`` must be called
    inside ``current()``. They raise CudaError.
    """

    name: str
    """The Python package behind it."""

    def gpu(self) -> Gpu:
        """What there is."""

    def current(self) -> AbstractContextManager[None]:
        """Make the context the calling thread's."""

    def reset(self) -> None:
        """Destroy the primary context and everything in it, and make a new one."""

    def malloc(self, size: int) -> int:
        """Device memory of ``size`` bytes."""

    def free(self, pointer: int) -> None:
        """Give device memory back."""

    def pinned(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """An array in page-locked host memory, which lives as long as the array."""

    def to_device(self, pointer: int, source: NDArray[Any], stream: int) -> None:
        """Begin to copy a contiguous array to the device."""

    def to_host(self, target: NDArray[Any], pointer: int, stream: int) -> None:
        """Begin to copy from the device into a contiguous array."""

    def stream(self) -> int:
        """A new stream that does not wait for the default one."""

    def destroy_stream(self, stream: int) -> None:
        """Give a stream back."""

    def synchronize(self, stream: int) -> None:
        """Wait for everything in a stream."""

    def free_memory(self) -> int:
        """Bytes of device memory that nobody uses."""

    def event(self, timing: bool = False) -> int:
        """A new event; with ``timing`` for :meth:`milliseconds`."""

    def milliseconds(self, start: int, end: int) -> float:
        """Time between two events that have happened."""

    def destroy_event(self, event: int) -> None:
        """Give an event back."""

    def record(self, event: int, stream: int) -> None:
        """Let the event happen when the stream gets here."""

    def wait(self, event: int) -> None:
        """Wait until the event has happened."""

    def begin_capture(self, stream: int) -> None:
        """What this thread enqueues on the stream from now on is recorded and not run."""

    def end_capture(self, stream: int) -> int:
        """A graph of what was recorded, ready to launch. Ends the capture even where it fails."""

    def launch(self, graph: int, stream: int) -> None:
        """Enqueue a graph."""

    def destroy_graph(self, graph: int) -> None:
        """Give a graph back."""


_open: dict[str, Cuda] = {}


def open_cuda() -> Cuda:
    """The interface on pycuda, or else on cuda-python; always the same one.

    Raises:
        MissingPartError: neither is installed, or there is no driver or GPU.
    """
    if "cuda" not in _open:
        reasons = []
        for package, module in (("pycuda", "on_pycuda"), ("cuda-python", "on_cuda_python")):
            try:
                found: Cuda = importlib.import_module(f".{module}", __package__).Driver()
            except Exception as error:  # ImportError, OSError, each binding's own class: all mean "not here"
                reasons.append(f"{package}: {type(error).__name__}: {error}")
            else:
                _open["cuda"] = found
                break
        else:
            raise errors.MissingPartError(
                "CUDA",
                expected="an NVIDIA GPU with its driver, and pycuda or cuda-python",
                got="; ".join(reasons),
                hint="pip install pycuda (or cuda-python); pvlr doctor shows what is missing.",
            )
    return _open["cuda"]


@contextmanager
def undone_by(undo: Callable[[], None]) -> Iterator[None]:
    """Call ``undo`` if what is inside fails; not after a lost context, which has taken everything with it."""
    try:
        yield
    except BaseException as error:
        if not (isinstance(error, CudaError) and error.sticky):
            undo()
        raise


@contextmanager
def typed(source: str) -> Iterator[None]:
    """Turn a CudaError into the SDK's own class; ``source`` names the plan."""
    try:
        yield
    except CudaError as error:
        raise as_typed(error, source) from error


def as_typed(error: CudaError, source: str) -> errors.BackendError:
    """The SDK's error for a CudaError."""
    if error.code == OUT_OF_MEMORY:
        return errors.DeviceMemoryError(
            source,
            expected="enough memory on the GPU",
            got=str(error),
            hint="Close other programs that use the GPU, or build the plan with a smaller --batch.",
        )
    if error.sticky:
        return errors.DeviceLostError(
            source,
            expected="a working CUDA context",
            got=str(error),
            hint="The next call tries a fresh context; if that fails too, start the process again and see pvlr doctor.",
        )
    return errors.BackendError(source, expected="a CUDA call that works", got=str(error), hint="See pvlr doctor.")
