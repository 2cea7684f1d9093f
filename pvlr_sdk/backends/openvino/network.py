"""An exported network, and what OpenVINO makes of it on this CPU."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn

from ... import errors
from .lowering import lower

if TYPE_CHECKING:
    import openvino

INPUT, LOGITS, SIMILARITY = "image", "logits", "similarity"
"""The names of an exported network's input and outputs."""


@dataclass(frozen=True)
class Network:
    """An ONNX network in memory and the shapes that it must have; ``source`` names it in errors.

    Up to the tensor ``fp32_until``, if it is named, a bf16 engine computes in fp32: the first layers may lose more by
    bf16 than all others together, and cost little.
    """

    source: str
    payload: bytes
    sha256: str
    input_shape: tuple[int, int, int, int]
    tokens: int
    labels: int
    fp32_until: str | None = None

    def with_batch(self, count: int) -> Network:
        """The same for several frames at once."""
        return replace(self, input_shape=(count, *self.input_shape[1:]))


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
        got = reason(error)
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


def precision_hint(core: openvino.Core, precision: str) -> str:
    """What OpenVINO is told to compute in."""
    return "bf16" if precision == "bf16" or (precision == "int8" and supports_bf16(core)) else "f32"


def engine_options(hint: str, threads: int, throughput: bool) -> dict[str, Any]:
    """OpenVINO's options; ``hint`` is what the types that the network leaves open are computed in."""
    return {
        "PERFORMANCE_HINT": "THROUGHPUT" if throughput else "LATENCY",
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": threads,
    }


def compile_network(
    core: openvino.Core, network: Network, options: dict[str, Any], *, bf16_behind: str | None = None
) -> openvino.CompiledModel:
    """The network compiled; what comes behind the tensor ``bf16_behind`` in bf16, whatever the options say.

    Raises:
        ModelError: it is no PVLR network.
        BackendError: this CPU does not run it.
    """
    model = read_network(core, network.payload, network.source)
    names = [port.get_names() for port in model.inputs]
    if len(names) != 1 or INPUT not in names[0]:
        _reject(network, f"one input named {INPUT}", f"inputs {names}")
    try:
        model.reshape(list(network.input_shape))
    except RuntimeError as error:
        _reject(network, f"an input that can be {network.input_shape}", reason(error))
    if model.input().get_element_type().get_type_name() != "f32":
        _reject(network, "a float32 input", str(model.input().get_element_type()))
    try:
        if bf16_behind and not lower(model, bf16_behind):
            _reject(network, f"a tensor named {bf16_behind}", "none")
        return core.compile_model(_with_packed_pixels(model), "CPU", options)
    except RuntimeError as error:
        raise errors.BackendError(
            network.source, expected="a network that compiles", got=reason(error), hint="See pvlr doctor."
        ) from error


def _with_packed_pixels(model: openvino.Model) -> openvino.Model:
    """The network with an input of (count, height, width, 3): the order in which a convolution reads it.

    OpenVINO would reorder planes first, in fp32 at 0.28 ms of 6.8 on Lite2.
    """
    from openvino import Layout
    from openvino.preprocess import PrePostProcessor

    wrapper = PrePostProcessor(model)
    wrapper.input().tensor().set_layout(Layout("NHWC"))
    wrapper.input().model().set_layout(Layout("NCHW"))
    return wrapper.build()


def check_outputs(compiled: openvino.CompiledModel, network: Network) -> None:
    """ModelError unless logits and similarity are there in the shapes that they must have."""
    count = network.input_shape[0]
    wanted = {LOGITS: (count, network.labels), SIMILARITY: (count, network.tokens, network.labels)}
    for name, shape in wanted.items():
        port = next((port for port in compiled.outputs if name in port.get_names()), None)
        if port is None:
            _reject(network, f"an output named {name}", f"outputs {[port.get_names() for port in compiled.outputs]}")
        elif tuple(port.get_partial_shape().to_shape()) != shape:
            _reject(network, f"{name} of shape {shape}", str(port.get_partial_shape()))


def _reject(network: Network, expected: str, got: str) -> NoReturn:
    raise errors.ModelError(
        network.source, expected=expected, got=got, hint="This is no PVLR network: make one with pvlr export."
    )


def reason(error: Exception) -> str:
    """What OpenVINO's long messages are about: the last line, unless advice comes after it."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith("-- No conversion rule")] or lines[-1:]
    return telling[0].removeprefix("-- ").rstrip(".") if telling else type(error).__name__
