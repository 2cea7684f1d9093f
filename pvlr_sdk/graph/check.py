"""Holds a converted network against the fp32 one, on any CPU: ONNX Runtime runs both."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import errors, golden
from ..backends import Backend
from ..backends.openvino import INPUT, LOGITS, SIMILARITY
from ..cores import available_cores
from ..device_frames import DeviceFrame
from ..gate import Agreement, compare, logits_of_all
from . import edit
from .convert import spec_of
from .fused import with_definition
from .rounding import emulated

if TYPE_CHECKING:
    from ..backends import Slot
    from ..frames import Frame, FrameLike
    from ..preprocess import Preprocessor


def check(
    payload: bytes,
    reference: bytes,
    frames: Iterable[FrameLike],
    thresholds: NDArray[np.float32],
    targets: NDArray[Any] | None = None,
    *,
    source: str = "network",
) -> Agreement:
    """How well what :func:`convert` made agrees with the network that it was made of.

    Every result inside is rounded to the type that the graph gives it, sums inside an operator are float32: what tensor
    cores compute, but for the order of the sums.

    Args:
        payload, reference: the converted and the fp32 network.
        frames: pictures, read once.
        thresholds: float32 (C,), where a label becomes a tag.
        targets: (N, C) of 1 (present), -1 (absent), 0 (unknown), for the mAP of both.
        source: names the network in errors.

    Raises:
        MissingPartError: ONNX or ONNX Runtime is not installed.
        FrameError: a frame can't be used.
        NonFiniteError: the converted network gives NaN or infinite logits.
    """
    from ..frames import load_frame
    from ..preprocess import Preprocessor

    preprocess = Preprocessor(spec_of(edit.load(reference, "reference"), "reference").input)
    images = []
    for frame in frames:
        pixels, order, _ = load_frame(frame)
        images.append(preprocess(pixels, order))
    logits, exact = (logits_of_all(images, OnnxBackend(network)) for network in (payload, reference))
    if not np.isfinite(logits).all():
        raise golden.non_finite(source)
    return compare(logits, exact, thresholds, targets)


class OnnxBackend(Backend):
    """A network in ONNX Runtime, for comparisons: slow, but it computes what the graph says (a ``Backend``)."""

    def __init__(self, payload: bytes) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise errors.MissingPartError(
                "onnxruntime", expected="ONNX Runtime", got=str(error), hint='Install it: pip install "pvlr-sdk[int8]".'
            ) from error
        model = with_definition(edit.load(payload, "network"))
        self.spec = spec_of(model, "network")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = available_cores()
        options.log_severity_level = 3
        # Integer kernels of a CPU may saturate where a GPU's don't; as floats the same sums are exact.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        self._session = onnxruntime.InferenceSession(
            emulated(model).SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.precision: str = self.spec.precision
        self.parallel = 1
        self.info: dict[str, Any] = {
            "backend": "onnxruntime",
            "version": onnxruntime.__version__,
            "device": "CPU",
            "precision": self.precision,
        }

    def acquire(self) -> Slot:
        size = self.spec.input
        return _Slot(self._session, np.zeros((3, size.height, size.width), np.float32))

    def release(self, slot: Slot) -> None:
        """Slots are not kept."""


class _Slot:
    def __init__(self, session: Any, image: NDArray[np.float32]) -> None:
        self._session = session
        self._outputs: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
        self.input = image

    def load(self, frame: Frame | DeviceFrame, preprocess: Preprocessor) -> None:
        assert not isinstance(frame, DeviceFrame), "comparisons run on the CPU"
        preprocess(frame.pixels, frame.order, self.input)

    def start(self) -> None:
        logits, similarity = self._session.run([LOGITS, SIMILARITY], {INPUT: self.input[None]})
        self._outputs = logits[0], similarity[0]

    def wait(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        assert self._outputs is not None
        return self._outputs
