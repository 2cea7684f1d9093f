"""PVLR: the whole network for training, and its deployed form with the text branch folded away."""

from __future__ import annotations

from torch import Tensor, nn

from .backbone import Backbone
from .config import ModelConfig
from .heads import Output, open_head
from .ifm import InteractionFusion, prompt_distance
from .prompts import ContextPrompts, encode_knowledge, knowledge_prompts
from .text import open_text_encoder


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


class FixedText(nn.Module):
    """The label bank of the rival heads, which read no text: the fixed prompts' encodings (C, d_t), for the record."""

    def __init__(self, labels: tuple[str, ...], config: ModelConfig) -> None:
        super().__init__()
        encoder = open_text_encoder(config.text.encoder)
        self.register_buffer("knowledge", encode_knowledge(encoder, knowledge_prompts(labels, config.text)))

    def forward(self) -> Tensor:
        return self.knowledge

    def distance(self) -> Tensor:
        """Zero: there is nothing to regularise."""
        return self.knowledge.new_zeros(())


class PVLR(nn.Module):
    """Images (B, 3, H, W) -> logits (B, C) and similarity (B, N, C); ``config.head`` puts a rival head in the place
    of PVLR's own."""

    def __init__(self, labels: tuple[str, ...], height: int, width: int, config: ModelConfig) -> None:
        super().__init__()
        self.labels = labels
        self.backbone = Backbone(config.backbone, config.pretrained)
        self.grid = self.backbone.grid(height, width)
        self.text = TextBranch(labels, config) if config.head == "pvlr" else FixedText(labels, config)
        self.head = open_head(self.backbone.channels, self.grid, len(labels), config)

    def forward(self, images: Tensor) -> Output:
        return self.head(self.backbone(images), self.text())
