"""An ONNX network -> the bytes of a TensorRT plan. One code path for TensorRT 10.3 to 11.x (and TensorRT-RTX).

Networks are strongly typed: precision stands in the graph. TensorRT 11 has nothing else, and TensorRT 10 does the same
when asked to.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeVar

from .. import errors
from . import plugins
from .library import Messages, logger, start, version
from .options import BuildOptions
from .parse import parse
from .progress import Nobody, Watcher, monitor

if TYPE_CHECKING:
    import tensorrt as trt

Result = TypeVar("Result")

_MIB = 2**20
_DLA_IDLE = "no layer in the network can run on DLA"
"""In a warning of TensorRT's, which builds the plan all the same."""


@dataclass(frozen=True)
class Compiled:
    """A plan, and what TensorRT learnt about its kernels' times, for the next build."""

    plan: bytes
    timings: bytes


def compile_network(
    payload: bytes,
    source: str,
    options: BuildOptions,
    messages: Messages,
    *,
    with_plugins: bool = False,
    timings: bytes = b"",
    watcher: Watcher | None = None,
) -> Compiled:
    """Let TensorRT build a plan. Ctrl-C ends it at TensorRT's next step, and nothing is left behind.

    Args:
        payload: the ONNX network, its precision written into it.
        source: names it in errors.
        options: batches, memory, compatibility.
        messages: gets TensorRT's log.
        with_plugins: the network has nodes of our plugin library.
        timings: what an earlier build gave, for the same version and GPU; b"" for none.
        watcher: is told how far it is.

    Raises:
        MissingPartError: there is no plugin library.
        UnsupportedNodeError: the parser refuses a node.
        BuildError: TensorRT gives no plan.
        KeyboardInterrupt: the user did not want to wait.
    """
    if with_plugins:
        import tensorrt as trt

        plugins.load(trt.get_plugin_registry())
    cancelled = Event()
    return _interruptible(
        lambda: _compile(payload, source, options, messages, timings, watcher or Nobody(), cancelled), cancelled
    )


def _compile(
    payload: bytes,
    source: str,
    options: BuildOptions,
    messages: Messages,
    timings: bytes,
    watcher: Watcher,
    cancelled: Event,
) -> Compiled:
    import tensorrt as trt

    messages.reason("")  # an earlier build's errors are not this one's
    before = len(messages.lines)
    log = logger(messages, verbose=options.verbose)
    builder = start(trt.Builder, log, messages)
    network = builder.create_network(_strongly_typed())
    parse(trt, network, log, payload, source)
    config = builder.create_builder_config()
    # On by default: float32 products of inputs with 10 bits. What the graph has in float32 is there for its accuracy.
    config.clear_flag(trt.BuilderFlag.TF32)
    _set_batch(builder, network, config, options)
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace * _MIB)
    _set_compatibility(config, options)
    if options.dla is not None:
        _use_dla(builder, config, options.dla, source)
    cache = _timing_cache(config, timings, messages)
    watching = monitor(watcher, cancelled)
    config.progress_monitor = watching
    plan: trt.IHostMemory | None = builder.build_serialized_network(network, config)
    if plan is None:
        raise errors.BuildError(
            source,
            expected=f"a plan from TensorRT {version()}",
            got=messages.reason("no reason given"),
            hint="The build log beside the plan says more; --attention native, or more --workspace, may help.",
        )
    if options.dla is not None and any(_DLA_IDLE in line for line in list(messages.lines)[before:]):
        raise errors.BuildError(
            source,
            expected=f"layers that DLA core {options.dla} can run",
            got="none: the GPU would run them all",
            hint="Leave --dla out. The build log beside the plan says what each layer lacks.",
        )
    return Compiled(bytes(plan), b"" if cache is None else bytes(cache.serialize()))


def _strongly_typed() -> int:
    import tensorrt as trt

    # Deprecated in TensorRT 11, where there is nothing else; a version without the flag needs none.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _set_batch(
    builder: trt.Builder, network: trt.INetworkDefinition, config: trt.IBuilderConfig, options: BuildOptions
) -> None:
    import tensorrt as trt

    profile = builder.create_optimization_profile()
    batch = options.batch
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = [tensor.shape[axis] for axis in range(len(tensor.shape))]
        if shape[0] == -1:
            sizes = (trt.Dims([size, *shape[1:]]) for size in (batch.least, batch.usual, batch.most))
            profile.set_shape(tensor.name, *sizes)
        elif (batch.least, batch.most) != (shape[0], shape[0]):
            raise errors.OptionError(
                "batch", expected=f"{shape[0]}, which the network fixes", got=str(batch), hint="Leave --batch out."
            )
    config.add_optimization_profile(profile)


def _set_compatibility(config: trt.IBuilderConfig, options: BuildOptions) -> None:
    import tensorrt as trt

    level = {"capability": "SAME_COMPUTE_CAPABILITY", "ampere+": "AMPERE_PLUS"}.get(options.hardware)
    if level is not None:
        found = getattr(trt.HardwareCompatibilityLevel, level, None)
        if found is None:
            raise errors.BuildError(
                "hardware",
                expected="a TensorRT that knows this compatibility",
                got=f"version {version()}",
                hint="Update TensorRT, or build with --hardware this.",
            )
        config.hardware_compatibility_level = found
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        # A runtime inside the plan would be native code that loading it runs.
        config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)


def _use_dla(builder: trt.Builder, config: trt.IBuilderConfig, core: int, source: str) -> None:
    import tensorrt as trt

    if core >= builder.num_DLA_cores:
        raise errors.BuildError(
            source,
            expected=f"DLA core {core}",
            got=f"a device with {builder.num_DLA_cores} of them, for this TensorRT",
            hint="Leave --dla out: the GPU runs the plan.",
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _timing_cache(config: trt.IBuilderConfig, timings: bytes, messages: Messages) -> trt.ITimingCache | None:
    """The cache in use, to be kept as long as the build: an empty one if TensorRT refuses the timings."""
    for data in (timings, b""):
        cache: trt.ITimingCache | None = config.create_timing_cache(data)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return cache
        messages.reason("")  # TensorRT calls it an error; the build goes on without
    return None


def _interruptible(work: Callable[[], Result], cancelled: Event) -> Result:
    """Run ``work`` in a thread: the main one stays free for Ctrl-C, which TensorRT's own code would hold up."""
    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # the caller's to see
            outcome.set_exception(error)

    thread = Thread(target=run, name="pvlr-tensorrt-build")
    try:
        thread.start()
        return outcome.result()
    except KeyboardInterrupt:
        cancelled.set()
        wait([outcome])  # it ends at its next step
        thread.join()
        raise
