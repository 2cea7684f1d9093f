"""The first step of an ensemble on a TensorRT engine: encoded images or frames to the engine's input."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from pvlr_sdk.bundle.manifest import parse_manifest
from pvlr_sdk.cores import available_cores
from pvlr_sdk.errors import PvlrError
from pvlr_sdk.frames.frames import load_frame
from pvlr_sdk.frames.preprocess import Preprocessor


class TritonPythonModel:
    """One instance, with a thread per core."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read the pixel contract from the manifest beside this file."""
        path = Path(args["model_repository"], args["model_version"], "engine.json")
        self._preprocess = Preprocessor(parse_manifest(path.read_bytes(), path).input)
        self._threads = ThreadPoolExecutor(available_cores())

    def execute(self, requests: list[Any]) -> list[Any]:
        """Decode and preprocess the images of several requests; an invalid image is an error of its own request."""
        return list(self._threads.map(self._one, requests))

    def finalize(self) -> None:
        """End the threads."""
        self._threads.shutdown()

    def _one(self, request: Any) -> Any:
        image, frame = (pb_utils.get_input_tensor_by_name(request, name) for name in ("IMAGE", "FRAME"))
        if image is not None:
            frames, color = image.as_numpy().ravel().tolist(), "bgr"
        else:
            frames, color = [None] if frame is None else list(frame.as_numpy()), "rgb"
        try:
            loaded = [load_frame(one, color) for one in frames]
            inputs = np.stack([self._preprocess(one.pixels, one.order) for one in loaded])
        except PvlrError as error:
            message = f"{type(error).__name__}: {error}"
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG))
        return pb_utils.InferenceResponse(output_tensors=[pb_utils.Tensor("image", inputs)])
