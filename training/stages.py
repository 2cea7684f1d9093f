"""The two stages of training: which weights move, and by which loss."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from .config import Config, StageConfig
from .losses import asymmetric_loss, binary_cross_entropy
from .machine import Machine
from .model import PVLR, TextBranch
from .optim import decayed

Stage = Literal["head", "finetune"]
STAGES: tuple[Stage, ...] = ("head", "finetune")


class StageLoss(nn.Module):
    """The loss of a batch (scalar): *head* takes cached tokens (B, N, D), *finetune* images (B, 3, H, W)."""

    def __init__(self, stage: Stage, model: PVLR, config: Config, machine: Machine) -> None:
        super().__init__()
        self.stage = stage
        self.model = model
        self.settings = config.train
        self.regularised = config.model.ifm == "regularise"
        self.machine = machine

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        settings = self.settings
        with self.machine.autocast():
            if self.stage == "head":
                tokens = inputs if self.machine.bf16 else inputs.float()
            else:
                images = inputs.to(memory_format=torch.channels_last)
                tokens = self.model.backbone.forward_from(images, settings.unfreeze_from)
            logits = self.model.head(tokens, self.model.text()).logits.float()
        if settings.loss == "bce":
            loss = binary_cross_entropy(logits, targets, settings.smoothing)
        else:
            focus = settings.gamma_neg, settings.gamma_pos, settings.clip
            loss = asymmetric_loss(logits, targets, *focus, settings.smoothing)
        return loss + settings.regularise * self.model.text.distance() if self.regularised else loss


def open_optimizer(stage: Stage, model: PVLR, config: Config) -> torch.optim.AdamW:
    """AdamW over what the stage trains, each part at its own rate; the rest of the model is frozen."""
    settings: StageConfig = getattr(config.train, stage)
    model.backbone.requires_grad_(False)
    head = [*model.head.parameters(), *(p for p in model.text.parameters() if p.requires_grad)]
    groups: list[dict[str, Any]] = []
    if settings.cap_lr is not None and isinstance(model.text, TextBranch):
        prompts = list(model.text.context.parameters())
        head = [p for p in head if not any(p is prompt for prompt in prompts)]
        groups = decayed(prompts, settings.cap_lr, settings.weight_decay)
    groups = decayed(head, settings.lr, settings.weight_decay) + groups
    if stage == "finetune":
        chosen = config.train.depthwise
        depthwise = not config.model.pretrained if chosen is None else chosen
        backbone = model.backbone.unfreeze(config.train.unfreeze_from, depthwise)
        groups += decayed(backbone, settings.backbone_lr, settings.weight_decay)
    return torch.optim.AdamW(groups)


def seed_step(seed: int, stage: Stage, epoch: int, step: int, rank: int) -> None:
    """Let the random draws of a step (dropout) follow from its numbers: a resumed run draws the same."""
    words = np.random.SeedSequence((seed, STAGES.index(stage), epoch, step, rank)).generate_state(1, np.uint64)
    torch.manual_seed(int(words[0]))


def epoch_order(photos: int, views: int, settings: StageConfig, seed: int, epoch: int) -> tuple[Tensor, Tensor]:
    """The batches of an epoch as photos' indices (batches, batch), and which cached view of each is taken.

    What is left over after the last full step sits out this epoch.
    """
    generator = torch.Generator().manual_seed(1000 * seed + epoch)
    count = photos - photos % (settings.batch * settings.accumulate)
    order = torch.randperm(photos, generator=generator)[:count]
    return (
        order.view(-1, settings.batch),
        torch.randint(views, (count,), generator=generator).view(-1, settings.batch),
    )
