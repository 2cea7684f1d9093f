"""Compiles an ONNX network to a TensorRT plan, with one code path for TensorRT 10.3 to 11.x (and TensorRT-RTX).

Networks are strongly typed: the graph determines the precision. TensorRT 11 supports nothing else, and TensorRT 10 has
a flag for it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Event, Thread
from typing import TYPE_CHECKING, TypeVar

from .... import errors
from ....backends.tensorrt import plugins
from ....backends.tensorrt.library import Messages, logger, start, version
from ....bundle.network import check_network
from ..tensorrt_options import BuildOptions
from .parse import parse

if TYPE_CHECKING:
    import tensorrt as trt

    from ..builder import Watcher

Result = TypeVar("Result")

_MIB = 2**20
_DLA_IDLE = "no layer in the network can run on DLA"
"""Part of a warning by TensorRT, which builds the plan nevertheless."""


@dataclass(frozen=True)
class Compiled:
    """A plan, and TensorRT's timing cache for the next build."""

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
    """Build a plan with TensorRT. Ctrl-C ends the build at TensorRT's next step and leaves nothing behind.

    Args:
        payload: the ONNX network, strongly typed.
        source: names the network in errors.
        options: batches, memory, compatibility.
        messages: receives TensorRT's log.
        with_plugins: the network has nodes of the plugin library.
        timings: the timing cache of an earlier build with the same version and GPU; b"" for none.
        watcher: receives the progress.

    Raises:
        MissingPartError: there is no plugin library.
        UnsafeNetworkError: the network is not ONNX as the exporter writes it.
        UnsupportedNodeError: the parser does not support a node.
        BuildError: TensorRT cannot build a plan.
        KeyboardInterrupt: the user interrupted the build.
    """
    check_network(payload, source)
    cancelled = Event()

    def compile_collecting() -> Compiled:
        with messages.collect(verbose=options.verbose):
            if with_plugins:
                import tensorrt as trt

                plugins.load(trt.get_plugin_registry())
            return _compile(
                payload, source, options, messages, timings, _monitor(watcher, cancelled)
            )

    return _interruptible(compile_collecting, cancelled)


def _compile(
    payload: bytes,
    source: str,
    options: BuildOptions,
    messages: Messages,
    timings: bytes,
    progress: trt.IProgressMonitor,
) -> Compiled:
    import tensorrt as trt

    messages.reason("")  # drop the errors of an earlier build
    before = len(messages.lines)
    builder = start(trt.Builder, messages)
    network = builder.create_network(_strongly_typed())
    parse(trt, network, logger(), payload, source, dla=options.dla is not None)
    config = builder.create_builder_config()
    # On by default: it rounds the inputs of float32 products to 10 bits. The graph uses float32 for its accuracy.
    config.clear_flag(trt.BuilderFlag.TF32)
    if options.verbose:  # the inspector then describes the layers of the plan
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    set_batch(builder, network, config, options)
    if options.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace * _MIB)
    _set_compatibility(config, options)
    if options.dla is not None:
        _use_dla(builder, config, options.dla, source)
    cache = _timing_cache(config, timings, messages)
    config.progress_monitor = progress
    plan: trt.IHostMemory | None = builder.build_serialized_network(network, config)
    if plan is None:
        raise errors.BuildError(
            source,
            f"a plan from TensorRT {version()}",
            messages.reason("no reason given"),
            "See the build log next to the plan; --attention native or a larger --workspace may help.",
        )
    if options.dla is not None and any(_DLA_IDLE in line for line in list(messages.lines)[before:]):
        raise errors.BuildError(
            source,
            f"layers that DLA core {options.dla} can run",
            "none: the GPU would run all layers",
            "Omit --dla. The build log next to the plan has the reason for each layer.",
        )
    return Compiled(bytes(plan), b"" if cache is None else bytes(cache.serialize()))


