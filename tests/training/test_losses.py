"""Losses compared with loops in float64."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from pvlr_training.config import load_config
from pvlr_training.losses import StageLoss, asl_probability, asymmetric_loss
from pvlr_training.machine import Machine
from pvlr_training.model.network import PVLR


def _asl_by_hand(x: float, y: int, gamma: float) -> float:
    p = 1 / (1 + math.exp(-x))
    return -math.log(p) if y == 1 else -(p**gamma) * math.log(1 - p)


@pytest.mark.parametrize("gamma", [2.0, 4.0, 0.0])
def test_asymmetric_loss_is_its_formula(gamma: float) -> None:
    torch.manual_seed(0)
    logits = torch.randn(6, 9, dtype=torch.float64) * 3
    targets = torch.randint(-1, 2, (6, 9))
    pairs = zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True)
    expected = sum(_asl_by_hand(x, y, gamma) for x, y in pairs if y) / 6
    assert asymmetric_loss(logits, targets, gamma).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("gamma", [2.0, 4.0, 0.0])
def test_the_loss_of_the_probability_behind_a_score_has_its_minimum_there(gamma: float) -> None:
    scores = torch.linspace(0.06, 0.99, 40, dtype=torch.float64)
    probabilities = asl_probability(scores, gamma)
    assert ((probabilities > 0) & (probabilities < 1)).all()
    assert (probabilities.diff() > 0).all()
    logits = scores.logit()[None].requires_grad_()
    (gradient,) = torch.autograd.grad(
        asymmetric_loss(logits, 2 * probabilities[None] - 1, gamma), logits
    )
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), atol=1e-12, rtol=0)
    assert asl_probability(torch.tensor([0.0, 1.0]), gamma).tolist() == [0, 1]


@pytest.mark.parametrize("gamma", [2.0, 4.0])
def test_a_soft_target_mixes_the_losses_of_both_answers(gamma: float) -> None:
    torch.manual_seed(2)
    logits = torch.randn(6, 9, dtype=torch.float64) * 3
    targets = torch.randint(-1, 2, (6, 9))
    pairs = [
        (x, y)
        for x, y in zip(logits.flatten().tolist(), targets.flatten().tolist(), strict=True)
        if y
    ]
    mixed = (
        sum(0.95 * _asl_by_hand(x, y, gamma) + 0.05 * _asl_by_hand(x, -y, gamma) for x, y in pairs)
        / 6
    )
    assert asymmetric_loss(logits, 0.9 * targets.double(), gamma).item() == pytest.approx(
        mixed, rel=1e-9
    )


def test_unknown_labels_have_no_gradient() -> None:
    logits = torch.zeros(2, 3, requires_grad=True)
    targets = torch.tensor([[1, 0, -1], [0, 0, 1]])
    (gradient,) = torch.autograd.grad(asymmetric_loss(logits, targets, 2), logits)
    assert ((gradient != 0) == (targets != 0)).all()


@pytest.mark.parametrize("value", [60.0, -60.0])
def test_extreme_logits_stay_finite(value: float) -> None:
    logits = torch.full((1, 2), value, requires_grad=True)
    loss = asymmetric_loss(logits, torch.tensor([[1, -1]]), 2)
    loss.backward()
    assert torch.isfinite(torch.cat([loss[None], logits.grad[0]])).all()


def test_labels_that_are_left_out_are_neither_read_nor_learned(write_config: Any) -> None:
    config = load_config(write_config(), ["train.label_dropout=0.5"])
    torch.manual_seed(0)
    model = PVLR(config.data.labels, 64, 64, config.model).eval()
    labels, images = len(config.data.labels), 4
    tokens, targets = (
        torch.randn(images, 4, model.backbone.channels),
        torch.ones(images, labels, dtype=torch.int8),
    )
    loss = StageLoss("head", model, config, Machine("fp32"))

    def learned(bank: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        bank = bank.detach().requires_grad_()
        model.text.forward = lambda: bank
        torch.manual_seed(1)
        value = loss(tokens, targets)
        return value.detach(), torch.autograd.grad(value, bank)[0].abs().sum(1)

    with torch.no_grad():
        bank = model.text()
    value, slopes = learned(bank)
    out = slopes == 0
    assert 0 < out.sum() < labels
    changed = torch.where(out[:, None], torch.randn_like(bank), bank)
    torch.testing.assert_close(learned(changed)[0], value)
    assert not torch.allclose(learned(torch.randn_like(bank))[0], value)
