"""The model of a Triton repository runs a TensorRT plan as it runs one for the CPU."""

from __future__ import annotations

import importlib.util
import json
import sys
from types import SimpleNamespace

import numpy as np

from pvlr_sdk import Tagger
from pvlr_sdk.workshop.export.triton import export_triton


class Backend:
    """The functions of Triton's ``triton_python_backend_utils`` that the model calls."""

    InferenceResponse = SimpleNamespace
    TritonError = type(
        "TritonError", (tuple,), {"INVALID_ARG": "INVALID_ARG", "__new__": lambda cls, *args: args}
    )
    Tensor = staticmethod(lambda name, array: SimpleNamespace(name=name, array=array))

    def get_input_tensor_by_name(self, request, name):
        return SimpleNamespace(as_numpy=lambda: request[name]) if name in request else None


def test_a_tensorrt_plan(gpu_plan, tmp_path, photo, monkeypatch):
    folder = export_triton(gpu_plan, tmp_path / "repository", threads=1)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", Backend())
    spec = importlib.util.spec_from_file_location("model", folder / "1/model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    model = module.TritonPythonModel()
    parameters = {"threads": {"string_value": "1"}, "optimize": {"string_value": "latency"}}
    config = json.dumps({"parameters": parameters})
    model.initialize(
        {"model_config": config, "model_repository": str(folder), "model_version": "1"}
    )
    frames = np.stack([photo, photo[::-1]])
    response, *refused = model.execute([{"FRAME": frames}, {"FRAME": frames, "IMAGE": frames}, {}])
    model.finalize()
    message = "OptionError: inputs: expected either IMAGE or FRAME, got both or neither. Send one of them."
    assert [one.error for one in refused] == [(message, "INVALID_ARG")] * 2
    scores, tags = response.output_tensors
    with Tagger(gpu_plan) as tagger:
        expected = [tagger.predict(frame, color="rgb") for frame in frames]
    assert np.array_equal(scores.array, [result.scores for result in expected])
    assert [json.loads(row[0]) for row in tags.array] == [
        result.to_dict()["tags"] for result in expected
    ]