def _strongly_typed() -> int:
    import tensorrt as trt

    # Deprecated in TensorRT 11, whose networks are always strongly typed; a version without the flag needs none.
    flag = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def set_batch(
    builder: trt.Builder,
    network: trt.INetworkDefinition,
    config: trt.IBuilderConfig,
    options: BuildOptions,
) -> None:
    """Fix the network's batch if there is one size, otherwise add a profile for each size that the backend runs.

    Raises:
        OptionError: the network has a fixed batch of another size.
    """
    import tensorrt as trt

    batch = options.batch
    image = network.get_input(0)
    fixed, *others = (image.shape[axis] for axis in range(len(image.shape)))
    if fixed not in (-1, batch.min) or fixed == batch.min != batch.max:
        raise errors.OptionError(
            "batch", f"{fixed}, which the network fixes", str(batch), "Omit --batch."
        )
    if batch.min == batch.max:
        image.shape = trt.Dims([batch.min, *others])
        return
    for size in (batch.min, batch.max):  # TensorRT selects kernels for one size of each profile
        profile = builder.create_optimization_profile()
        profile.set_shape(image.name, *[trt.Dims([size, *others])] * 3)
        config.add_optimization_profile(profile)


def _set_compatibility(config: trt.IBuilderConfig, options: BuildOptions) -> None:
    import tensorrt as trt

    level = {"capability": "SAME_COMPUTE_CAPABILITY", "ampere+": "AMPERE_PLUS"}.get(
        options.hardware
    )
    if level is not None:
        value = getattr(trt.HardwareCompatibilityLevel, level, None)
        if value is None:
            raise errors.BuildError(
                "hardware",
                "a TensorRT that supports this compatibility",
                f"version {version()}",
                "Update TensorRT, or build with --hardware this.",
            )
        config.hardware_compatibility_level = value
    if options.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        # A runtime inside the plan would be native code that runs when the plan is loaded.
        config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)


def _use_dla(builder: trt.Builder, config: trt.IBuilderConfig, core: int, source: str) -> None:
    import tensorrt as trt

    if core >= builder.num_DLA_cores:
        raise errors.BuildError(
            source,
            f"DLA core {core}",
            f"a device with {builder.num_DLA_cores} DLA cores for this TensorRT",
            "Omit --dla to run on the GPU.",
        )
    config.default_device_type = trt.DeviceType.DLA
    config.DLA_core = core
    config.set_flag(trt.BuilderFlag.GPU_FALLBACK)


def _timing_cache(
    config: trt.IBuilderConfig, timings: bytes, messages: Messages
) -> trt.ITimingCache | None:
    """The build's timing cache, to be kept alive until its end; empty if TensorRT rejects the timings."""
    for data in (timings, b""):
        cache: trt.ITimingCache | None = config.create_timing_cache(data)
        if cache is not None and config.set_timing_cache(cache, ignore_mismatch=False):
            return cache
        messages.reason("")  # TensorRT logs an error; the build continues without it
    return None


def _monitor(watcher: Watcher | None, cancelled: Event) -> trt.IProgressMonitor:
    """A progress monitor that calls ``watcher``, and ends the build at its next step once ``cancelled`` is set."""
    import tensorrt as trt

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if watcher:
                watcher.begin(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            if watcher:
                watcher.step(phase_name, step + 1)
            return not cancelled.is_set()

        def phase_finish(self, phase_name: str) -> None:
            if watcher:
                watcher.end(phase_name)

    return Monitor()


def _interruptible(work: Callable[[], Result], cancelled: Event) -> Result:
    """Run ``work`` in a thread, so that the main thread handles Ctrl-C while TensorRT's native code runs."""
    outcome: Future[Result] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # re-raised in the caller
            outcome.set_exception(error)

    thread = Thread(target=run, name="pvlr-tensorrt-build")
    try:
        thread.start()
        # A signal that arrives just before the main thread blocks does not wake it: it looks again every second.
        while not wait([outcome], timeout=1).done:
            pass
        return outcome.result()
    except KeyboardInterrupt:
        cancelled.set()
        wait([outcome])  # TensorRT stops at its next step
        thread.join()
        raise
