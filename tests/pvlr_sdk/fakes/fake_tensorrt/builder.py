"""Building plans: network, parser, profile, configuration, builder."""

from __future__ import annotations

from typing import Any

from .runtime import plan
from .types import (
    BuilderFlag,
    DeviceType,
    Dims,
    HardwareCompatibilityLevel,
    IHostMemory,
    ILogger,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    OnnxParserFlag,
    ProfilingVerbosity,
    start,
)
from .world import world


class ITensor:
    def __init__(self, name: str, shape: list[int]) -> None:
        self.name, self._shape = name, shape

    @property
    def shape(self) -> Dims:
        return Dims(self._shape)

    @shape.setter
    def shape(self, dims: Dims) -> None:
        self._shape = list(dims)


class INetworkDefinition:
    def __init__(self, flags: int) -> None:
        self._flags = flags
        self.onnx = b""
        self.inputs: list[ITensor] = []
        world.seen.network = self

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
        self.flags = 0
        world.seen.parser = self
        self._errors: list[ParserError] = []

    def set_flag(self, flag: OnnxParserFlag) -> None:
        self.flags |= 1 << flag

    def get_flag(self, flag: OnnxParserFlag) -> bool:
        return bool(self.flags & 1 << flag)

    def parse(self, model: bytes, path: str | None = None) -> bool:
        import onnx

        try:
            graph = onnx.load_from_string(bytes(model)).graph
        except Exception:
            self._errors.append(ParserError("", "", "Failed to parse the ONNX model."))
            return False
        for node in graph.node:
            if node.op_type == "Mish":
                self._errors.append(
                    ParserError(node.name, node.op_type, "no importer registered for op: Mish")
                )
                return False
        self._network.onnx = bytes(model)
        for tensor in graph.input:
            shape = [
                dim.dim_value if dim.HasField("dim_value") else -1
                for dim in tensor.type.tensor_type.shape.dim
            ]
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


class Builder:
    def __init__(self, logger: ILogger) -> None:
        start(logger)
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

    def build_serialized_network(
        self, network: INetworkDefinition, config: IBuilderConfig
    ) -> IHostMemory | None:
        monitor = config.progress_monitor
        for phase, steps in world.phases if monitor else []:
            monitor.phase_start(phase, None, steps)
            for step in range(steps):
                world.during_build()
                if not monitor.step_complete(phase, step):
                    self._logger.log(
                        ILogger.Severity.ERROR, "Build cancelled by the progress monitor"
                    )
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
