"""Calibrated scores: fitted as scikit-learn's logistic regression, moved into the weights, and in every plan."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason='needs PyTorch: pip install ".[train]"')

import torch
from rich.console import Console
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from pvlr_sdk.workshop.evaluation.metrics import calibration_error
from pvlr_training.calibration import Calibration, fit_calibration
from pvlr_training.checkpoint import load_model, read_checkpoint
from pvlr_training.model.config import ModelConfig
from pvlr_training.model.heads import open_head
from pvlr_training.train import train


def draw(scales: float, offsets: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits (count, C), and targets that are present as often as the calibrated scores say."""
    generator = np.random.default_rng(0)
    logits = generator.normal(-1, 2, (count, len(offsets)))
    present = generator.random(logits.shape) < expit(scales * logits + offsets)
    return logits, np.where(present, 1, -1).astype(np.int8)


def test_the_fit_is_logistic_regression_and_unknown_targets_do_not_count() -> None:
    logits, targets = draw(1.7, np.array([-2.0]), 20_000)
    targets[::3] = 0
    logits[::3] = 9.0
    fitted = fit_calibration(logits, targets)
    known = targets[:, 0] != 0
    reference = LogisticRegression(C=np.inf).fit(logits[known], targets[known, 0])
    assert fitted.scale == pytest.approx(reference.coef_[0, 0], abs=0.01)
    assert fitted.offsets[0] == pytest.approx(reference.intercept_[0], abs=0.01)


def test_scores_become_probabilities_on_other_images() -> None:
    offsets = np.linspace(-3, -1, 40)
    logits, targets = draw(1.7, offsets, 4000)
    fitted = fit_calibration(logits[::2], targets[::2])
    others = logits[1::2]
    calibrated = expit(fitted.scale * others + np.array(fitted.offsets))
    assert calibration_error(expit(others), targets[1::2]) > 0.1
    assert calibration_error(calibrated, targets[1::2]) < 0.01
    np.testing.assert_allclose(fitted.offsets, offsets, atol=0.4)


def test_few_images_that_are_all_right_keep_a_finite_scale() -> None:
    targets = np.array([[1], [-1], [1], [-1]], np.int8)
    fitted = fit_calibration(4.0 * targets, targets)
    assert 1 < fitted.scale < 2
    assert fit_calibration(-4.0 * targets, targets).scale >= 0.1
    assert fit_calibration(4.0 * targets, -np.ones_like(targets)) == Calibration(1.0, (0.0,))


@pytest.mark.parametrize("name", ["pvlr", "linear"])
def test_a_head_has_the_calibration_in_its_weights_and_keeps_its_maps(name: str) -> None:
    torch.manual_seed(0)
    config = ModelConfig(head=name, width=32)
    head = open_head(16, (3, 5), 7, config).eval()
    tokens = torch.randn(2, 15, 16)
    bank = torch.randn(7, 32)
    offsets = torch.randn(7)
    with torch.inference_mode():
        before = head(tokens, bank)
        maps = (head.alpha * before.similarity).softmax(1)
        head.calibrate(1.7, offsets)
        after = head(tokens, bank)
        torch.testing.assert_close(after.logits, 1.7 * before.logits + offsets)
        torch.testing.assert_close((head.alpha * after.similarity).softmax(1), maps)


@pytest.mark.slow
def test_a_run_is_deployed_calibrated_and_trained_on_as_it_was(
    write_config: Any, photos: Path, tmp_path: Path
) -> None:
    folder = train(write_config(), out=tmp_path / "run", console=Console(quiet=True))
    tensors, data = read_checkpoint(folder / "model.safetensors")
    calibration = data["calibration"]
    assert calibration["scale"] != 1
    model, _, extra = load_model(folder)
    before = tensors["head.predict.bias"]
    expected = calibration["scale"] * before + torch.tensor(calibration["offsets"])
    torch.testing.assert_close(model.head.predict.bias.detach(), expected)
    assert extra["holdout"]["ECE"] < 50
