"""The frozen language model g: label names and prompts in, text vectors out."""

from __future__ import annotations

import hashlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pvlr_sdk.errors import ConfigError
from pvlr_sdk.labels.encoder import MINILM, minilm_folder

_MINILM_WIDTH = 384


class TextEncoder(nn.Module):
    """A frozen sentence encoder from transformers, mean-pooled over its tokens and L2-normalised.

    CLIP's text model is pooled as in CLIP (the projection of the end token).
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        # Imported here: RandomText does not need it.
        import transformers

        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        self.name = name
        source = str(minilm_folder()) if name == MINILM else name
        try:
            self.tokenizer: Any = transformers.AutoTokenizer.from_pretrained(source)
            kind = transformers.AutoConfig.from_pretrained(source).model_type
            self.is_clip = kind in ("clip", "clip_text_model")
            loader = (
                transformers.CLIPTextModelWithProjection if self.is_clip else transformers.AutoModel
            )
            self.model: Any = loader.from_pretrained(source)
        except (OSError, ValueError) as error:
            raise ConfigError(
                "model.text.encoder",
                "minilm, random, or an encoder in the local hub cache",
                f"{name} ({str(error).splitlines()[0]})",
                "Download it once on a machine with access to the hub.",
            ) from None
        self.model.requires_grad_(False).eval()
        self.width = int(
            getattr(self.model.config, "projection_dim", 0) or self.model.config.hidden_size
        )

    def train(self, mode: bool = True) -> TextEncoder:
        """Stay in evaluation mode: the language model is frozen and has no dropout."""
        return super().train(False)

    @torch.no_grad()
    def encode(self, texts: list[str]) -> Tensor:
        """(n strings) -> (n, width) unit vectors."""
        batch = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        output = self.model(**batch)
        if hasattr(output, "text_embeds"):
            return F.normalize(output.text_embeds, dim=-1)
        return _pool(output.last_hidden_state, batch["attention_mask"])

    def embed_tokens(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """(n strings) -> the language model's input embeddings (n, tokens, hidden) and their mask (n, tokens)."""
        if self.is_clip:
            raise ConfigError(
                "model.cap.mode",
                "post or none",
                f"pre, with {self.name}",
                "CLIP's text model does not accept embeddings; use another encoder.",
            )
        batch = self.tokenizer(texts, padding=True, truncation=True, return_tensors="pt")
        return self.model.get_input_embeddings()(batch["input_ids"]), batch["attention_mask"]

    def encode_embedded(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """Input embeddings (n, tokens, hidden) -> (n, width) unit vectors; gradients reach the embeddings."""
        output = self.model(inputs_embeds=embedded, attention_mask=mask)
        return _pool(output.last_hidden_state, mask)


class RandomText(nn.Module):
    """Random unit vectors, seeded by a hash of the text: the control for the value of the language model."""

    name = "random"
    width = _MINILM_WIDTH

    def encode(self, texts: list[str]) -> Tensor:
        """(n strings) -> (n, width) unit vectors, equal for equal strings."""
        rows = []
        for text in texts:
            seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")
            rows.append(torch.randn(self.width, generator=torch.Generator().manual_seed(seed)))
        return F.normalize(torch.stack(rows), dim=-1)

    def embed_tokens(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        raise ConfigError(
            "model.cap.mode",
            "post or none",
            "pre, with random",
            "Random label vectors have no tokens.",
        )


def open_text_encoder(name: str) -> TextEncoder | RandomText:
    """Open the text encoder of this name (see TextConfig)."""
    return RandomText() if name == "random" else TextEncoder(name)


def _pool(hidden: Tensor, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).to(hidden.dtype)
    return F.normalize((hidden * weights).sum(1) / weights.sum(1), dim=-1)
