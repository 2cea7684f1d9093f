"""Triton's Python backend on ``pvlr_sdk.Tagger``: the model.py of a repository that ``pvlr export-triton`` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from pvlr_sdk.errors import OptionError, PvlrError
from pvlr_sdk.tagger import Tagger

_INPUTS = OptionError(
    "inputs", expected="either IMAGE or FRAME", got="both or neither", hint="Send one of them."
)


class TritonPythonModel:
    """One instance: a tagger in a process of its own."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the plan next to this file."""
        parameters = json.loads(args["model_config"])["parameters"]
        plan = Path(args["model_repository"], args["model_version"], "engine.plan")
        threads = int(parameters["threads"]["string_value"]) or None
        self._tagger = Tagger(
            plan, num_threads=threads, optimize=parameters["optimize"]["string_value"]
        )

    def execute(self, requests: list[Any]) -> list[Any]:
        """Tag the images of several requests; an invalid image is an error of its own request."""
        images = [_frames(request) for request in requests]
        outcomes = self._tagger.predict_stream(frame for frames in images for frame in frames)
        return [_response([next(outcomes) for _ in frames]) for frames in images]

    def finalize(self) -> None:
        """Free the model."""
        self._tagger.close()


def _frames(request: Any) -> list[Any]:
    """The encoded images of a request, shape (batch, 1), or its frames, shape (batch, height, width, 3), RGB."""
    image, frame = (pb_utils.get_input_tensor_by_name(request, name) for name in ("IMAGE", "FRAME"))
    if (image is None) == (frame is None):
        return []  # which _response reports
    if image is not None:
        return image.as_numpy().ravel().tolist()
    return [np.ascontiguousarray(image[:, :, ::-1]) for image in frame.as_numpy()]


def _response(outcomes: list[Any]) -> Any:
    failed = next(
        (outcome for outcome in outcomes if isinstance(outcome, PvlrError)),
        None if outcomes else _INPUTS,
    )
    if failed is not None:
        message = f"{type(failed).__name__}: {failed}"
        return pb_utils.InferenceResponse(
            error=pb_utils.TritonError(message, pb_utils.TritonError.INVALID_ARG)
        )
    scores = np.stack([outcome.scores for outcome in outcomes])
    tags = [json.dumps(outcome.to_dict()["tags"]).encode() for outcome in outcomes]
    tensors = [
        pb_utils.Tensor("SCORES", scores),
        pb_utils.Tensor("TAGS", np.array(tags, np.object_)[:, None]),
    ]
    return pb_utils.InferenceResponse(output_tensors=tensors)
