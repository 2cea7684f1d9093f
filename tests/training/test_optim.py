"""Learning rates compared with their formulas, also after a restart."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pvlr_training.config import load_config
from pvlr_training.model.network import PVLR
from pvlr_training.optim import moving_average, open_optimizer, open_schedule


def rates(steps: int, done: int = 0, start: float | None = None) -> list[list[float]]:
    """The rates of both groups at each remaining step, from any rate of the restored optimizer."""
    groups = [{"params": [torch.nn.Parameter(torch.zeros(2))], "lr": lr} for lr in (1.0, 0.1)]
    optimizer = torch.optim.AdamW(groups)
    if start is not None:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] = start
    schedule = open_schedule(optimizer, [1.0, 0.1], steps, done)
    rows = []
    for _ in range(done, steps):
        rows.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        schedule.step()
    return rows


def test_onecycle_peaks_where_the_warmup_ends() -> None:
    first = [row[0] for row in rates(40)]
    assert first[0] == pytest.approx(1 / 25)
    assert max(first) == pytest.approx(1.0)
    assert first.index(max(first)) == 7
    assert first[-1] < 1e-4


def test_a_restored_optimizer_goes_on_with_the_same_rates() -> None:
    assert rates(40, done=17, start=0.77) == rates(40)[17:]


@pytest.mark.parametrize("steps", [0, 1, 2, 5])  # of five, a fifth is one
def test_hardly_any_steps(steps: int) -> None:
    assert len(rates(steps)) == steps


def test_moving_average_starts_short() -> None:
    average, value = [torch.zeros(1)], [torch.ones(1)]
    moving_average(0.9)(average, value, 1)
    assert average[0].item() == pytest.approx(1 - 2 / 11)
    average = [torch.zeros(1)]
    moving_average(0.9)(average, value, 1000)
    assert average[0].item() == pytest.approx(0.1)


@pytest.mark.parametrize("pretrained", [True, False])
def test_depthwise_filters_are_trained_only_from_random_weights(
    write_config: Any, pretrained: bool
) -> None:
    config = load_config(write_config())
    model = PVLR(config.data.labels, 64, 64, config.model)
    chosen = config.model_copy(
        update={"model": config.model.model_copy(update={"pretrained": pretrained})}
    )
    trained = {
        id(p)
        for group in open_optimizer("finetune", model, chosen).param_groups
        for p in group["params"]
    }
    convolutions = [
        module for module in model.backbone.modules() if isinstance(module, torch.nn.Conv2d)
    ]
    left_out = [module for module in convolutions if id(module.weight) not in trained]
    assert left_out == (
        [module for module in convolutions if module.groups > 1] if pretrained else []
    )
