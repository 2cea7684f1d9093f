"""The network as it is deployed: text branch, batch norm and rounding folded into plain weights."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn

from .dma import DualModalAttention
from .heads import Output
from .model import PVLR


class DeployedPVLR(nn.Module):
    """A trained PVLR as it is exported, and the reference that every engine is held to.

    The text branch becomes the label bank, rounded to float16 as it is stored; batch norm goes into the convolutions;
    then all weights are rounded to float16, and those behind the backbone's front to what bfloat16 holds as well. So
    every engine starts from the very same numbers: left to a bf16 engine, that rounding is an error of its own, the
    same one in every pixel. It is done before anything is measured. Attention is PyTorch's, which
    ONNX has operators for.
    """

    def __init__(self, model: PVLR) -> None:
        super().__init__()
        self.backbone = copy.deepcopy(model.backbone)
        self.head = copy.deepcopy(model.head)
        self.grid = model.grid
        self.labels = model.labels
        with torch.no_grad():
            self.register_buffer("bank", model.text.eval()().half().float())
        self.eval()
        for module in self.modules():
            if isinstance(module, DualModalAttention):
                module.fused = False
        fold_batch_norm(self.backbone)
        round_weights(self, exact=self.backbone.front)

    def forward(self, images: Tensor) -> Output:
        return self.head(self.backbone(images), self.bank)


@torch.no_grad()
def fold_batch_norm(module: nn.Module) -> None:
    """Multiply each batch norm that follows a convolution into that convolution, in place (evaluation mode).

    "Follows" means: is registered right behind it, as in timm's networks; its activation stays.
    """
    for parent in module.modules():
        for (_, conv), (name, norm) in pairwise(list(parent.named_children())):
            if not isinstance(conv, nn.Conv2d) or not isinstance(norm, nn.BatchNorm2d):
                continue
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            bias = norm.running_mean.neg() if conv.bias is None else conv.bias - norm.running_mean
            conv.weight.copy_(conv.weight * scale[:, None, None, None])
            conv.bias = nn.Parameter(norm.bias + bias * scale)
            setattr(parent, name, getattr(norm, "act", nn.Identity()))


@torch.no_grad()
def round_weights(module: nn.Module, exact: list[nn.Module]) -> None:
    """Round all parameters to what float16 holds, and those outside ``exact`` to what bfloat16 holds too; in place."""
    kept = {parameter for part in exact for parameter in part.parameters()}
    for parameter in module.parameters():
        rounded = parameter.half()
        parameter.copy_(rounded if parameter in kept else rounded.bfloat16())
