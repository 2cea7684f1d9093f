"""PVLR: the whole network for training, and its deployed form with the text branch folded away."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .backbone import Backbone
from .config import ModelConfig
from .dma import DualModalAttention
from .head import SimilarityHead
from .ifm import InteractionFusion, prompt_distance
from .prompts import ContextPrompts, encode_knowledge, knowledge_prompts
from .text import open_text_encoder


class Output(NamedTuple):
    """logits (B, C) and similarity (B, N, C)."""

    logits: Tensor
    similarity: Tensor


class TextBranch(nn.Module):
    """The label representations T (C, d) from the label names: KAP and CAP, fused by IFM. Sees no image."""

    def __init__(self, labels: tuple[str, ...], config: ModelConfig) -> None:
        super().__init__()
        encoder = open_text_encoder(config.text.encoder)
        self.register_buffer("knowledge", encode_knowledge(encoder, knowledge_prompts(labels, config.text)))
        self.context = ContextPrompts(encoder, labels, config.cap)
        self.fusion = InteractionFusion(config.ifm, encoder.width, config.width)

    def forward(self) -> Tensor:
        return self.fusion(self.knowledge, self.context())

    def distance(self) -> Tensor:
        """The regularising loss between the two branches (scalar)."""
        return prompt_distance(self.knowledge, self.context())


class VisualHead(nn.Module):
    """Everything between the backbone's tokens and the logits, given the label bank."""

    def __init__(self, channels: int, tokens: int, labels: int, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.project = nn.Linear(channels, width)
        self.norm = nn.LayerNorm(width)
        self.position = nn.Parameter(torch.zeros(tokens, width)) if config.position == "learned" else None
        self.dropout = nn.Dropout(config.dropout)
        layers = config.layers if config.dma != "none" else 0
        self.dma = nn.ModuleList(
            DualModalAttention(width, config.heads, config.ffn, config.dropout, config.dma) for _ in range(layers)
        )
        fixed = config.classifier == "fixed"
        self.fixed_centres = nn.Parameter(torch.randn(labels, width)) if fixed else None
        self.predict = SimilarityHead(labels, config.pooling)

    def forward(self, tokens: Tensor, bank: Tensor) -> Output:
        """Tokens (B, N, channels), label bank (C, d)."""
        visual = self.norm(self.project(tokens))
        if self.position is not None:
            visual = visual + self.position
        visual = self.dropout(visual)
        labels = bank.unsqueeze(0)
        for layer in self.dma:
            visual, labels = layer(visual, labels)
        if self.fixed_centres is not None:
            labels = self.fixed_centres.unsqueeze(0)
        return Output(*self.predict(visual, labels))


class PVLR(nn.Module):
    """Images (B, 3, H, W) -> logits (B, C) and similarity (B, N, C)."""

    def __init__(self, labels: tuple[str, ...], height: int, width: int, config: ModelConfig) -> None:
        super().__init__()
        self.labels = labels
        self.backbone = Backbone(config.backbone, config.pretrained)
        self.grid = self.backbone.grid(height, width)
        self.text = TextBranch(labels, config)
        self.head = VisualHead(self.backbone.channels, self.grid[0] * self.grid[1], len(labels), config)

    def forward(self, images: Tensor) -> Output:
        return self.head(self.backbone(images), self.text())
