"""The Hub's own library accepts what ``pvlr export-hub`` writes, and the Tagger opens it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.models.find import default_plan
from pvlr_sdk.workshop.export.hugging_face import export_hub

hub = pytest.importorskip("huggingface_hub")


def test_the_card_is_valid_and_has_the_results(tmp_path):
    folder = export_hub(None, tmp_path / "hub", licence="apache-2.0")
    card = hub.ModelCard.load(folder / "README.md")
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "pvlr-sdk")
    assert card.data.pipeline_tag == "image-classification"
    assert {result.dataset_name for result in card.data.eval_results} == {
        "COCO testdev",
        "VOC 2007 testdev",
    }
    assert card.text.lstrip().startswith("# pvlr-lite2-open")
    assert hub.repocard.metadata_load(folder / "README.md")["model-index"]


def test_a_copy_with_other_thresholds_has_no_results_of_the_release(tmp_path):
    folder = Path(default_plan()).parent
    copy = shutil.copytree(folder, tmp_path / "copy")
    manifest = (copy / "engine.json").read_text()
    (copy / "engine.json").write_text(manifest + "\n")
    (copy / "engine.sig").unlink()
    card = hub.ModelCard.load(export_hub(copy, tmp_path / "hub") / "README.md")
    assert card.data.eval_results is None
    assert card.text.lstrip().startswith("# pvlr-lite2-open\n\nMulti-label image tagging")


def test_a_folder_gives_the_scores_of_its_plan(plan, tmp_path, photo):
    folder = export_hub(plan, tmp_path / "hub")
    config = json.loads((folder / "config.json").read_text())
    with Tagger.from_pretrained(folder, top_k=3) as there, Tagger(plan, top_k=3) as here:
        assert config["problem_type"] == "multi_label_classification"
        assert list(config["id2label"].values()) == there.labels == here.labels
        assert np.array_equal(there.predict(photo).scores, here.predict(photo).scores)
    assert hub.ModelCard.load(folder / "README.md").data.license == "other"


def test_a_repository_that_was_downloaded(plan, tmp_path, monkeypatch, photo):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--me--tagger/snapshots" / ("0" * 40)
    (tmp_path / "models--me--tagger/refs").mkdir(parents=True)
    (tmp_path / "models--me--tagger/refs/main").write_text("0" * 40)
    export_hub(plan, snapshot)
    with Tagger.from_pretrained("me/tagger") as tagger:
        assert len(tagger.predict(photo).scores) == len(tagger.labels)
    with pytest.raises(errors.PlanNotFoundError, match="hf download me/other"):
        Tagger.from_pretrained("me/other")


def test_a_folder_without_a_plan(tmp_path):
    with pytest.raises(errors.PlanNotFoundError, match=r"engine\.plan"):
        Tagger.from_pretrained(tmp_path)
