"""The losses of training; unknown labels are masked."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .config import Config, Stage
from .frozen import Frozen
from .machine import Machine
from .model.network import PVLR


class StageLoss(nn.Module):
    """The loss of a batch (scalar): *head* takes cached tokens (B, N, D), *finetune* images (B, 3, H, W)."""

    def __init__(self, stage: Stage, model: PVLR, config: Config, machine: Machine) -> None:
        super().__init__()
        self.stage = stage
        self.model = model
        self.settings = config.train
        self.regularised = config.model.ifm == "regularise"
        self.machine = machine
        frozen = model.backbone.stages_before(config.train.unfreeze_from)
        self.frozen = Frozen(frozen, machine) if frozen else None

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        settings = self.settings
        with self.machine.autocast():
            if self.stage == "head":
                tokens = inputs if self.machine.bf16 else inputs.float()
            else:
                features = self.frozen(inputs) if self.frozen else inputs
                features = features.to(memory_format=torch.channels_last)
                tokens = self.model.backbone.forward_from(features, settings.unfreeze_from)
            labels = self.model.text()
            if settings.label_dropout:
                kept = torch.rand(len(labels), device=targets.device) >= settings.label_dropout
                targets = targets * kept  # of those that are left out, nothing is known
                logits = self.model.head(tokens, labels, kept.to(labels.dtype)).logits.float()
            else:
                logits = self.model.head(tokens, labels).logits.float()
        loss = asymmetric_loss(logits, targets, settings.gamma_neg)
        return loss + self.model.text.distance() if self.regularised else loss


def asymmetric_loss(logits: Tensor, targets: Tensor, gamma_neg: float) -> Tensor:
    """ASL (Ridnik et al. 2021, eq. 4) with gamma+ = 0, summed over the known labels, averaged over the batch.

    Args:
        logits: (B, C).
        targets: (B, C), 1 present, -1 absent, 0 unknown (masked); soft targets lie between.
    """
    known = (targets != 0).to(logits.dtype)
    soft = targets.to(logits.dtype)
    positive = known * (1 + soft) / 2
    negative = known * (1 - soft) / 2 * logits.detach().sigmoid().pow(gamma_neg)
    return (
        -(positive * F.logsigmoid(logits) + negative * F.logsigmoid(-logits)).sum()
        / logits.shape[0]
    )


def asl_probability(scores: Tensor, gamma_neg: float) -> Tensor:
    """What a score of a network trained with ``asymmetric_loss`` means: how often such labels are present.

    The focus on errors raises scores: with gamma_neg 2, a label that is present in one of ten such images gets 0.4. At
    the minimum of the loss, q (1 - p) = (1 - q) p^(1 + gamma_neg) for the score p and the probability q that is
    returned.
    """
    present = scores.pow(1 + gamma_neg)
    return present / (present + 1 - scores)
