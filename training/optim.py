"""What moves the weights: parameter groups, the schedule of the rates, and the moving average."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR


def decayed(parameters: list[nn.Parameter], lr: float, decay: float) -> list[dict[str, Any]]:
    """Two groups: matrices and filters with weight decay, everything else (norms, biases, scalars) without."""
    return [
        {"params": [p for p in parameters if p.ndim >= 2], "lr": lr, "weight_decay": decay},
        {"params": [p for p in parameters if p.ndim < 2], "lr": lr, "weight_decay": 0.0},
    ]


def open_schedule(
    kind: str, optimizer: torch.optim.Optimizer, peaks: list[float], warmup: float, steps: int, done: int
) -> LRScheduler:
    """The learning rates over ``steps`` optimizer steps, ``done`` of which lie behind.

    *onecycle* (Smith and Topin 2018) rises along a cosine from a 25th of each peak, moves the momentum the other way,
    and falls to nearly 0; *cosine* (Loshchilov and Hutter 2017) rises along a line and falls to 0. ``warmup`` is the
    share of the steps in which the rate rises.
    """
    for group, peak in zip(optimizer.param_groups, peaks, strict=True):
        # A restored optimizer stands where it stopped; a schedule counts from the start.
        group["lr"] = group["initial_lr"] = peak
    steps = max(steps, 1)
    schedule: LRScheduler
    if kind == "onecycle":
        schedule = OneCycleLR(optimizer, peaks, total_steps=steps, pct_start=warmup)
    else:
        schedule = LambdaLR(optimizer, cosine(warmup * steps, steps))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")  # the steps of the finished epochs
        for _ in range(min(done, steps)):  # a resumed run may have been told of fewer epochs than it has
            schedule.step()
    return schedule


def cosine(warmup: float, steps: int) -> Callable[[int], float]:
    """Share of the peak rate at each step: a line from 0 up to 1 at ``warmup``, then half a cosine down to 0."""

    def share(step: int) -> float:
        if step < warmup:
            return (step + 1) / (warmup + 1)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warmup) / max(steps - warmup, 1))))

    return share


def moving_average(decay: float) -> Callable[[list[Tensor], list[Tensor], Tensor | int], None]:
    """An exponential moving average that starts short: after n steps the decay is at most (1 + n) / (10 + n)."""

    @torch.no_grad()
    def update(averages: list[Tensor], current: list[Tensor], steps: Tensor | int) -> None:
        n = int(steps)
        torch._foreach_lerp_(averages, current, 1 - min(decay, (1 + n) / (10 + n)))

    return update
