"""An exported network, and how OpenVINO reads and compiles it."""

from __future__ import annotations

import functools
import io
import math
import os
from dataclasses import dataclass, replace
from threading import Lock
from typing import TYPE_CHECKING, Any, NoReturn

from ... import errors
from ...bundle.network import MAX_ELEMENTS, check_network
from ...bundle.open_labels import input_shapes
from ...bundle.schema import FEATURES, IMAGE, LOGITS, SIMILARITY
from .. import runtimes
from .device import CPU, label_options
from .graph import fold_constants, lower, remove_ranges, with_packed_pixels
from .split import split_labels

if TYPE_CHECKING:
    import openvino

    from ...bundle.label_bank import LabelBank
    from ...bundle.manifest import Manifest, ModelSpec, OpenSpec

_MAX_ELEMENTS_ALIVE = 2**30
"""Of the constants, and of the tensors that are in use at the same time: 4 GB in float32."""


@dataclass(frozen=True)
class Network:
    """An ONNX network in memory and the shapes that it must have; ``source`` names it in errors.

    A bf16 engine computes in fp32 up to the tensor ``fp32_until``, if there is one: the first layers may lose more
    accuracy in bf16 than all others together, and cost little. The outputs are for ``labels`` labels: those of
    ``bank``, or in an ``open`` network all that it has room for.
    """

    source: str
    payload: bytes
    sha256: str
    input_shape: tuple[int, int, int, int]
    tokens: int
    labels: int
    fp32_until: str | None = None
    open: OpenSpec | None = None
    bank: LabelBank | None = None

    @classmethod
    def of(
        cls, source: str, payload: bytes, sha256: str, spec: Manifest | ModelSpec, bank: LabelBank
    ) -> Network:
        """The network that a manifest or an exported network's metadata describes, for one frame."""
        size = spec.input
        tokens = spec.attention.rows * spec.attention.columns
        labels = spec.open.max_labels if spec.open else len(bank)
        shape = 1, 3, size.height, size.width
        return cls(source, payload, sha256, shape, tokens, labels, spec.fp32_until, spec.open, bank)

    def with_batch(self, count: int) -> Network:
        """The same network with another batch size."""
        return replace(self, input_shape=(count, *self.input_shape[1:]))


def open_core() -> openvino.Core:
    """OpenVINO's entry point, one for the process.

    On processors with AMX it gives the thread that creates it a stack for signals, and frees that when it is closed: if
    another thread closed it, the next signal would end the process.

    Raises:
        BackendError: a parent process had opened it before it forked this one.
        MissingPartError: it is not installed, or its libraries cannot be loaded.
    """
    process = os.getpid()
    if any(other != process for other in _locks):
        # The parent's threads do not exist here: loading a plan would never return.
        raise errors.BackendError(
            "tagger",
            "a process that was not forked after OpenVINO was used",
            "a fork of one that had used it",
            'Start workers with multiprocessing\'s "spawn" method, or create no tagger before the fork.',
        )
    try:
        with _locks.setdefault(process, Lock()):  # a cache alone lets two threads make one each
            return _core(process)
    except ImportError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # Ctrl-C during the import
            raise error.__cause__ from None
        raise errors.MissingPartError(
            "openvino", "the OpenVINO runtime", str(error), "pip install openvino"
        ) from error


_locks: dict[int, Lock] = {}


@functools.cache
def _core(process: int) -> openvino.Core:
    return runtimes.openvino().Core()


@functools.cache
def _front_ends() -> openvino.frontend.FrontEndManager:
    """OpenVINO's readers of formats; the first call lists its folder."""
    return runtimes.openvino().frontend.FrontEndManager()


def read_network(payload: bytes, source: str) -> openvino.Model:
    """Parse an ONNX network, which is checked to be plain data first.

    Raises:
        UnsafeNetworkError: it is not ONNX as the exporter writes it.
        ModelError: OpenVINO cannot read it.
    """
    check_network(payload, source)
    try:
        # Core.read_model would try all of OpenVINO's formats.
        reader = _front_ends().load_by_framework("onnx")
        return reader.convert(reader.load(io.BytesIO(payload)))
    except Exception as error:  # the front end raises various classes
        got = reason(error)
        fused = "Use the one with native attention: only TensorRT runs fused attention, and pvlr build fuses it itself."
        raise errors.ModelError(
            source,
            "an ONNX network with its weights inside",
            got,
            fused if "DualSoftmaxAttention" in got else "Export it again with pvlr export.",
        ) from error


