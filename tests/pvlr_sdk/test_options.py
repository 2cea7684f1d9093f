"""Options of a tagger and of a call: thresholds, top_k, device, precision, threads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors


class TestOptions:
    def test_deployed_thresholds_by_default(self, tagger: Tagger, photo: np.ndarray) -> None:
        result = tagger.predict(photo)
        np.testing.assert_allclose(result.thresholds, np.linspace(0.3, 0.6, 5), rtol=1e-6)
        expected = [
            name
            for name, s, t in zip(tagger.labels, result.scores, result.thresholds, strict=True)
            if s >= t
        ]
        assert sorted(tag.label for tag in result) == sorted(expected)

    def test_one_threshold_for_all_and_per_label(
        self, plan: Path, tagger: Tagger, photo: np.ndarray
    ) -> None:
        assert len(tagger.predict(photo, threshold=0.0)) == 5
        assert len(tagger.predict(photo, threshold=1.0)) == 0
        one = tagger.predict(photo, threshold={"cat": 0.0})
        assert one.thresholds[1] == 0.0
        assert one.thresholds[0] == np.float32(0.3)
        made = Tagger(plan, threshold={"cat": 0.9}, top_k=1)
        changed = made.predict(photo, threshold={"person": 0.1})
        assert changed.thresholds[:2].tolist() == [np.float32(0.1), np.float32(0.9)]
        assert len(made.predict(photo, threshold=0.0)) == 1
        assert len(made.predict(photo, threshold=0.0, top_k=4)) == 4

    def test_a_result_does_not_change_the_tagger(self, tagger: Tagger, photo: np.ndarray) -> None:
        before = tagger.thresholds
        with pytest.raises(ValueError, match="read-only"):
            tagger.predict(photo).thresholds[:] = 1
        tagger.predict(photo, threshold={"cat": 0.5}).thresholds[:] = 1
        np.testing.assert_array_equal(tagger.thresholds, before)

    def test_top_k_keeps_the_best_that_reach_their_threshold(
        self, tagger: Tagger, photo: np.ndarray
    ) -> None:
        all_tags = tagger.predict(photo, threshold=0.0).tags
        assert tagger.predict(photo, threshold=0.0, top_k=2).tags == all_tags[:2]
        cut = (all_tags[0].score + all_tags[1].score) / 2
        assert [tag.label for tag in tagger.predict(photo, threshold=cut, top_k=2)] == [
            all_tags[0].label
        ]

    @pytest.mark.parametrize(
        "threshold", [-0.1, 1.1, float("nan"), "0.5", True, {"cat": 2}, {"cat": None}]
    )
    def test_bad_thresholds(
        self, plan: Path, tagger: Tagger, photo: np.ndarray, threshold: Any
    ) -> None:
        with pytest.raises(errors.OptionError):
            tagger.predict(photo, threshold=threshold)
        with pytest.raises(errors.OptionError):
            Tagger(plan, threshold=threshold)

    @pytest.mark.parametrize("top_k", [0, -1, 1.5, True, "3"])
    def test_bad_top_k(self, plan: Path, tagger: Tagger, photo: np.ndarray, top_k: Any) -> None:
        with pytest.raises(errors.OptionError):
            tagger.predict(photo, top_k=top_k)
        with pytest.raises(errors.OptionError):
            Tagger(plan, top_k=top_k)

    def test_unknown_label(self, tagger: Tagger, photo: np.ndarray) -> None:
        with pytest.raises(errors.UnknownLabelError, match="Did you mean 'cat'"):
            tagger.predict(photo, threshold={"cats": 0.5})

    @pytest.mark.parametrize(
        ("option", "values"),
        [
            ("device", ["tpu", None]),
            ("precision", ["fp8"]),
            ("num_threads", [0, 1.5]),
            ("operating_point", ["recall", "F1", "", None, 0.9]),
        ],
    )
    def test_bad_options(self, plan: Path, option: str, values: list[Any]) -> None:
        for value in values:
            with pytest.raises(errors.OptionError, match=f"{option}: expected"):
                Tagger(plan, **{option: value})

    def test_info_and_labels(self, plan: Path, exported: Any) -> None:
        made = Tagger(plan, num_threads=1, device="cpu")
        assert made.labels == ["person", "cat", "coffee cup", "rocket", "dining table"]
        assert made.info["threads"] == 1
        assert made.info["backend"] == "openvino"
        assert made.info["precision"] in ("fp32", "bf16")
        assert made.info["plan"] == str(plan)
        made.labels.clear()
        assert len(made.labels) == 5
