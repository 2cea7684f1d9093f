"""OpenVINO Model API reads what ``pvlr export-openvino`` writes, and gives our scores and tags."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import openvino
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.bundle.bundle import open_bundle
from pvlr_sdk.labels import Knowledge
from pvlr_sdk.models.find import default_plan
from pvlr_sdk.workshop.export.model_api import export_openvino

FP32 = {"INFERENCE_PRECISION_HINT": "f32"}
IMAGES = Path(__file__).parents[4] / "docs/images"


def resized(path: Path, plan: Path) -> np.ndarray:
    """An image of the size of the network: Model API resizes others in another way."""
    spec = open_bundle(plan).manifest.input
    return cv2.resize(
        cv2.imread(str(path)), (spec.width, spec.height), interpolation=cv2.INTER_AREA
    )


@pytest.mark.slow
@pytest.mark.parametrize("bundled", [False, True], ids=["closed", "open"])
def test_model_api_gives_our_scores_and_tags(plan, tmp_path, bundled):
    adapters, models = (
        pytest.importorskip("model_api.adapters"),
        pytest.importorskip("model_api.models"),
    )
    if bundled:
        pytest.importorskip("onnx")
        plan = default_plan()
    path = export_openvino(plan, tmp_path / "out")
    adapter = adapters.OpenvinoAdapter(openvino.Core(), str(path), device="CPU", plugin_config=FP32)
    # All other settings are in the file.
    theirs = models.ClassificationModel(adapter, {"output_raw_scores": True}, preload=True)
    seen = set()
    with Tagger(plan, precision="fp32") as ours:
        shift = np.log(ours.thresholds / (1 - ours.thresholds))
        for image in sorted(IMAGES.glob("*.jpg"))[:6]:
            frame = resized(image, plan)
            result, other = ours.predict(frame), theirs(frame)
            assert np.abs(other.raw_scores - 1 / (1 + np.exp(shift - result.logits))).max() < 1e-5
            tags = {tag.label.replace(" ", "_") for tag in result}
            assert {label.name for label in other.top_labels} == tags
            seen.add(frozenset(tags))
    assert len(seen) > 1 or not bundled


@pytest.mark.slow
def test_labels_of_another_bank_are_part_of_the_network(tmp_path):
    pytest.importorskip("onnx")
    Knowledge.load().bank(["espresso", "cat"]).save(tmp_path / "bank.safetensors")
    path = export_openvino(None, tmp_path, bank=tmp_path / "bank.safetensors")
    model = openvino.Core().read_model(path)
    assert model.get_rt_info(["model_info", "labels"]).value == "espresso cat"
    assert (len(model.inputs), model.output().partial_shape[1].get_length()) == (1, 2)


def test_a_plan_that_is_not_there(tmp_path):
    with pytest.raises(errors.PlanNotFoundError):
        export_openvino(tmp_path / "no.plan", tmp_path)
    assert list(tmp_path.iterdir()) == []
