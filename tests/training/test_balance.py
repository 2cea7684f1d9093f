"""Images of rare labels are drawn more often, in an order that depends on the seed and the epoch only."""

from __future__ import annotations

import pytest
import torch

from pvlr_training.config import StageConfig
from pvlr_training.loop import draw_weights, epoch_order

SETTINGS = StageConfig(batch=10)


def table() -> torch.Tensor:
    """1,000 images: a label on half of them, a rare one on 10, and one that is stated for 20 images and shown by 10."""
    targets = torch.full((1000, 3), -1, dtype=torch.int8)
    targets[:500, 0] = 1
    targets[490:500, 1] = 1
    targets[:, 2] = 0
    targets[:10, 2], targets[10:20, 2] = 1, -1
    return targets


def test_the_weight_is_that_of_the_rarest_label_among_the_images_that_state_it() -> None:
    weights = draw_weights(table(), 0.04)
    assert weights is not None
    torch.testing.assert_close(weights[490:500], torch.full((10,), 2.0))
    assert (weights[:490] == 1).all(), "a label of half of the images that state it is not rare"
    assert (weights[500:] == 1).all()
    assert draw_weights(table(), 0.0) is None


def test_a_label_without_any_image_changes_nothing() -> None:
    targets = torch.tensor([[1, -1], [-1, -1]], dtype=torch.int8)
    assert draw_weights(targets, 0.5).tolist() == [1, 1]  # type: ignore[union-attr]


def test_images_are_drawn_as_often_as_their_weights_say() -> None:
    weights = torch.ones(1000)
    weights[:100], weights[100:200] = 3.0, 0.5
    expected = weights * 1000 / weights.sum()
    total = torch.zeros(1000)
    for epoch in range(40):
        order, picks = epoch_order(1000, 4, SETTINGS, 7, epoch, weights)
        assert order.shape == picks.shape == (100, 10)
        counts = order.flatten().bincount(minlength=1000)
        assert ((counts - expected).abs() < 1).all(), "rounded up or down"
        total += counts
    for part in (slice(0, 100), slice(100, 200), slice(200, 1000)):
        assert total[part].mean().item() / 40 == pytest.approx(
            expected[part].mean().item(), rel=0.03
        )


def test_the_order_is_mixed_repeatable_and_that_of_before_without_weights() -> None:
    weights = torch.ones(1000)
    weights[:10] = 5.0
    first, again, other = (
        epoch_order(1000, 1, SETTINGS, 7, epoch, weights)[0] for epoch in (0, 0, 1)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    rows = [row for row, batch in enumerate(first.tolist()) if 3 in batch]
    assert max(rows) - min(rows) > 1, "the copies of an image are in different batches"
    plain = torch.randperm(1000, generator=torch.Generator().manual_seed(7000))
    assert torch.equal(epoch_order(1000, 1, SETTINGS, 7, 0)[0].flatten(), plain)
