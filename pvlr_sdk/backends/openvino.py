"""The CPU backend: OpenVINO, the same code path on x86 and ARM."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .. import errors
from ..cores import available_cores
from . import Slot, cache

if TYPE_CHECKING:
    import numpy as np
    import openvino
    from numpy.typing import NDArray

_HINTS = {"fp32": "f32", "bf16": "bf16"}
INPUT, LOGITS, SIMILARITY = "image", "logits", "similarity"
"""The names of an exported network's input and outputs."""


@dataclass(frozen=True)
class Network:
    """An ONNX network in memory and the shapes that it must have; ``source`` names it in errors."""

    source: str
    payload: bytes
    sha256: str
    input_shape: tuple[int, int, int, int]
    tokens: int
    labels: int


class OpenVinoBackend:
    """One compiled network; threads share it, each inference has its own request.

    Args:
        network: the network.
        precision: ``fp32``, ``bf16`` or ``auto``: bf16 where the CPU computes in it, else fp32.
        num_threads: threads of one inference; None: the cores that this process may use.
        cached: use the cache on disk.

    Raises:
        ModelError: the payload can't be read or is no PVLR network.
        BackendError: this CPU does not run it (for example bf16 without hardware for it).
        MissingPartError: OpenVINO is not installed.
    """

    def __init__(self, network: Network, precision: str, num_threads: int | None, *, cached: bool = True) -> None:
        core = open_core()
        self.precision = _resolve_precision(core, precision, network.source)
        threads = num_threads or available_cores()
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": _HINTS[self.precision],
            "INFERENCE_NUM_THREADS": threads,
        }
        folder = cache.cache_folder() if cached else None
        key = _cache_key(core, network, options)
        blob = cache.load(folder, key) if folder else None
        compiled = _import(core, blob, options) if blob else None
        from_cache = compiled is not None
        if compiled is None:
            compiled = _compile(core, network, options)
            if folder:
                cache.store(folder, key, compiled.export_model().getvalue())
        _check_outputs(compiled, network)
        self._compiled = compiled
        self._free: deque[Slot] = deque()
        self.info: dict[str, Any] = {
            "backend": "openvino",
            "version": _version(),
            "device": core.get_property("CPU", "FULL_DEVICE_NAME"),
            "precision": self.precision,
            "threads": threads,
            "from_cache": from_cache,
        }
        self.release(self.acquire())

    def acquire(self) -> Slot:
        try:
            return self._free.pop()  # a deque's pop and append are atomic: no lock needed
        except IndexError:
            return _Request(self._compiled.create_infer_request())

    def release(self, slot: Slot) -> None:
        self._free.append(slot)


class _Request:
    """A slot over one OpenVINO request; its arrays are views of the request's own tensors."""

    __slots__ = ("_logits", "_request", "_similarity", "input")

    def __init__(self, request: openvino.InferRequest) -> None:
        self._request = request
        self.input: NDArray[np.float32] = request.get_tensor(INPUT).data[0]
        self._logits: NDArray[np.float32] = request.get_tensor(LOGITS).data[0]
        self._similarity: NDArray[np.float32] = request.get_tensor(SIMILARITY).data[0]

    def start(self) -> None:
        self._request.start_async()

    def wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        try:
            self._request.wait()
        except RuntimeError as error:
            raise errors.BackendError(
                "inference", expected="a finished inference", got=_last_line(error), hint="See pvlr doctor."
            ) from error
        return self._logits, self._similarity


def open_core() -> openvino.Core:
    """OpenVINO's entry point.

    Raises:
        MissingPartError: it is not installed, or its libraries can't be loaded here.
    """
    try:
        import openvino
    except ImportError as error:
        raise errors.MissingPartError(
            "openvino", expected="the OpenVINO runtime", got=str(error), hint="pip install openvino"
        ) from error
    return openvino.Core()


def read_network(core: openvino.Core, payload: bytes, source: str) -> openvino.Model:
    """Parse an ONNX network.

    Raises:
        ModelError: it is none that OpenVINO can read.
    """
    try:
        return core.read_model(payload)
    except (RuntimeError, TypeError) as error:
        raise errors.ModelError(
            source,
            expected="an ONNX network with its weights inside",
            got=_last_line(error),
            hint="Export it again with pvlr export.",
        ) from error


def supports_bf16(core: openvino.Core) -> bool:
    """Whether this CPU computes in bfloat16."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _resolve_precision(core: openvino.Core, precision: str, source: str) -> str:
    if precision == "auto":
        return "bf16" if supports_bf16(core) else "fp32"
    if precision == "bf16" and not supports_bf16(core):
        raise errors.BackendError(
            source,
            expected="a CPU that computes in bf16",
            got=str(core.get_property("CPU", "FULL_DEVICE_NAME")),
            hint='Use precision="auto" or "fp32".',
        )
    return precision


def _compile(core: openvino.Core, network: Network, options: dict[str, Any]) -> openvino.CompiledModel:
    model = read_network(core, network.payload, network.source)
    names = [port.get_names() for port in model.inputs]
    if len(names) != 1 or INPUT not in names[0]:
        _reject(network, f"one input named {INPUT}", f"inputs {names}")
    try:
        model.reshape(list(network.input_shape))
    except RuntimeError as error:
        _reject(network, f"an input that can be {network.input_shape}", _last_line(error))
    if model.input().get_element_type().get_type_name() != "f32":
        _reject(network, "a float32 input", str(model.input().get_element_type()))
    try:
        return core.compile_model(model, "CPU", options)
    except RuntimeError as error:
        raise errors.BackendError(
            network.source, expected="a network that compiles", got=_last_line(error), hint="See pvlr doctor."
        ) from error


def _import(core: openvino.Core, blob: bytes, options: dict[str, Any]) -> openvino.CompiledModel | None:
    try:
        return core.import_model(blob, "CPU", options)
    except RuntimeError:
        return None  # an entry that this OpenVINO does not like is compiled anew


def _check_outputs(compiled: openvino.CompiledModel, network: Network) -> None:
    wanted = {LOGITS: (1, network.labels), SIMILARITY: (1, network.tokens, network.labels)}
    for name, shape in wanted.items():
        port = next((port for port in compiled.outputs if name in port.get_names()), None)
        if port is None:
            _reject(network, f"an output named {name}", f"outputs {[port.get_names() for port in compiled.outputs]}")
        elif tuple(port.get_partial_shape().to_shape()) != shape:
            _reject(network, f"{name} of shape {shape}", str(port.get_partial_shape()))


def _reject(network: Network, expected: str, got: str) -> None:
    raise errors.ModelError(
        network.source, expected=expected, got=got, hint="This is no PVLR network: make one with pvlr export."
    )


def _cache_key(core: openvino.Core, network: Network, options: dict[str, Any]) -> str:
    """Everything that decides what the compiler makes of a payload."""
    cpu = [core.get_property("CPU", name) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    parts = [network.sha256, network.input_shape, _version(), cpu, options]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]


def _version() -> str:
    import openvino

    return str(openvino.get_version())


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
