"""Dual prompting: knowledge-aware prompts (KAP) are fixed, context-aware prompts (CAP) are learned."""

from __future__ import annotations

import json

import torch
from torch import Tensor, nn

from pvlr_sdk.errors import ConfigError

from .config import CapConfig, TextConfig
from .text import RandomText, TextEncoder

_BATCH = 64


def knowledge_prompts(labels: tuple[str, ...], config: TextConfig) -> list[list[str]]:
    """The fixed prompts of each label: all templates, and the label's description if there is one."""
    for template in config.templates:
        if "{}" not in template:
            raise ConfigError(
                "model.text.templates",
                "a {} in each template",
                repr(template),
                "For example 'a photo of a {}.'.",
            )
    prompts = [
        [template.replace("{}", words) for template in config.templates]
        for words in config.words(labels)
    ]
    if config.descriptions is None:
        return prompts
    try:
        descriptions = json.loads(config.descriptions.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ConfigError(
            "model.text.descriptions",
            "a JSON file {label: description}",
            str(error),
            "Check the path.",
        ) from None
    given = descriptions if isinstance(descriptions, dict) else {}
    missing = [label for label in labels if not isinstance(given.get(label), str)]
    if missing:
        raise ConfigError(
            "model.text.descriptions", "a line per label", f"none for {missing[0]!r}", "Add it."
        )
    return [[*filled, descriptions[label]] for filled, label in zip(prompts, labels, strict=True)]


def encode_knowledge(encoder: TextEncoder | RandomText, prompts: list[list[str]]) -> Tensor:
    """KAP: T_ka (C, d_t), the mean of each label's encoded prompts."""
    every = [prompt for of_label in prompts for prompt in of_label]
    vectors = torch.cat(
        [encoder.encode(every[i : i + _BATCH]) for i in range(0, len(every), _BATCH)]
    )
    return torch.stack(
        [of_label.mean(0) for of_label in vectors.split([len(of_label) for of_label in prompts])]
    )


class ContextPrompts(nn.Module):
    """CAP: T_ca (C, d_t) from L learnable prompt vectors P.

    *post* (the paper's preference): the frozen encoding T of the label attends to P,
    T_ca = T + softmax(T W_q (P W_k)^T / sqrt(d_t)) P W_v + R, with a learned residual R for each label.
    *pre*: the frozen language model encodes [P; tokens of the label]; the gradient reaches P.
    """

    def __init__(
        self, encoder: TextEncoder | RandomText, words: tuple[str, ...], config: CapConfig
    ) -> None:
        super().__init__()
        self.mode = config.mode
        names = list(words)
        self.register_buffer("names", encoder.encode(names))
        if config.mode == "pre":
            # In a list, to keep the language model out of the state dict.
            self._encoder = [encoder]
            embedded, mask = encoder.embed_tokens(names)
            self.register_buffer("embedded", embedded)
            self.register_buffer("mask", mask)
            self.prompts = nn.Parameter(0.02 * torch.randn(config.tokens, embedded.shape[-1]))
        elif config.mode == "post":
            d = encoder.width
            self.prompts = nn.Parameter(torch.randn(config.tokens, d) / d**0.5)
            self.query = nn.Linear(d, d, bias=False)
            self.key = nn.Linear(d, d, bias=False)
            self.value = nn.Linear(d, d, bias=False)
            self.residual = nn.Parameter(torch.zeros(len(names), d))

    def forward(self) -> Tensor:
        if self.mode == "none":
            return self.names
        if self.mode == "pre":
            count = self.embedded.shape[0]
            prompts = self.prompts.expand(count, -1, -1)
            embedded = torch.cat([prompts, self.embedded], 1)
            mask = torch.cat([self.mask.new_ones(count, prompts.shape[1]), self.mask], 1)
            return self._encoder[0].to(embedded.device).encode_embedded(embedded, mask)
        affinity = self.query(self.names) @ self.key(self.prompts).T / self.names.shape[1] ** 0.5
        return self.names + affinity.softmax(-1) @ self.value(self.prompts) + self.residual
