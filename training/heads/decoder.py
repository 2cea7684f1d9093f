"""The transformer decoder's layer, as Query2Label and ML-Decoder use it (post-norm, ReLU)."""

from __future__ import annotations

from torch import Tensor, nn

from pvlr_sdk.errors import ConfigError


class DecoderLayer(nn.Module):
    """Queries read each other (``self_attention``), then the visual tokens, then go through a feed-forward network."""

    def __init__(self, width: int, heads: int, ffn: int, dropout: float, *, self_attention: bool) -> None:
        super().__init__()
        self.self_attention = Attention(width, heads) if self_attention else None
        self.self_norm = nn.LayerNorm(width)
        self.cross_attention = Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width)
        self.ffn = nn.Sequential(nn.Linear(width, ffn), nn.ReLU(), nn.Dropout(dropout), nn.Linear(ffn, width))
        self.ffn_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Queries (B or 1, q, d), tokens as keys and values (B, N, d) -> (B, q, d), attention (B, q, N)."""
        if self.self_attention is not None:
            queries = queries + self.dropout(self.self_attention(queries, queries, queries)[0])
        queries = self.self_norm(queries)
        read, weights = self.cross_attention(queries, keys, values)
        queries = self.cross_norm(queries + self.dropout(read))
        return self.ffn_norm(queries + self.dropout(self.ffn(queries))), weights


class Attention(nn.Module):
    """Multi-head attention; also gives its weights, a mean over the heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        if width % heads:
            hint = "Change model.width or model.heads."
            raise ConfigError("model.width", expected=f"a multiple of the {heads} heads", got=str(width), hint=hint)
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """(B or 1, q, d), (B or 1, n, d) twice -> (B, q, d), weights (B, q, n)."""
        query = self._split(self.query(queries))
        affinity = query @ self._split(self.key(keys)).transpose(-1, -2) * query.shape[-1] ** -0.5
        weights = affinity.softmax(-1)
        read = (weights @ self._split(self.value(values))).transpose(1, 2).flatten(2)
        return self.output(read), weights.mean(1)

    def _split(self, x: Tensor) -> Tensor:
        """(B, n, d) -> (B, H, n, d / H)"""
        _, n, d = x.shape
        return x.reshape(-1, n, self.heads, d // self.heads).transpose(1, 2)


def attention_similarity(weights: Tensor) -> Tensor:
    """Attention (B, q, N) -> (B, N, q): its logarithm, so that a label's map (alpha = 1) is the attention itself."""
    return weights.clamp(min=1e-6).log().transpose(1, 2)
