"""Running plans: contexts, engines, plugins, runtimes."""

from __future__ import annotations

import ctypes
import json
import weakref
from types import SimpleNamespace
from typing import Any

import numpy as np

from .types import DataType, Dims, ILogger, LayerInformationFormat, TensorIOMode, start
from .world import MAGIC, world


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._shape: tuple[int, ...] = ()
        self._addresses: dict[str, int] = {}
        self.profile: int | None = None
        engine.contexts.add(self)

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        used = [context for context in self._engine.contexts if context.profile == profile_index]
        if used and world.profile_error:
            self._engine.logger.log(ILogger.Severity.ERROR, world.profile_error)
            return False
        self.profile = profile_index
        return 0 <= profile_index < world.profiles

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self._shape = tuple(shape)
        return True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return True

    def execute_async_v3(self, stream_handle: int) -> bool:
        from pvlr_sdk.backends.tensorrt.cuda import CudaError

        assert not world.cuda.broken, "TensorRT is called in a lost context"
        parent = self._engine.runtime.parent
        assert parent is None or parent() is not None, "the lean runtime's parent is gone"
        if world.enqueue_loses == ("capture" if stream_handle in world.cuda._capturing else "run"):
            world.cuda.broken = 719
            return False
        if world.enqueue_error:
            self._engine.logger.log(ILogger.Severity.ERROR, world.enqueue_error)
            return False
        if world.capture_error and stream_handle in world.cuda._capturing:
            raise CudaError(world.capture_error, "execute_async_v3")
        addresses, shape, cuda = dict(self._addresses), self._shape, world.cuda
        cuda.kernel_launches += stream_handle not in cuda._capturing

        def run() -> None:
            ports = self._engine.session.get_inputs()
            inputs = {
                port.name: np.empty(shape if port.name == "image" else port.shape, np.float32)
                for port in ports
            }
            for name, array in inputs.items():
                ctypes.memmove(
                    array.ctypes.data, cuda.at(addresses[name], array.nbytes), array.nbytes
                )
            names = [name for name in addresses if name not in inputs]
            outputs = self._engine.session.run(names, inputs)
            for name, output in zip(names, outputs, strict=True):
                data = np.ascontiguousarray(output)
                ctypes.memmove(cuda.at(addresses[name], data.nbytes), data.ctypes.data, data.nbytes)

        cuda.enqueue(stream_handle, run)
        return True


class EngineInspector:
    """Says what tests want: ``world.layers``."""

    def get_engine_information(self, format: LayerInformationFormat) -> str:
        assert format == LayerInformationFormat.JSON
        return json.dumps({"Layers": world.layers, "Bindings": []})


class ICudaEngine:
    def __init__(self, onnx: bytes, logger: ILogger, runtime: Runtime) -> None:
        import onnxruntime

        self.runtime = runtime
        if b"DualSoftmaxAttention" in onnx:
            assert world.loaded, "Plugin not found"
            from pvlr_sdk.workshop.compile.onnx import edit
            from pvlr_sdk.workshop.compile.onnx.fused import with_definition

            onnx = with_definition(edit.load(onnx, "plan")).SerializeToString()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            onnx, options, providers=["CPUExecutionProvider"]
        )
        self.logger = logger
        self.contexts: weakref.WeakSet[IExecutionContext] = weakref.WeakSet()
        self._tensors = {
            tensor.name: (TensorIOMode.INPUT, tensor) for tensor in self.session.get_inputs()
        }
        self._tensors |= {
            tensor.name: (TensorIOMode.OUTPUT, tensor) for tensor in self.session.get_outputs()
        }

    def create_execution_context(self, strategy: Any = 0) -> IExecutionContext | None:
        if world.contexts <= 0:
            world.logger.log(
                ILogger.Severity.ERROR, "Requested size was 1048576 bytes: OutOfMemory"
            )
            return None
        world.contexts -= 1
        return IExecutionContext(self)

    def create_engine_inspector(self) -> EngineInspector:
        return EngineInspector()

    @property
    def num_optimization_profiles(self) -> int:
        return world.profiles

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
        mode, tensor = self._tensors[name]
        shape = [side if isinstance(side, int) else -1 for side in tensor.shape]
        # TensorRT knows what ONNX Runtime knows after a run
        if mode == TensorIOMode.OUTPUT and -1 in shape[1:]:
            shape[1:] = self._outputs_of_zeros()[name].shape[1:]
        return Dims(shape)

    def _outputs_of_zeros(self) -> dict[str, np.ndarray]:
        zeros = {
            port.name: np.zeros(
                [side if isinstance(side, int) else 1 for side in port.shape], np.float32
            )
            for port in self.session.get_inputs()
        }
        names = [port.name for port in self.session.get_outputs()]
        return dict(zip(names, self.session.run(names, zeros), strict=True))


class IPluginRegistry:
    def __init__(self) -> None:
        self._creators: list[Any] = []

    @property
    def all_creators(self) -> list[Any]:
        return self._creators

    def load_library(self, plugin_path: str) -> Any:
        if world.plugin_error:
            world.logger.log(ILogger.Severity.ERROR, f"{plugin_path}: undefined symbol")
            return None
        world.loaded.append(plugin_path)
        for name in ("DualSoftmaxAttention", "TagHead"):
            self._creators.append(
                SimpleNamespace(name=name, plugin_namespace="pvlr", plugin_version="1")
            )
        return object()


_registry = IPluginRegistry()


def get_plugin_registry() -> IPluginRegistry:
    """The registry of this process."""
    return _registry


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        start(logger)
        self.logger = logger
        self.engine_host_code_allowed = False
        self.parent: Any = None

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
        assert not self.engine_host_code_allowed
        if not serialized_engine.startswith(MAGIC):
            self.logger.log(
                ILogger.Severity.ERROR,
                "Serialization assertion plan->header.magicTag == rt::kPLAN_MAGIC_TAG failed.",
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
