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
        if settings.loss == "bce":
            loss = binary_cross_entropy(logits, targets)
        else:
            loss = asymmetric_loss(logits, targets, *settings.focus)
        return loss + settings.regularise * self.model.text.distance() if self.regularised else loss


def asymmetric_loss(logits: Tensor, targets: Tensor, gamma_neg: float, gamma_pos: float, clip: float) -> Tensor:
    """ASL (Ridnik et al. 2021, eq. 4 to 7), summed over the known labels, averaged over the batch.

    Args:
        logits: (B, C).
        targets: (B, C), 1 present, -1 absent, 0 unknown (masked); soft targets lie between.
    """
    probability = logits.sigmoid()
    # sigmoid(-x) keeps its precision where 1 - sigmoid(x) has rounded to 0.
    absent = ((-logits).sigmoid() + clip).clamp(max=1)
    positive, negative = _shares(targets, logits.dtype)
    with torch.no_grad():
        positive = positive * (1 - probability).pow(gamma_pos)
        negative = negative * (1 - absent).pow(gamma_neg)
    return -(positive * F.logsigmoid(logits) + negative * absent.clamp(min=1e-8).log()).sum() / logits.shape[0]


def asl_probability(scores: Tensor, gamma_neg: float, gamma_pos: float, clip: float) -> Tensor:
    """What a score of a network trained with ``asymmetric_loss`` means: how often such labels are present.

    The focus on errors raises scores: with gamma_neg 2, a label that is present in one of ten such images gets 0.4. At
    the minimum of the loss, q (1 - p)^gamma_pos (1 - p + clip) = (1 - q) p (p - clip)^gamma_neg for the score p and the
    probability q that is returned.
    """
    present = (scores - clip).clamp(min=0).pow(gamma_neg) * scores * (scores > clip)
    absent = (1 - scores).pow(gamma_pos) * (1 - scores + clip)
    return present / (present + absent)


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy, summed over the known labels, averaged over the batch; arguments as above."""
    positive, _ = _shares(targets, logits.dtype)
    each = F.binary_cross_entropy_with_logits(logits, positive, reduction="none")
    return (each * (targets != 0)).sum() / logits.shape[0]


def _shares(targets: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The weights of each target as present and as absent; both are 0 if it is unknown."""
    known, soft = (targets != 0).to(dtype), targets.to(dtype)
    return known * (1 + soft) / 2, known * (1 - soft) / 2
