"""An exported network, and what OpenVINO makes of it on this CPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from ... import errors

if TYPE_CHECKING:
    import openvino

INPUT, LOGITS, SIMILARITY = "image", "logits", "similarity"
"""The names of an exported network's input and outputs."""


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


def front_hint(core: openvino.Core) -> str:
    """fp16 has eight times bf16's resolution and was as good as fp32 here (99.5 % equal tag sets instead of 99.3 %)."""
    return "f16" if "FP16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"


def engine_options(hint: str, threads: int, throughput: bool) -> dict[str, Any]:
    """OpenVINO's options of one part."""
    return {
        "PERFORMANCE_HINT": "THROUGHPUT" if throughput else "LATENCY",
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": threads,
    }


def compile_parts(core: openvino.Core, network: Network, options: list[dict[str, Any]]) -> list[openvino.CompiledModel]:
    """The network compiled in as many parts as there are options: one, or two that meet at ``fp32_until``.

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
        parts = [model] if len(options) == 1 else _split(model, network)
        return [core.compile_model(part, "CPU", chosen) for part, chosen in zip(parts, options, strict=True)]
    except RuntimeError as error:
        raise errors.BackendError(
            network.source, expected="a network that compiles", got=reason(error), hint="See pvlr doctor."
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


def import_parts(
    core: openvino.Core, blobs: list[bytes | None], options: list[dict[str, Any]]
) -> list[openvino.CompiledModel] | None:
    """What was compiled earlier; None: some part is not there, or no longer good."""
    if not all(blobs):
        return None
    try:
        return [core.import_model(blob, "CPU", chosen) for blob, chosen in zip(blobs, options, strict=True)]
    except RuntimeError:
        return None  # an entry that this OpenVINO does not like is compiled anew


def check_outputs(compiled: openvino.CompiledModel, network: Network) -> None:
    """ModelError unless logits and similarity are there in the shapes that they must have."""
    wanted = {LOGITS: (1, network.labels), SIMILARITY: (1, network.tokens, network.labels)}
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
