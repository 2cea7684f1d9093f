"""The knowledge branch: what the backbone's ImageNet classes and the language model know about the labels."""

from __future__ import annotations

import torch
from timm.data import ImageNetInfo
from torch import Tensor, nn
from torch.nn import functional as F

from pvlr_sdk.errors import ConfigError

from .backbone import Backbone
from .config import ModelConfig
from .heads import Output
from .prompts import encode_knowledge, knowledge_prompts
from .text import RandomText, TextEncoder

_CLASSES = 1000
_SHARPNESS = 8


class KnowledgeHead(nn.Module):
    """Another head, to whose logits the evidence of ImageNet's classes for each label is added after training.

    logit_c += e_c with e_c = sum_k S_ck z_k - mean_k z_k. z = W mean_n(x_n) + a are the logits of the K = 1000
    classes from the frozen classifier (W, a) of the pretrained backbone. S_ck is max(0, cos(t_c, t_k))^8, divided by
    its sum over k: the share of class k in label c according to the language model, with the templates of KAP. For a
    label without a similar class that is an average over many classes, which varies little. All of it is linear in the
    tokens: one matrix (C, D) and a vector (C). ``config.knowledge_gain`` scales it: a network whose teachers had the
    branch knows a part of it already.

    In training mode it is the other head alone. Trained together, PVLR leaves to the evidence what it should learn
    itself: it gained nothing on COCO, and 2.7 mAP when the evidence was added afterwards (docs/heads.md).

    Raises:
        ConfigError: the backbone has no classifier of ImageNet's classes that reads its average-pooled tokens.
    """

    def __init__(
        self,
        head: nn.Module,
        backbone: Backbone,
        labels: tuple[str, ...],
        config: ModelConfig,
        encoder: TextEncoder | RandomText,
    ) -> None:
        super().__init__()
        self.head = head
        # Without pretrained weights, a checkpoint is about to be loaded.
        weight, bias = torch.zeros(len(labels), backbone.channels), torch.zeros(len(labels))
        if config.pretrained:
            weight, bias = (config.knowledge_gain * part for part in label_evidence(labels, config, encoder))
        self.weight, self.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)

    @property
    def alpha(self) -> float:
        """As of the other head, whose attention maps stay as they are."""
        return float(self.head.alpha)

    def resize(self, before: tuple[int, int], grid: tuple[int, int]) -> None:
        """Another grid (rows, columns) for the other head, if it has positions."""
        if hasattr(self.head, "resize"):
            self.head.resize(before, grid)

    def forward(self, tokens: Tensor, bank: Tensor) -> Output:
        """Tokens (B, N, D), label bank (C, d)."""
        logits, similarity = self.head(tokens, bank)
        if not self.training:
            logits = logits + F.linear(tokens.mean(1), self.weight, self.bias)
        return Output(logits, similarity)


def label_evidence(
    labels: tuple[str, ...], config: ModelConfig, encoder: TextEncoder | RandomText
) -> tuple[Tensor, Tensor]:
    """The matrix (C, D) and the vector (C) that turn average-pooled tokens into the evidence for each label."""
    weight, bias = imagenet_classifier(Backbone(config.backbone, config.pretrained, classifier=True))
    names = ImageNetInfo("imagenet-1k")  # from WordNet: "tench, Tinca tinca"
    classes = tuple(names.index_to_description(k).split(",")[0] for k in range(_CLASSES))
    vectors = (encode_knowledge(encoder, knowledge_prompts(of, config.text)) for of in (labels, classes))
    of_labels, of_classes = (F.normalize(rows, dim=-1) for rows in vectors)
    similarity = (of_labels @ of_classes.T).clamp(min=0) ** _SHARPNESS
    shares = similarity / similarity.sum(1, keepdim=True)
    return shares @ weight - weight.mean(0), shares @ bias - bias.mean()


@torch.no_grad()
def imagenet_classifier(backbone: Backbone) -> tuple[Tensor, Tensor]:
    """The classifier (K, D) and (K) that gives the backbone's ImageNet logits from its average-pooled tokens.

    Raises:
        ConfigError: there is none: other classes, a class token, or layers between pooling and classifier.
    """
    layer = backbone.net.eval().get_classifier()
    got = type(layer).__name__
    if isinstance(layer, nn.Linear):
        got = f"{layer.out_features} classes from {layer.in_features} channels"
        if (layer.out_features, layer.in_features) == (_CLASSES, backbone.channels):
            features = backbone.net.forward_features(torch.rand(1, *backbone.net.pretrained_cfg["input_size"]))
            expected, pooled = backbone.net.forward_head(features), backbone.tokens(features).mean(1)
            if torch.allclose(layer(pooled), expected, rtol=1e-3, atol=1e-3):
                return layer.weight.detach(), layer.bias.detach()
            got = "one that reads something else than average-pooled features"
    expected = f"a backbone with a linear classifier of ImageNet's {_CLASSES} classes on average-pooled features"
    hint = "Use an EfficientNet or a ResNet, or set model.knowledge=none."
    raise ConfigError("model.knowledge", expected=expected, got=f"{backbone.name}: {got}", hint=hint)
