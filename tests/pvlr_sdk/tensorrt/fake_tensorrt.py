"""NVIDIA's ``tensorrt``, as far as the SDK uses it: test_types.py holds its signatures against those of the stubs.

Its plans are the ONNX network, which ONNX Runtime computes on a :class:`FakeCuda`'s memory. ``world`` is what a test
changes: the GPU, and what goes wrong.
"""

from __future__ import annotations

import ctypes
import weakref
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np

__version__ = "10.3.0"
MAGIC = b"FAKEPLAN"

world = SimpleNamespace(
    cuda=None,  # the FakeCuda to run on
    start_error=None,  # what TensorRT logs before it gives neither builder nor runtime
    timings_refused=None,  # "create" or "set": where TensorRT refuses a timing cache that is not empty
    contexts=100,  # so many contexts fit
    build_error=None,  # what the builder logs before it gives no plan
    enqueue_error=None,  # what an inference logs before it fails
    capture_error=None,  # the CUDA code that enqueueing in a capture causes
    dla_cores=0,
    dla_layers=True,  # the DLA can run some
    phases=[("Building", 2), ("Timing", 3)],
    during_build=lambda: None,
    plugin_error=False,
    loaded=[],  # plugin libraries
    seen=SimpleNamespace(),  # the last config, profile, parser
)


