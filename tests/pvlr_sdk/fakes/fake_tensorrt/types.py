"""Enumerations, the logger, and values that both the builder and the runtime use."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from .world import world


class NetworkDefinitionCreationFlag(IntEnum):
    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class OnnxParserFlag(IntEnum):
    NATIVE_INSTANCENORM = 0  # and in later versions ADJUST_FOR_DLA


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


class LayerInformationFormat(IntEnum):
    ONELINE = 0
    JSON = 1


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


def start(logger: ILogger) -> None:
    """Fails as the bindings do where TensorRT returns no object. The first logger stays that of the process."""
    world.logger = world.logger or logger
    if world.start_error:
        logger.log(ILogger.Severity.ERROR, world.start_error)
        raise TypeError("pybind11::init(): factory function returned nullptr")
