"""The network as it is deployed: text branch, batch norm and rounding folded into plain weights."""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn

from pvlr_sdk.errors import OptionError

from .model.heads import Output
from .model.heads.pvlr import VisualHead, unit
from .model.network import PVLR, FixedText, TextBranch


class DeployedPVLR(nn.Module):
    """A trained PVLR as it is exported, and the reference for every engine.

    The text branch becomes the label bank, rounded to float16 as it is stored; batch norm is folded into the
    convolutions; then all weights are rounded to float16, and those after the backbone's front to bfloat16 as well.
    Every engine so starts from the same numbers: rounding in a bf16 engine would be a systematic error, equal in all
    pixels.
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
        fold_batch_norm(self.backbone)
        round_weights(self, exact=self.backbone.front)

    def forward(self, images: Tensor) -> Output:
        return self.head(self.backbone(images), self.bank)


class OpenPVLR(nn.Module):
    """A deployed PVLR whose label bank is an input: (max_labels, d), padded, with biases, the mask of the labels with
    words, gains, and weights (max_labels, D).

    logit_c = gain_c z_c + bias_c + weights_c . x: z is the logit of the head, x (B, D) a further output, the mean of
    the backbone's tokens with unit length. z is not linear in ``labels``, but the logit is linear in gains, biases and
    weights, which teaching chooses. The tokens of the head are worse features for labels that it was not trained on.

    The mean of the trained biases stays in the network, so that a label without a bias of its own has a usual one.
    ``bank`` and ``biases`` belong to the trained labels.

    Where the text branch reads nothing but the fixed prompts (``model.ifm: ka``), the input are their encodings
    (max_labels, d_t), and the rest of the text branch is part of the network: words that were not trained have a place.

    Raises:
        OptionError: the head has weights for single labels, so it cannot have others.
    """

    def __init__(self, model: DeployedPVLR, text: FixedText) -> None:
        super().__init__()
        self.reads_words = isinstance(text, TextBranch) and text.fusion.mode == "ka"
        self.text = text.fusion if self.reads_words else None
        self.register_buffer(
            "bank", text.knowledge.half().float() if self.reads_words else model.bank
        )
        self.backbone = model.backbone
        self.head = copy.deepcopy(model.head)
        if not isinstance(self.head, VisualHead):
            raise OptionError(
                "--open",
                "a model that reads its label bank",
                "a head with weights for single labels",
                "Train with model.head pvlr.",
            )
        bias = self.head.predict.bias.detach()
        self.register_buffer("biases", bias - bias.mean())
        self.head.predict.bias = nn.Parameter(bias.mean()[None])
        self.eval()

    def forward(
        self,
        images: Tensor,
        labels: Tensor,
        biases: Tensor,
        mask: Tensor,
        gains: Tensor,
        weights: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns logits, similarity and the features x."""
        rows = labels if self.text is None else self.text(labels, labels)
        tokens = self.backbone(images)
        logits, similarity = self.head(tokens, rows, mask)
        features = unit(tokens.mean(1))
        # Without words there is no similarity: the map is uniform.
        return (
            logits * gains + biases + features @ weights.transpose(0, 1),
            similarity * mask,
            features,
        )


@torch.no_grad()
def fold_batch_norm(module: nn.Module) -> None:
    """Fold each batch norm that follows a convolution into that convolution, in place (evaluation mode).

    "Follows" means registered right after it, as in timm's networks. Its activation is kept.
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
    """Round all parameters in place to float16, and those outside ``exact`` to bfloat16 as well."""
    kept = {parameter for part in exact for parameter in part.parameters()}
    for parameter in module.parameters():
        rounded = parameter.half()
        parameter.copy_(rounded if parameter in kept else rounded.bfloat16())
