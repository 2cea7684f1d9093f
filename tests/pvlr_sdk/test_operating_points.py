"""The two operating points of a plan: from the label bank through the build to the tagger and the site."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.bundle.bundle import labels_path, manifest_path, write_thresholds
from pvlr_sdk.bundle.label_bank import LabelBank
from pvlr_sdk.cameras.control.control import Control
from pvlr_sdk.cameras.serve.api.settings import settings_of
from pvlr_sdk.cameras.site import SiteConfig
from pvlr_sdk.cameras.site.factory import make_detectors, make_tagger, thresholds_of
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.workshop.compile.build import build
from tests.manifests import edit_manifest

F1 = np.linspace(0.3, 0.6, 5).astype(np.float32)
PRECISE = np.float32([0.7, 0.8, 0.9, 0.95, 0.6])


def test_a_build_carries_both_from_the_label_bank_of_the_network(
    make_network: Callable[..., Any], tmp_path: Path
) -> None:
    network = make_network(tmp_path / "network")
    bank = LabelBank.load(labels_path(network.onnx))
    both = LabelBank(bank.names, bank.embeddings, bank.thresholds, bank.text, PRECISE)
    both.save(labels_path(network.onnx))
    manifest = build(network.onnx, tmp_path / "engine.plan")
    assert manifest.format == 2
    assert [label.precise_threshold for label in manifest.labels] == [0.7, 0.8, 0.9, 0.95, 0.6]
    bundle = load_bundle(tmp_path / "engine.plan")
    assert bundle.labels.to_bytes() == both.to_bytes() != bank.to_bytes()
    np.testing.assert_array_equal(bundle.labels.precise_thresholds, PRECISE)


def test_each_operating_point_has_its_thresholds(two_points: Path, photo: np.ndarray) -> None:
    with Tagger(two_points) as f1, Tagger(two_points, operating_point="precise") as precise:
        np.testing.assert_array_equal(f1.thresholds, F1)
        np.testing.assert_array_equal(precise.thresholds, PRECISE)
        assert (f1.info["operating_point"], precise.info["operating_point"]) == ("f1", "precise")
        np.testing.assert_array_equal(precise.predict(photo).thresholds, PRECISE)
        np.testing.assert_array_equal(precise.predict(photo).scores, f1.predict(photo).scores)
        with pickle.loads(pickle.dumps(precise)) as again, precise.load(two_points) as reloaded:
            np.testing.assert_array_equal(again.thresholds, PRECISE)
            np.testing.assert_array_equal(reloaded.thresholds, PRECISE)
    with Tagger(two_points, operating_point="precise", threshold={"cat": 0.1}) as changed:
        assert changed.thresholds[:2].tolist() == [np.float32(0.7), np.float32(0.1)]


def test_a_plan_with_one_list_uses_it_for_both(
    plan: Path, recwarn: pytest.WarningsRecorder
) -> None:
    assert json.loads(manifest_path(plan).read_text())["format"] == 1
    with Tagger(plan, operating_point="precise") as tagger:
        np.testing.assert_array_equal(tagger.thresholds, F1)
        assert tagger.info["operating_point"] is None
    assert not recwarn.list


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda raw: raw["labels"][2].update(precise_threshold=0.1),
            "precise_threshold: 0.1 is below threshold",
        ),
        (lambda raw: raw["labels"][2].update(precise_threshold=1.0), "labels.2.precise_threshold"),
        (
            lambda raw: raw["labels"][2].update(precise_threshold="high"),
            "labels.2.precise_threshold",
        ),
        (
            lambda raw: raw["labels"][2].pop("precise_threshold"),
            "all must have a precise_threshold in format 2",
        ),
        (lambda raw: raw.update(format=1), "none in format 1"),
    ],
)
def test_invalid_thresholds_in_a_manifest(
    two_points: Path, change: Callable[[Any], object], message: str
) -> None:
    edit_manifest(two_points, change)
    with pytest.raises(errors.ManifestError, match=message):
        Tagger(two_points)


@pytest.mark.parametrize(
    ("precise", "message"),
    [
        (PRECISE[:4], r"precise_thresholds float32 \(5,\)"),
        (PRECISE.astype(np.float64), "float64"),
        (F1 - np.float32(0.01), "from thresholds to below 1"),
        (np.ones(5, np.float32), "up to 1.0"),
        (np.full(5, np.nan, np.float32), "nan"),
    ],
)
def test_invalid_thresholds_in_a_label_bank(
    two_points: Path, precise: np.ndarray, message: str
) -> None:
    bank = LabelBank.load(labels_path(two_points))
    with pytest.raises(errors.LabelBankError, match=message):
        LabelBank(bank.names, bank.embeddings, bank.thresholds, bank.text, precise)
    before = manifest_path(two_points).read_bytes()
    with pytest.raises(errors.LabelBankError):
        write_thresholds(load_bundle(two_points), F1, precise)
    assert manifest_path(two_points).read_bytes() == before


def test_a_site_uses_the_precise_thresholds_unless_it_sets_its_own(two_points: Path) -> None:
    def deployed(**raw: Any) -> list[float]:
        raw = {"plan": str(two_points), "threads": 1, "cameras": {"door": "test://"}, **raw}
        config = SiteConfig.parse(raw, source="test")
        with make_tagger(config) as tagger:
            thresholds = thresholds_of(config.events, tagger)
            levels = make_detectors(config, tagger)["door"][0].levels
            assert levels == {label: (0, thresholds.at(label).value) for label in tagger.labels}
            return [threshold for _, threshold in levels.values()]

    assert deployed() == deployed(operating_point="precise") == pytest.approx(PRECISE)
    assert deployed(operating_point="f1") == pytest.approx(F1)
    assert deployed(events={"thresholds": {"cat": 0.2}}) == pytest.approx([0.7, 0.2, *PRECISE[2:]])
    assert deployed(events={"threshold": 0.5}) == pytest.approx([0.5] * 5)


def test_the_page_shows_the_threshold_in_use_and_returns_to_it(two_points: Path) -> None:
    write_thresholds(load_bundle(two_points), F1, np.maximum(F1, np.float32(0.99997)))
    with Tagger(two_points, operating_point="precise") as tagger:
        control = Control(tagger)
        shown = {one.label: one.plan_threshold for one in settings_of(control).labels}
        assert shown["cat"] == 0.99997  # to four digits it would be 1, which no score reaches
        control.configure({"cat": shown["cat"]})
        assert control.thresholds.at("cat").value == 0.99997
