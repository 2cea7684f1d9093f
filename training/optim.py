"""Optimizer, learning rate schedule and moving average of the weights."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR

from .config import Config, Stage
from .model.network import PVLR

_RISE = 0.2
"""The share of the steps in which the learning rate rises."""


def open_optimizer(stage: Stage, model: PVLR, config: Config) -> torch.optim.AdamW:
    """AdamW over the parameters that the stage trains, with a learning rate per part; the others are frozen."""
    settings = config.train.stage(stage)
    model.backbone.requires_grad_(False)
    head = [p for part in (model.head, model.text) for p in part.parameters() if p.requires_grad]
    groups = _groups(head, settings.lr, settings.weight_decay)
    if stage == "finetune":
        # Depthwise filters halve the speed on a CPU, and only a backbone of random weights gains from their training.
        backbone = model.backbone.unfreeze(
            config.train.unfreeze_from, depthwise=not config.model.pretrained
        )
        groups += _groups(backbone, settings.backbone_lr, settings.weight_decay)
    return torch.optim.AdamW(groups)


def _groups(parameters: list[nn.Parameter], lr: float, decay: float) -> list[dict[str, Any]]:
    """Matrices and filters with weight decay, all others (norms, biases, scalars) without."""
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "lr": lr, "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim < 2], "lr": lr, "weight_decay": 0.0},
    ]


def open_schedule(
    optimizer: torch.optim.Optimizer, peaks: list[float], steps: int, done: int
) -> LRScheduler:
    """The learning rate schedule over ``steps`` optimizer steps, advanced by ``done``.

    *onecycle* (Smith and Topin 2018): in a fifth of the steps it rises on a cosine from 1/25 of each peak, moves the
    momentum inversely, and then falls to nearly 0.
    """
    for group, peak in zip(optimizer.param_groups, peaks, strict=True):
        # A restored optimizer has its last rate; a schedule counts from the start.
        group["lr"] = group["initial_lr"] = peak
    steps = max(steps, 1)
    # It divides by the length of the rise minus one step; without a rise, it begins at the peak.
    rise = math.nextafter(_RISE, 0) if _RISE * steps == 1 else _RISE
    schedule = OneCycleLR(optimizer, peaks, total_steps=steps, pct_start=rise)
    with warnings.catch_warnings():
        # the steps already taken
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
        # a resumed run may be set to fewer epochs than it has finished
        for _ in range(min(done, steps)):
            schedule.step()
    return schedule


def moving_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """An exponential moving average with warm-up: after n steps the decay is at most (1 + n) / (10 + n)."""

    @torch.no_grad()
    def update(averages: list[Tensor], current: list[Tensor], steps: Tensor | int) -> None:
        n = int(steps)
        torch._foreach_lerp_(averages, current, 1 - min(decay, (1 + n) / (10 + n)))

    return update