class NetworkDefinitionCreationFlag(IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class BuilderFlag(IntEnum):
    FP16 = 0
    INT8 = 2
    GPU_FALLBACK = 4
    VERSION_COMPATIBLE = 13
    EXCLUDE_LEAN_RUNTIME = 14
    TF32 = 7


class MemoryPoolType(IntEnum):
    WORKSPACE = 0


class DeviceType(IntEnum):
    GPU = 0
    DLA = 1


class DataType(IntEnum):
    FLOAT = 0
    HALF = 1


class TensorIOMode(IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class HardwareCompatibilityLevel(IntEnum):
    NONE = 0
    AMPERE_PLUS = 1
    SAME_COMPUTE_CAPABILITY = 2


class ProfilingVerbosity(IntEnum):
    LAYER_NAMES_ONLY = 0
    DETAILED = 2


class ILogger:
    class Severity(IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    ERROR = Severity.ERROR
    INFO = Severity.INFO
    VERBOSE = Severity.VERBOSE

    def __init__(self) -> None:
        pass

    def log(self, severity: Any, msg: str) -> None:
        raise NotImplementedError


class IProgressMonitor:
    def __init__(self) -> None:
        pass

    def phase_finish(self, phase_name: str) -> None:
        pass

    def phase_start(self, phase_name: str, parent_phase: str, num_steps: int) -> None:
        pass

    def step_complete(self, phase_name: str, step: int) -> bool:
        return True


class Dims:
    def __init__(self, shape: list[int]) -> None:
        self._shape = list(shape)

    def __len__(self) -> int:
        return len(self._shape)

    def __getitem__(self, arg0: int) -> int:
        return self._shape[arg0]


class IHostMemory:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def __bytes__(self) -> bytes:
        return self._data

    @property
    def nbytes(self) -> int:
        return len(self._data)


class ITensor:
    def __init__(self, name: str, shape: list[int]) -> None:
        self.name, self._shape = name, shape

    @property
    def shape(self) -> Dims:
        return Dims(self._shape)


class INetworkDefinition:
    def __init__(self, flags: int) -> None:
        self._flags = flags
        self.onnx = b""
        self.inputs: list[ITensor] = []

    @property
    def num_inputs(self) -> int:
        return len(self.inputs)

    def get_input(self, index: int) -> ITensor:
        return self.inputs[index]


class ParserError:
    def __init__(self, name: str, operator: str, words: str) -> None:
        self._name, self._operator, self._words = name, operator, words

    def desc(self) -> str:
        return self._words

    def code(self) -> int:
        return 8

    def file(self) -> str:
        return "ModelImporter.cpp"

    def func(self) -> str:
        return "parseNode"

    def line(self) -> int:
        return 1

    def node(self) -> int:
        return 3

    def node_name(self) -> str:
        return self._name

    def node_operator(self) -> str:
        return self._operator

    def local_function_stack(self) -> list[str]:
        return []

    def local_function_stack_size(self) -> int:
        return 0


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        self._network, self._logger = network, logger
        self._errors: list[ParserError] = []

    def parse(self, model: bytes, path: str | None = None) -> bool:
        import onnx

        try:
            graph = onnx.load_from_string(bytes(model)).graph
        except Exception:
            self._errors.append(ParserError("", "", "Failed to parse the ONNX model."))
            return False
        for node in graph.node:
            if node.op_type == "Unheard":
                self._errors.append(ParserError(node.name, node.op_type, "no importer registered for op: Unheard"))
                return False
        self._network.onnx = bytes(model)
        for tensor in graph.input:
            shape = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in tensor.type.tensor_type.shape.dim]
            self._network.inputs.append(ITensor(tensor.name, shape))
        return True

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> ParserError:
        return self._errors[index]


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Dims, opt: Dims, max: Dims) -> None:
        self.shapes[input] = [list(dims) for dims in (min, opt, max)]

    def __bool__(self) -> bool:
        return bool(self.shapes)


class ITimingCache:
    def __init__(self, data: bytes) -> None:
        self.data = data

    def serialize(self) -> IHostMemory:
        return IHostMemory(self.data)


class IBuilderConfig:
    def __init__(self) -> None:
        self.default_device_type = DeviceType.GPU
        self.DLA_core = -1
        self.hardware_compatibility_level = HardwareCompatibilityLevel.NONE
        self.profiling_verbosity = ProfilingVerbosity.LAYER_NAMES_ONLY
        self.builder_optimization_level = 3
        self.progress_monitor: Any = None
        self.flags = 1 << BuilderFlag.TF32
        self.pools: dict[Any, int] = {}
        self.profiles: list[IOptimizationProfile] = []
        self.cache: ITimingCache | None = None

    def set_flag(self, flag: BuilderFlag) -> None:
        assert flag not in (BuilderFlag.FP16, BuilderFlag.INT8), "gone from TensorRT 11"
        self.flags |= 1 << flag

    def clear_flag(self, flag: BuilderFlag) -> None:
        self.flags &= ~(1 << flag)

    def get_flag(self, flag: BuilderFlag) -> bool:
        return bool(self.flags & 1 << flag)

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self.pools[pool] = pool_size

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        world.seen.given = [*getattr(world.seen, "given", []), bytes(serialized_timing_cache)]
        if serialized_timing_cache and world.timings_refused == "create":
            return None
        return ITimingCache(bytes(serialized_timing_cache))

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache.data and world.timings_refused == "set":
            return False
        self.cache = cache
        return True


def _start(logger: ILogger) -> None:
    """The bindings' words where TensorRT gives nothing."""
    if world.start_error:
        logger.log(ILogger.Severity.ERROR, world.start_error)
        raise TypeError("pybind11::init(): factory function returned nullptr")


class Builder:
    def __init__(self, logger: ILogger) -> None:
        _start(logger)
        self._logger = logger

    @property
    def num_DLA_cores(self) -> int:  # noqa: N802
        return world.dla_cores

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        assert flags == 1 << NetworkDefinitionCreationFlag.STRONGLY_TYPED
        return INetworkDefinition(flags)

    def create_builder_config(self) -> IBuilderConfig:
        world.seen.config = IBuilderConfig()
        return world.seen.config

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        monitor = config.progress_monitor
        for phase, steps in world.phases if monitor else []:
            monitor.phase_start(phase, None, steps)
            for step in range(steps):
                world.during_build()
                if not monitor.step_complete(phase, step):
                    self._logger.log(ILogger.Severity.ERROR, "Build cancelled by the progress monitor")
                    return None
            monitor.phase_finish(phase)
        if world.build_error:
            self._logger.log(ILogger.Severity.ERROR, world.build_error)
            return None
        if config.default_device_type == DeviceType.DLA and not world.dla_layers:
            words = "setDefaultDeviceType was called but no layer in the network can run on DLA."
            self._logger.log(ILogger.Severity.WARNING, words)
        self._logger.log(ILogger.Severity.INFO, "Engine generation completed")
        if config.cache is not None:
            config.cache.data = b"timings " + network.onnx[:8]
        return IHostMemory(plan(network.onnx))


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._shape: tuple[int, ...] = ()
        self._addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shape = tuple(shape)
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        from pvlr_sdk.backends.tensorrt.cuda import CudaError

        parent = self._engine.runtime.parent
        assert parent is None or parent() is not None, "the lean runtime's parent is gone"
        if world.enqueue_error:
            self._engine.logger.log(ILogger.Severity.ERROR, world.enqueue_error)
            return False
        if world.capture_error and stream_handle in world.cuda._capturing:
            raise CudaError(world.capture_error, "execute_async_v3")
        addresses, shape, cuda = dict(self._addresses), self._shape, world.cuda
        cuda.kernel_launches += stream_handle not in cuda._capturing

        def run() -> None:
            image = np.empty(shape, np.float32)
            ctypes.memmove(image.ctypes.data, cuda.at(addresses["image"], image.nbytes), image.nbytes)
            names = [name for name in addresses if name != "image"]
            outputs = self._engine.session.run(names, {"image": image})
            for name, output in zip(names, outputs, strict=True):
                data = np.ascontiguousarray(output)
                ctypes.memmove(cuda.at(addresses[name], data.nbytes), data.ctypes.data, data.nbytes)

        cuda.enqueue(stream_handle, run)
        return True


class ICudaEngine:
    def __init__(self, onnx: bytes, logger: ILogger, runtime: Runtime) -> None:
        import onnxruntime

        self.runtime = runtime
        if b"DualSoftmaxAttention" in onnx:
            assert world.loaded, "Plugin not found"
            from pvlr_sdk.graph import edit
            from pvlr_sdk.graph.fused import with_definition

            onnx = with_definition(edit.load(onnx, "plan")).SerializeToString()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        self.logger = logger
        self._tensors = {tensor.name: (TensorIOMode.INPUT, tensor) for tensor in self.session.get_inputs()}
        self._tensors |= {tensor.name: (TensorIOMode.OUTPUT, tensor) for tensor in self.session.get_outputs()}

    def create_execution_context(self, strategy: Any = 0) -> IExecutionContext | None:
        if world.contexts <= 0:
            self.logger.log(ILogger.Severity.ERROR, "Requested size was 1048576 bytes: OutOfMemory")
            return None
        world.contexts -= 1
        return IExecutionContext(self)

    @property
    def num_io_tensors(self) -> int:
        return len(self._tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self._tensors)[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return self._tensors[name][0]

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType.FLOAT if self._tensors[name][1].type == "tensor(float)" else DataType.HALF

    def get_tensor_shape(self, name: str) -> Dims:
        return Dims([side if isinstance(side, int) else -1 for side in self._tensors[name][1].shape])


class IPluginRegistry:
    def __init__(self) -> None:
        self._creators: list[Any] = []

    @property
    def all_creators(self) -> list[Any]:
        return self._creators

    def load_library(self, plugin_path: str) -> Any:
        if world.plugin_error:
            return None
        world.loaded.append(plugin_path)
        for name in ("DualSoftmaxAttention", "TagHead"):
            self._creators.append(SimpleNamespace(name=name, plugin_namespace="pvlr", plugin_version="1"))
        return object()


_registry = IPluginRegistry()


def get_plugin_registry() -> IPluginRegistry:
    """The one of this process."""
    return _registry


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        _start(logger)
        self.logger = logger
        self.engine_host_code_allowed = False
        self.parent: Any = None

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        assert not self.engine_host_code_allowed
        if not serialized_engine.startswith(MAGIC):
            self.logger.log(
                ILogger.Severity.ERROR, "Serialization assertion plan->header.magicTag == rt::kPLAN_MAGIC_TAG failed."
            )
            return None
        return ICudaEngine(serialized_engine[len(MAGIC) :], self.logger, self)

    def load_runtime(self, path: str) -> Runtime | None:
        if not path.endswith("libnvinfer_lean.so"):
            return None
        lean = Runtime(self.logger)
        lean.parent = weakref.ref(self)  # the bindings keep no parent alive
        return lean


def plan(onnx: bytes) -> bytes:
    """A plan of this TensorRT."""
    return MAGIC + onnx
