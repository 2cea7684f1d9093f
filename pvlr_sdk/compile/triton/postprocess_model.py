"""The last step of an ensemble on a TensorRT engine: logits to scores and tags."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils

from pvlr_sdk.bundle.manifest import parse_manifest
from pvlr_sdk.result import sigmoid


class TritonPythonModel:
    """Scores at or above the thresholds of the manifest."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read labels and thresholds from the manifest beside this file."""
        path = Path(args["model_repository"], args["model_version"], "engine.json")
        labels = parse_manifest(path.read_bytes(), path).labels
        self._names = [label.name for label in labels]
        self._thresholds = np.array([label.threshold for label in labels], np.float32)

    def execute(self, requests: list[Any]) -> list[Any]:
        """The responses, in the order of the requests."""
        return [self._one(request) for request in requests]

    def _one(self, request: Any) -> Any:
        logits = pb_utils.get_input_tensor_by_name(request, "logits").as_numpy().astype(np.float32)
        if not np.isfinite(logits).all():
            return pb_utils.InferenceResponse(error=pb_utils.TritonError("NonFiniteError: the logits are not finite"))
        scores = sigmoid(logits)
        tags = np.array([json.dumps(self._tags(row)).encode() for row in scores], np.object_)[:, None]
        return pb_utils.InferenceResponse(
            output_tensors=[pb_utils.Tensor("SCORES", scores), pb_utils.Tensor("TAGS", tags)]
        )

    def _tags(self, scores: Any) -> list[dict[str, Any]]:
        chosen = np.flatnonzero(scores >= self._thresholds)
        best = chosen[np.argsort(-scores[chosen], kind="stable")].tolist()
        return [
            {"label": self._names[i], "score": float(scores[i]), "threshold": float(self._thresholds[i])} for i in best
        ]
