"""The CPU backend: OpenVINO, the same code path on x86 and ARM."""

from __future__ import annotations

import hashlib
import json
from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NoReturn

from .. import __version__, errors
from ..cores import available_cores
from ..device_frames import DeviceFrame
from . import Slot, cache

if TYPE_CHECKING:
    import numpy as np
    import openvino
    from numpy.typing import NDArray

    from ..frames import Frame
    from ..preprocess import Preprocessor

INPUT, LOGITS, SIMILARITY = "image", "logits", "similarity"
"""The names of an exported network's input and outputs."""


_UNKNOWN_OPERATOR = "-- No conversion rule"
"""How OpenVINO names an operator that it lacks, before its advice."""


@dataclass(frozen=True)
class Network:
    """An ONNX network in memory and the shapes that it must have; ``source`` names it in errors.

    Up to the tensor ``fp32_until``, if it is named, a bf16 engine computes in fp32, or in fp16 where the CPU has units
    for that: the first layers may lose more by bf16 than all others together, and cost little.
    """

    source: str
    payload: bytes
    sha256: str
    input_shape: tuple[int, int, int, int]
    tokens: int
    labels: int
    fp32_until: str | None = None


class OpenVinoBackend:
    """One compiled network; threads share it, each inference has its own request.

    Args:
        network: the network.
        precision: ``fp32``, ``bf16``, ``auto`` (bf16 where the CPU computes in it, else fp32) or, for a quantised
            network, ``int8``: what is not quantised then runs as with ``auto``.
        num_threads: threads of all inferences together; None: the cores that this process may use.
        throughput: run several inferences at once, each on fewer threads; else one at a time on all threads.
        cached: use the cache on disk.

    Raises:
        ModelError: the payload can't be read or is no PVLR network.
        BackendError: this CPU does not run it (for example bf16 without hardware for it).
        MissingPartError: OpenVINO is not installed.
    """

    def __init__(
        self,
        network: Network,
        precision: str,
        num_threads: int | None = None,
        *,
        throughput: bool = False,
        cached: bool = True,
    ) -> None:
        core = open_core()
        self.precision = _resolve_precision(core, precision, network.source)
        threads = num_threads or available_cores()
        hints = [_front_hint(core)] if self.precision == "bf16" and network.fp32_until else []
        options = [_options(hint, threads, throughput) for hint in [*hints, _hint(core, self.precision)]]
        folder = cache.cache_folder() if cached else None
        keys = [_cache_key(core, network, part, options) for part in range(len(options))]
        parts = _import(core, [cache.load(folder, key) for key in keys], options) if folder else None
        from_cache = parts is not None
        if parts is None:
            parts = _compile(core, network, options)
            for key, part in zip(keys, parts, strict=True):
                if folder:
                    cache.store(folder, key, part.export_model().getvalue())
        _check_outputs(parts[-1], network)
        self._parts = parts
        self.parallel = int(parts[-1].get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        self._free: deque[Slot] = deque()
        self.info: dict[str, Any] = {
            "backend": "openvino",
            "version": _version(),
            "device": core.get_property("CPU", "FULL_DEVICE_NAME"),
            "precision": self.precision,
            "threads": threads,
            "parallel": self.parallel,
            "from_cache": from_cache,
        }
        self.release(self.acquire())

    def acquire(self) -> Slot:
        try:
            return self._free.pop()  # a deque's pop and append are atomic: no lock needed
        except IndexError:
            return _Request([part.create_infer_request() for part in self._parts])

    def release(self, slot: Slot) -> None:
        self._free.append(slot)


class _Request:
    """A slot over a chain of OpenVINO requests, one a part; its arrays are views of the requests' own tensors."""

    __slots__ = ("_first", "_last", "_logits", "_similarity", "input")

    def __init__(self, requests: list[openvino.InferRequest]) -> None:
        for before, after in pairwise(requests):
            after.set_input_tensor(before.get_output_tensor())
        *self._first, self._last = requests
        self.input: NDArray[np.float32] = requests[0].get_tensor(INPUT).data[0]
        self._logits: NDArray[np.float32] = self._last.get_tensor(LOGITS).data[0]
        self._similarity: NDArray[np.float32] = self._last.get_tensor(SIMILARITY).data[0]

    def load(self, frame: Frame | DeviceFrame, preprocess: Preprocessor) -> None:
        if isinstance(frame, DeviceFrame):
            raise errors.FrameTypeError(
                "frame",
                expected="a frame in the CPU's memory, where this plan runs",
                got="one on a GPU",
                hint="Copy it first (for example frame.cpu().numpy()), or build a plan with --device tensorrt.",
            )
        preprocess(frame.pixels, frame.order, self.input)

    def start(self) -> None:
        try:
            for request in self._first:
                request.infer()
            self._last.start_async()
        except RuntimeError as error:
            raise _failed(error) from error

    def wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        try:
            self._last.wait()
        except RuntimeError as error:
            raise _failed(error) from error
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
        got = _reason(error)
        fused = (
            "Give the one with native attention: only TensorRT runs fused attention, and pvlr build fuses it itself."
        )
        raise errors.ModelError(
            source,
            expected="an ONNX network with its weights inside",
            got=got,
            hint=fused if "DualSoftmaxAttention" in got else "Export it again with pvlr export.",
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


def _hint(core: openvino.Core, precision: str) -> str:
    return "bf16" if precision == "bf16" or (precision == "int8" and supports_bf16(core)) else "f32"


def _front_hint(core: openvino.Core) -> str:
    """fp16 has eight times bf16's resolution and was as good as fp32 here (99.5 % equal tag sets instead of 99.3 %)."""
    return "f16" if "FP16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def _options(hint: str, threads: int, throughput: bool) -> dict[str, Any]:
    return {
        "PERFORMANCE_HINT": "THROUGHPUT" if throughput else "LATENCY",
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": threads,
    }


def _compile(core: openvino.Core, network: Network, options: list[dict[str, Any]]) -> list[openvino.CompiledModel]:
    model = read_network(core, network.payload, network.source)
    names = [port.get_names() for port in model.inputs]
    if len(names) != 1 or INPUT not in names[0]:
        _reject(network, f"one input named {INPUT}", f"inputs {names}")
    try:
        model.reshape(list(network.input_shape))
    except RuntimeError as error:
        _reject(network, f"an input that can be {network.input_shape}", _reason(error))
    if model.input().get_element_type().get_type_name() != "f32":
        _reject(network, "a float32 input", str(model.input().get_element_type()))
    try:
        parts = [model] if len(options) == 1 else _split(model, network)
        return [core.compile_model(part, "CPU", chosen) for part, chosen in zip(parts, options, strict=True)]
    except RuntimeError as error:
        raise errors.BackendError(
            network.source, expected="a network that compiles", got=_reason(error), hint="See pvlr doctor."
        ) from error


def _split(model: openvino.Model, network: Network) -> list[openvino.Model]:
    """Cut a network in two at the tensor ``fp32_until``."""
    from openvino import Layout, Model, Type, op
    from openvino.preprocess import PrePostProcessor

    outputs = (output for node in model.get_ordered_ops() for output in node.outputs())
    cut = next((output for output in outputs if network.fp32_until in output.get_names()), None)
    if cut is None:
        _reject(network, f"a tensor named {network.fp32_until}", "none")
    entry = op.Parameter(cut.get_element_type(), cut.get_partial_shape())
    for target in cut.get_target_inputs():
        target.replace_source_output(entry.output(0))
    front, rest = Model([cut], model.get_parameters()), Model(model.get_results(), [entry])
    # Handed over as the bf16 part wants it, or it would convert and reorder the tensor first (0.6 ms of 5.6 on Lite2).
    joints = PrePostProcessor(front), PrePostProcessor(rest)
    for joint in (joints[0].output(), joints[1].input()):
        joint.tensor().set_element_type(Type.bf16)
        if len(cut.get_partial_shape()) == 4:
            joint.tensor().set_layout(Layout("NHWC"))
            joint.model().set_layout(Layout("NCHW"))
    return [joint.build() for joint in joints]


def _import(
    core: openvino.Core, blobs: list[bytes | None], options: list[dict[str, Any]]
) -> list[openvino.CompiledModel] | None:
    if not all(blobs):
        return None
    try:
        return [core.import_model(blob, "CPU", chosen) for blob, chosen in zip(blobs, options, strict=True)]
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


def _failed(error: RuntimeError) -> errors.BackendError:
    return errors.BackendError(
        "inference", expected="a finished inference", got=_reason(error), hint="See pvlr doctor."
    )


def _reject(network: Network, expected: str, got: str) -> NoReturn:
    raise errors.ModelError(
        network.source, expected=expected, got=got, hint="This is no PVLR network: make one with pvlr export."
    )


def _cache_key(core: openvino.Core, network: Network, part: int, options: list[dict[str, Any]]) -> str:
    """Everything that decides what the compiler makes of a payload."""
    cpu = [core.get_property("CPU", name) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    what = [network.sha256, network.input_shape, network.fp32_until, part, __version__, _version(), cpu, options]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:40]


def _version() -> str:
    import openvino

    return str(openvino.get_version())


def _reason(error: Exception) -> str:
    """The line that says what is wrong: the last one, unless advice comes after it."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith(_UNKNOWN_OPERATOR)] or lines[-1:]
    return telling[0].removeprefix("-- ").rstrip(".") if telling else type(error).__name__