def compile_network(
    core: openvino.Core,
    network: Network,
    device: str,
    options: dict[str, Any],
    *,
    bf16_behind: str | None = None,
    quantized: bool = False,
) -> tuple[openvino.CompiledModel, ...]:
    """Compile a network; what follows the tensor ``bf16_behind`` computes in bf16, whatever the options say.

    ``quantized``: compute in int8 what the plan has ranges for; else they are removed.

    Returns:
        the compiled network; of an open network the part for frames, and on the CPU the part for labels.

    Raises:
        ModelError: it is not a PVLR network.
        BackendError: the device does not run it.
    """
    model = read_network(network.payload, network.source)
    if not quantized:
        remove_ranges(model)
    _reshape(model, network)
    _check_sizes(model, network)
    for port in model.inputs:
        if port.get_element_type().get_type_name() != "f32":
            _reject(network, "a float32 input", str(port.get_element_type()))
    try:
        fold_constants(model, quantized=quantized)
        labels, model = split_labels(model) if network.open else (None, model)
        if bf16_behind and not lower(model, bf16_behind):
            _reject(network, f"a tensor named {bf16_behind}", "none")
        compiled = core.compile_model(with_packed_pixels(model), device, options)
        if labels is None:
            return (compiled,)
        return compiled, core.compile_model(labels, CPU, label_options())
    except errors.ModelError:
        raise
    except Exception as error:  # OpenVINO raises various classes
        raise errors.BackendError(
            network.source, "a network that compiles", reason(error), "See pvlr doctor."
        ) from error


def _reshape(model: openvino.Model, network: Network) -> None:
    """Set the shapes of the inputs, in place. Raises ModelError if it has other inputs."""
    shapes = _input_shapes(network)
    names = [port.get_names() for port in model.inputs]
    if sorted(name for of_port in names for name in of_port) != sorted(shapes):
        count = "one input" if len(shapes) == 1 else "inputs"
        _reject(network, f"{count} named {', '.join(shapes)}", f"inputs {names}")
    try:
        model.reshape({name: list(shape) for name, shape in shapes.items()})
    # it computes what is constant, and a division by zero is a ValueError
    except Exception as error:
        _reject(network, f"an input of shape {network.input_shape}", reason(error))


def _input_shapes(network: Network) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {IMAGE: network.input_shape}
    return {**shapes, **input_shapes(network.open)} if network.open else shapes


def _check_sizes(model: openvino.Model, network: Network) -> None:
    """Raises UnsafeNetworkError if the network's tensors are larger than in any export.

    A few bytes can ask for any amount of memory, by broadcasting for example. OpenVINO knows all shapes here, and has
    allocated nothing.
    """
    elements: dict[tuple[str, int], int] = {}
    readers: dict[tuple[str, int], int] = {}
    alive = 0
    for node in model.get_ordered_ops():
        name = node.get_name()
        for index, output in enumerate(node.outputs()):
            shape = output.get_partial_shape()
            count = math.prod(shape.get_max_shape()) if shape.rank.is_static else MAX_ELEMENTS + 1
            elements[name, index], readers[name, index] = count, len(output.get_target_inputs())
            alive += count
            if count > MAX_ELEMENTS or alive > _MAX_ELEMENTS_ALIVE:
                raise errors.UnsafeNetworkError(
                    network.source,
                    f"tensors of at most {MAX_ELEMENTS} elements, {_MAX_ELEMENTS_ALIVE} at the same time",
                    f"{node.get_type_name()} with an output of {shape}",
                    "Export it again with pvlr export.",
                )
        for entry in node.inputs():
            source = entry.get_source_output()
            key = source.get_node().get_name(), source.get_index()
            readers[key] -= 1
            if not readers[key]:
                alive -= elements[key]


def check_outputs(compiled: openvino.CompiledModel, network: Network) -> None:
    """Raises ModelError unless the outputs are logits and similarity in the expected shapes."""
    count = network.input_shape[0]
    wanted: dict[str, tuple[int, ...]] = {LOGITS: (count, network.labels)}
    wanted[SIMILARITY] = count, network.tokens, network.labels
    if network.open:
        wanted[FEATURES] = count, network.open.feature_width
    for name, shape in wanted.items():
        port = next((port for port in compiled.outputs if name in port.get_names()), None)
        if port is None:
            _reject(
                network,
                f"an output named {name}",
                f"outputs {[port.get_names() for port in compiled.outputs]}",
            )
        elif tuple(port.get_partial_shape().to_shape()) != shape:
            _reject(network, f"{name} of shape {shape}", str(port.get_partial_shape()))


def _reject(network: Network, expected: str, got: str) -> NoReturn:
    raise errors.ModelError(
        network.source, expected, got, "This is not a PVLR network: create one with pvlr export."
    )


def reason(error: Exception) -> str:
    """The cause in one of OpenVINO's long messages: the last line, unless advice follows it."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith("-- No conversion rule")] or lines[-1:]
    return telling[0].removeprefix("-- ").rstrip(".") if telling else type(error).__name__
