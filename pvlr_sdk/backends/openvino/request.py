"""One request of a compiled network, and the labels that it reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ... import errors
from ...bundle.schema import FEATURES, IMAGE, LOGITS, PROJECTION, SIMILARITY
from ...frames.device import DeviceFrame
from .compilation import reason

if TYPE_CHECKING:
    import numpy as np
    import openvino
    from numpy.typing import NDArray

    from ...frames.frames import Frame
    from ...frames.preprocess import Preprocessor


class Projections(NamedTuple):
    """What an open network reads of a label bank, computed from it."""

    labels: int
    """Those of the bank; the tensors also have the padding."""
    tensors: list[openvino.Tensor]


def create_request(compiled: openvino.CompiledModel) -> openvino.InferRequest:
    """A request of a compiled network. Raises BackendError: there is too little memory."""
    try:
        return compiled.create_infer_request()
    except Exception as error:  # OpenVINO raises various classes
        raise failed(error) from error


class Request:
    """One frame of an OpenVINO request (a ``Slot``); its arrays are views of the request's tensors."""

    __slots__ = (
        "_is_last",
        "_logits",
        "_projections",
        "_request",
        "_similarity",
        "features",
        "input",
    )

    def __init__(self, request: openvino.InferRequest, position: int = 0, count: int = 1) -> None:
        self._request = request
        self._is_last = position == count - 1
        self.input: NDArray[np.float32] = (
            request.get_tensor(IMAGE).data[position].transpose(2, 0, 1)
        )
        self._logits: NDArray[np.float32] = request.get_tensor(LOGITS).data[position]
        self._similarity: NDArray[np.float32] = request.get_tensor(SIMILARITY).data[position]
        self._projections: Projections | None = None
        is_open = any(FEATURES in port.get_names() for port in request.model_outputs)
        self.features: NDArray[np.float32] | None = (
            request.get_tensor(FEATURES).data[position] if is_open else None
        )

    def use(self, projections: Projections | None) -> None:
        """Read these labels from the next inference on; None for a closed network."""
        if projections is None or projections is self._projections:
            return
        for index, tensor in enumerate(projections.tensors):
            self._request.set_tensor(f"{PROJECTION}{index}", tensor)  # requests share it
        self._projections = projections

    def load(self, frame: Frame | DeviceFrame, preprocess: Preprocessor) -> None:
        if isinstance(frame, DeviceFrame):
            raise errors.FrameTypeError(
                "frame",
                "a frame in CPU memory, where this plan runs",
                "one on a GPU",
                "Copy it to the CPU (for example frame.cpu().numpy()), or build a plan with --device tensorrt.",
            )
        preprocess(frame.pixels, frame.order, self.input, frame.crop, frame.chroma)

    def start(self) -> None:
        try:
            if self._is_last:
                self._request.start_async()
        except Exception as error:  # OpenVINO raises various classes
            raise failed(error) from error

    def wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        try:
            self._request.wait()
        except Exception as error:
            raise failed(error) from error
        if self._projections is None:
            return self._logits, self._similarity
        count = self._projections.labels
        return self._logits[:count], self._similarity[:, :count]


def failed(error: Exception) -> errors.BackendError:
    """The error for an inference that OpenVINO did not finish."""
    return errors.BackendError(
        "inference", "a finished inference", reason(error), "See pvlr doctor."
    )
