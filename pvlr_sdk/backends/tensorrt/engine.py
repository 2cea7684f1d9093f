"""A plan deserialised by TensorRT, with its inputs and outputs checked."""

from __future__ import annotations

import os
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn

from ... import errors
from ...bundle.schema import FEATURES, IMAGE, LOGITS, SIMILARITY
from . import plugins
from .library import Messages, start

if TYPE_CHECKING:
    import tensorrt as trt

LEAN_RUNTIME = "PVLR_LEAN_RUNTIME"
"""Environment variable: path of libnvinfer_lean.so of the version that built a plan, to run a version-compatible plan
in a newer TensorRT."""


@dataclass(frozen=True)
class Shapes:
    """The shapes of one frame: input (3, height, width), logits (labels,), similarity (tokens, labels).

    A plan without attention maps has no similarity: ``tokens`` is 0. In an open plan, ``labels`` is its room; it also
    has ``features`` (features,), and the inputs ``projections``, which all frames share.
    """

    height: int
    width: int
    tokens: int
    labels: int
    features: int | None = None
    projections: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def outputs(self, batch: int) -> dict[str, tuple[int, ...]]:
        """The shape of each output for a batch."""
        outputs: dict[str, tuple[int, ...]] = {LOGITS: (batch, self.labels)}
        if self.tokens:
            outputs[SIMILARITY] = batch, self.tokens, self.labels
        return outputs if self.features is None else {**outputs, FEATURES: (batch, self.features)}

    def of(self, batch: int) -> dict[str, tuple[int, ...]]:
        """The shape of each tensor for a batch."""
        return {
            IMAGE: (batch, 3, self.height, self.width),
            **self.outputs(batch),
            **self.projections,
        }


_MESSAGES = 200
"""Number of TensorRT's newest messages that are kept."""


class Engine:
    """A deserialised plan. Create and use it inside ``Driver.current()``.

    Args:
        payload: the verified plan.
        source: names the plan in errors.
        shapes: the shapes that its tensors must have.
        other_version: an older TensorRT built it: load that version's lean runtime.
        with_plugins: it needs the plugin library.
        dla: the core of the deep learning accelerator that it was built for.
        largest: batches have the plan's largest size: use its last optimisation profile, otherwise the first.

    Raises:
        MissingPartError: there is no plugin library.
        BackendError: TensorRT cannot load the plan; the message has the reason.
        DeviceMemoryError: the GPU has too little free memory.
        ModelError: it is not a PVLR network.
    """

    def __init__(
        self,
        payload: bytes,
        source: str,
        shapes: Shapes,
        *,
        other_version: bool,
        with_plugins: bool,
        dla: int | None,
        largest: bool,
    ) -> None:
        self.source = source
        self.messages = Messages(limit=_MESSAGES)
        with self.messages.collect():
            self._runtime = self._start(other_version, with_plugins, dla)
            engine: trt.ICudaEngine | None = self._runtime.deserialize_cuda_engine(payload)
        if engine is None:
            self._fail("a plan that this TensorRT can load")
        self._engine = engine
        self._check(shapes)
        self.profile = engine.num_optimization_profiles - 1 if largest else 0

    def context(self) -> trt.IExecutionContext:
        """A new execution context, with device memory of its own."""
        with self.messages.collect():
            context: trt.IExecutionContext | None = self._engine.create_execution_context()
        if context is None:
            self._fail("an execution context")
        return context

    def _start(self, other_version: bool, with_plugins: bool, dla: int | None) -> trt.Runtime:
        import tensorrt as trt

        runtime = start(trt.Runtime, self.messages)
        # Host code in a plan would run in this process: never allow it.
        runtime.engine_host_code_allowed = False
        if other_version:
            runtime = self._lean(runtime)
        if with_plugins:
            plugins.load(
                runtime.get_plugin_registry() if other_version else trt.get_plugin_registry()
            )
        if dla is not None:
            runtime.DLA_core = dla
        return runtime

    def _lean(self, runtime: trt.Runtime) -> trt.Runtime:
        path = os.environ.get(LEAN_RUNTIME, "")
        lean: trt.Runtime | None = runtime.load_runtime(path) if path else None
        if lean is None:
            raise errors.PlanMismatchError(
                self.source,
                "the TensorRT version that built the plan, or its lean runtime",
                self.messages.reason(
                    f"no file named by {LEAN_RUNTIME}" if not path else f"{path} does not load"
                ),
                f"Set {LEAN_RUNTIME} to that version's libnvinfer_lean.so, or build the plan again.",
            )
        lean.engine_host_code_allowed = False
        # The runtime that loaded it must outlive it and its engines, which the bindings do not ensure: the finalizer
        # keeps a reference.
        weakref.finalize(lean, id, runtime).atexit = False
        return lean

    def _check(self, shapes: Shapes) -> None:
        import tensorrt as trt

        engine = self._engine
        wanted = shapes.of(-1)
        outputs = shapes.outputs(-1)
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        if sorted(names) != sorted(wanted):
            self._reject(f"tensors {', '.join(wanted)}", ", ".join(names))
        for name, shape in wanted.items():
            dims = engine.get_tensor_shape(name)
            got = tuple(dims[axis] for axis in range(len(dims)))
            first = shape[0] if name in shapes.projections else "batch"
            if got[1:] != shape[1:] or len(got) != len(shape) or first not in (got[0], "batch"):
                self._reject(f"{name} of shape {(first, *shape[1:])}", str(got))
            if engine.get_tensor_dtype(name) != trt.DataType.FLOAT:
                self._reject(f"{name} in float32", str(engine.get_tensor_dtype(name)))
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            if is_input == (name in outputs):
                right, wrong = ("an output", "an input") if is_input else ("an input", "an output")
                self._reject(f"{name} as {right}", wrong)

    def _fail(self, expected: str) -> NoReturn:
        reason = self.messages.reason("no reason given")
        if "out of memory" in reason.lower() or "outofmemory" in reason.lower():
            raise errors.DeviceMemoryError(
                self.source,
                f"{expected} in the GPU's free memory",
                reason,
                "Close other programs that use the GPU, or build the plan with a smaller --batch.",
            )
        raise errors.BackendError(
            self.source, expected, reason, "Build it again on this machine; see pvlr doctor."
        )

    def _reject(self, expected: str, got: str) -> NoReturn:
        raise errors.ModelError(
            self.source,
            expected,
            got,
            "This is not a PVLR plan: create one with pvlr export and pvlr build.",
        )
