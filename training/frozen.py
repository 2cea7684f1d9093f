"""Networks without gradients: on a CPU compiled by OpenVINO, which takes a third of PyTorch's time."""

from __future__ import annotations

import copy
import logging
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from pvlr_sdk.backends import runtimes

from .machine import Machine


class Frozen:
    """A network that is no longer trained: images (B, 3, H, W) -> its first output, float32.

    On a GPU it runs in PyTorch. On a CPU, OpenVINO compiles it for each shape of images that it gets; the last batch
    has another one. The weights are those at the first call.
    """

    def __init__(self, network: nn.Module, machine: Machine) -> None:
        self._network = network
        self._machine = machine
        self._compiled: dict[torch.Size, Any] = {}

    def __call__(self, images: Tensor) -> Tensor:
        if images.shape not in self._compiled:
            self._compiled[images.shape] = self._compile(images.float())
        compiled = self._compiled[images.shape]
        if compiled is None:
            with torch.no_grad(), self._machine.autocast():
                images = images.to(self._machine.device, memory_format=torch.channels_last)
                output = self._network(images)
                return (output if isinstance(output, Tensor) else output[0]).float()
        return torch.from_numpy(compiled(images.float().contiguous().numpy())[0])

    def _compile(self, images: Tensor) -> Any:
        """None on a GPU, and for a network that OpenVINO cannot convert."""
        if self._machine.device.type != "cpu":
            return None
        openvino = runtimes.openvino()
        network = copy.deepcopy(self._network).float().eval()
        log = logging.getLogger()
        level = log.level
        filters = log.filters[:]
        handlers = log.handlers[:]
        try:
            # Autocast would become part of the graph: OpenVINO chooses the precision itself.
            with torch.no_grad(), torch.autocast("cpu", enabled=False), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of tracing: the number of labels is a constant
                graph = openvino.convert_model(
                    network, example_input=images[:1], input=list(images.shape)
                )
            return openvino.Core().compile_model(
                graph,
                "CPU",
                {
                    "INFERENCE_PRECISION_HINT": "bf16" if self._machine.bf16 else "f32",
                    "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                },
            )
        except (
            RuntimeError,
            openvino.frontend.GeneralFailure,
            openvino.frontend.OpConversionFailure,
        ):
            # OpenVINO restores the process's log after a success only.
            log.setLevel(level)
            log.filters[:] = filters
            log.handlers[:] = handlers
            return None
