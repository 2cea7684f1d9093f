"""PVLR: the whole network as it is trained."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pvlr_sdk.errors import OptionError

from .backbone import Backbone
from .config import ModelConfig
from .heads import Output, open_head
from .ifm import InteractionFusion, prompt_distance
from .prompts import ContextPrompts, encode_knowledge, knowledge_prompts
from .text import RandomText, TextEncoder, open_text_encoder


class FixedText(nn.Module):
    """The label bank of the rival heads, which use no text: the encoded fixed prompts (C, d_t), as a record."""

    def __init__(
        self, labels: tuple[str, ...], config: ModelConfig, encoder: TextEncoder | RandomText
    ) -> None:
        super().__init__()
        self.words = config.text.words(labels)
        self.register_buffer(
            "knowledge", encode_knowledge(encoder, knowledge_prompts(labels, config.text))
        )

    def forward(self) -> Tensor:
        return self.knowledge

    def distance(self) -> Tensor:
        """Zero: there is nothing to regularise."""
        return self.knowledge.new_zeros(())


class TextBranch(FixedText):
    """The label representations T (C, d) from the label names: KAP and CAP, fused by IFM. Independent of the image."""

    def __init__(
        self, labels: tuple[str, ...], config: ModelConfig, encoder: TextEncoder | RandomText
    ) -> None:
        super().__init__(labels, config, encoder)
        self.context = ContextPrompts(encoder, self.words, config.cap)
        self.fusion = InteractionFusion(config.ifm, encoder.width, config.width)

    def forward(self) -> Tensor:
        return self.fusion(self.knowledge, self.context())

    def distance(self) -> Tensor:
        """The regularising loss between the two branches (scalar)."""
        return prompt_distance(self.knowledge, self.context())


class PVLR(nn.Module):
    """Images (B, 3, H, W) -> logits (B, C) and similarity (B, N, C), with the head that ``config.head`` selects."""

    def __init__(
        self, labels: tuple[str, ...], height: int, width: int, config: ModelConfig
    ) -> None:
        super().__init__()
        self.labels = labels
        self.backbone = Backbone(config.backbone, config.pretrained)
        self.grid = self.backbone.resize(height, width)
        branch = TextBranch if config.head == "pvlr" else FixedText
        encoder = open_text_encoder(config.text.encoder)
        self.text = branch(labels, config, encoder)
        self.head = open_head(self.backbone.channels, self.grid, len(labels), config)

    def resize(self, height: int, width: int) -> None:
        """Take inputs of another size, with the weights of this one; learned positions are interpolated.

        Raises:
            OptionError: the size is not a multiple of the backbone's stride.
        """
        if height % self.backbone.stride or width % self.backbone.stride:
            raise OptionError(
                "size",
                f"multiples of {self.backbone.stride} pixels for {self.backbone.name}",
                f"{width} x {height}",
                "The backbone computes one token from each block of this many pixels.",
            )
        before = self.grid
        self.grid = self.backbone.resize(height, width)
        if hasattr(self.head, "resize"):  # the others have no positions
            self.head.resize(before, self.grid)

    def calibrate(self, scale: float, offsets: Sequence[float]) -> None:
        """Scale the logits and add the offsets of C labels, in the weights of the head."""
        self.head.calibrate(scale, torch.tensor(offsets))

    def forward(self, images: Tensor) -> Output:
        return self.head(self.backbone(images), self.text())
