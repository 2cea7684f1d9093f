"""A kernel's arguments: arrays of other libraries, their device, and the stream that the kernel runs in."""

from __future__ import annotations

import sys
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from .. import errors
from .._util.core import _core, missing_core

BUILD_HINT = "Build one where the CUDA toolkit is: PVLR_CUDA=1 pip install . (docs/kernels.md)."
Type: TypeAlias = Literal["float32", "float16", "bfloat16"]
TYPES: tuple[Type, ...] = get_args(Type)
_CPU = (1, 3)  # DLPack's kDLCPU and kDLCUDAHost
_LEGACY_STREAM = 1  # DLPack's number of CUDA's default stream
_NO_WAIT = -1  # DLPack's number of no stream


def has_cuda() -> bool:
    """Whether the compiled core contains the CUDA kernels, regardless of whether a GPU is present."""
    return _core is not None and _core.has_cuda()


class Arguments:
    """The arrays of one call, as tensors of the compiled core; every error names the argument.

    Args:
        function: the core's function.
        public: its public name, if different.
        names: the core's argument names and their public ones, where they differ.
        stream: None (CUDA's default stream), an integer (a ``cudaStream_t``), or a stream of PyTorch, CuPy, PyCUDA or
            anything with ``__cuda_stream__``.

    Raises:
        MissingPartError: the compiled core is not installed.
        OptionError: the stream is invalid.
    """

    def __init__(
        self, function: str, stream: Any, *, names: dict[str, str] | None = None, public: str = ""
    ) -> None:
        if _core is None:
            raise missing_core()
        self._function = function
        self._names = names or {}
        self._public = public or function
        self._stream = stream
        self._handle = stream_handle(stream)
        self._place: tuple[str, str] | None = None  # device of the first argument, and its name

    def view(self, name: str, value: Any) -> _core.Tensor:
        """One argument as a tensor, without a copy; all must be on the same device.

        Raises:
            OptionError: it is not an array, of an unknown type, or on another device.
            MissingPartError: it is on a GPU, and the core was built without CUDA.
        """
        try:
            tensor = self._open(value)
        except (BufferError, RuntimeError, TypeError, ValueError, AssertionError) as error:
            raise self.wrong(
                name, "an array that can be shared", f"one of {type(value).__name__}: {error}"
            ) from error
        if tensor is None:
            expected = "a NumPy array, or anything with DLPack or __cuda_array_interface__"
            raise self.wrong(name, expected, type(value).__name__)
        if tensor.on_cuda and not has_cuda():
            raise errors.MissingPartError(
                "pvlr_sdk._core",
                "a core with CUDA kernels",
                f"one without, and {name} on a GPU",
                BUILD_HINT,
            )
        if self._place is None:
            self._place = tensor.device, name
            if not tensor.on_cuda and self._stream is not None:
                raise self.wrong("stream", "None for arrays on the CPU", repr(self._stream))
        elif tensor.device != self._place[0]:
            raise self.wrong(
                name,
                f"an array on {self._place[0]}, where {self._place[1]} is",
                f"one on {tensor.device}",
            )
        return tensor

    def _open(self, value: Any) -> _core.Tensor | None:
        if isinstance(value, np.ndarray):
            return _core.Tensor.from_numpy(value)
        if hasattr(value, "__dlpack__") and hasattr(value, "__dlpack_device__"):
            on_cpu = int(value.__dlpack_device__()[0]) in _CPU
            return _core.Tensor.from_dlpack(
                _capsule(value, None if on_cpu else self._ready_on(value))
            )
        interface = getattr(value, "__cuda_array_interface__", None)
        return (
            None if interface is None else _core.Tensor.from_cuda_array_interface(interface, value)
        )

    def _ready_on(self, value: Any) -> int:
        """The stream on which a producer must make its array ready.

        PyTorch treats a handle as a stream other than its own with the same handle, and would record and wait for an
        event per array.
        """
        torch = sys.modules.get("torch")
        if (
            torch is not None
            and isinstance(value, torch.Tensor)
            and torch.cuda.current_stream(value.device).cuda_stream == self._handle
        ):
            return _NO_WAIT
        return self._handle or _LEGACY_STREAM

    def output(self, name: str, value: Any, shape: tuple[int, ...], type: str) -> _core.Tensor:
        """An array to write to."""
        tensor = self.view(name, value)
        if tensor.shape != shape:
            raise self.wrong(name, f"shape {shape}", str(tensor.shape))
        if tensor.type != type:
            raise self.wrong(name, type, tensor.type)
        if not tensor.writable:
            raise self.wrong(name, "a writable array", "one that is read-only")
        return tensor

    def check_rows(self, name: str, tensor: _core.Tensor) -> None:
        """Reject a last axis that is not contiguous."""
        if tensor.strides[-1] != 1:
            raise self.wrong(
                name, "a contiguous last axis", f"strides {tensor.strides} in elements"
            )

    def check_packed(self, name: str, tensor: _core.Tensor) -> None:
        """Reject an array that is not contiguous."""
        if not tensor.is_contiguous:
            raise self.wrong(name, "a contiguous array", f"strides {tensor.strides} in elements")

    def check_float(self, name: str, tensor: _core.Tensor) -> None:
        """Reject a type that the kernels do not compute with."""
        if tensor.type not in TYPES:
            raise self.wrong(name, f"one of {', '.join(TYPES)}", tensor.type)

    def bank(
        self, name: str, tensor: _core.Tensor, tokens: _core.Tensor, labels: int | None = None
    ) -> _core.Tensor:
        """Vectors of labels, of the shape of ``tokens`` (batch, ..., N, width) with C labels for N.

        The batch is 1 if all images share the labels; then the array may lack this axis.

        Args:
            labels: the required C; None: any but 0.
        """
        if len(tensor.shape) == len(tokens.shape) - 1:
            tensor = tensor.with_batch()
        batch, *heads, _, width = tokens.shape
        count = labels or (tensor.shape[-2] if len(tensor.shape) > 1 else 0)
        shape = (*heads, count, width)
        if count == 0 or tensor.shape not in {(batch, *shape), (1, *shape)}:
            sizes = ", ".join(map(str, (*heads, labels or "labels", width)))
            raise self.wrong(name, f"a shape ([{batch},] {sizes})", str(tensor.shape))
        return tensor

    def check_threads(self, threads: Any) -> None:
        """Reject an invalid number of threads."""
        if isinstance(threads, bool) or not isinstance(threads, int) or not 1 <= threads <= 1024:
            raise self.wrong("threads", "a whole number from 1 to 1024", repr(threads))

    def apart(self, outputs: dict[str, _core.Tensor], inputs: dict[str, _core.Tensor]) -> None:
        """Reject outputs whose memory overlaps an input or another output."""
        seen = dict(inputs)
        for name, tensor in outputs.items():
            begin, end = tensor.extent
            for other, (first, last) in ((other, array.extent) for other, array in seen.items()):
                if begin < last and first < end:
                    raise self.wrong(name, f"memory apart from {other}", "an overlap")
            seen[name] = tensor

    def empty_like(self, value: Any, shape: tuple[int, ...], type_: str | None = None) -> Any:
        """A new array of the same library and device as ``value``; ``type_`` names another dtype."""
        library = type(value).__module__.partition(".")[0]
        try:
            if isinstance(value, np.ndarray):
                return np.empty(shape, type_ or value.dtype)
            if library == "torch":
                return value.new_empty(
                    shape, dtype=getattr(sys.modules[library], type_) if type_ else value.dtype
                )
            if library in ("cupy", "pycuda"):
                return type(value)(shape, dtype=np.dtype(type_) if type_ else value.dtype)
        except TypeError as error:  # NumPy has bfloat16 only after an import of ml_dtypes
            raise self.wrong(
                "out", f"an array to write to, since {library} has no {type_}", "None"
            ) from error
        raise self.wrong(
            "out", f"an array to write to, since {library} arrays cannot be allocated here", "None"
        )

    def run(self, *arguments: Any) -> None:
        """Call the core's function with the arguments and the stream.

        Raises:
            OptionError: an error that only the launcher detects, such as rows that are not aligned.
            DeviceError: the device is not capable of it, or refused the launch.
        """
        try:
            getattr(_core, self._function)(*arguments, self._handle)
        except ValueError as error:
            name, _, problem = str(error).partition(": ")
            raise self.wrong(self._names.get(name, name), problem, "otherwise") from error
        except RuntimeError as error:
            raise errors.DeviceError(
                self._place[0] if self._place else "device",
                f"a device that runs {self._public}",
                str(error),
                "See pvlr doctor and nvidia-smi; the kernels need compute capability 7.5 or later.",
            ) from error

    def wrong(self, argument: str, expected: str, got: str) -> errors.OptionError:
        return errors.OptionError(
            argument, expected, got, f"See the docstring of pvlr_sdk.kernels.{self._public}."
        )


def _capsule(value: Any, stream: int | None) -> Any:
    try:
        return value.__dlpack__(stream=stream, max_version=(1, 0))
    except TypeError:  # it implements DLPack before 1.0
        return value.__dlpack__(stream=stream)


def stream_handle(stream: Any) -> int:
    """The ``cudaStream_t`` of a stream as an integer; 0 for None.

    Raises:
        OptionError: it is not a stream.
    """
    if stream is None:
        return 0
    if hasattr(stream, "__cuda_stream__"):
        stream = stream.__cuda_stream__()[1]
    for attribute in ("cuda_stream", "ptr", "handle"):  # of PyTorch, CuPy, PyCUDA
        stream = getattr(stream, attribute, stream)
    if isinstance(stream, int) and not isinstance(stream, bool) and 0 <= stream < 2**64:
        return int(stream)
    raise errors.OptionError(
        "stream",
        "None, an integer, or a stream of PyTorch, CuPy or PyCUDA",
        repr(stream),
        "An integer is a cudaStream_t.",
    )
