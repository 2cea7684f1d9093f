"""The decoder layer of Query2Label and ML-Decoder (post-norm, ReLU)."""

from __future__ import annotations

from torch import Tensor, nn

from ..dma import merge_heads, split_heads


class DecoderLayer(nn.Module):
    """Self-attention of the queries (if ``self_attention``), cross-attention to the tokens, feed-forward network."""

    def __init__(self, width: int, heads: int, ffn: int, dropout: float, self_attention: bool) -> None:
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
    """Multi-head attention that also returns its weights, averaged over the heads."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """(B or 1, q, d), (B or 1, n, d) twice -> (B, q, d), weights (B, q, n)."""
        query = split_heads(self.query(queries), self.heads)
        affinity = query @ split_heads(self.key(keys), self.heads).transpose(-1, -2) * query.shape[-1] ** -0.5
        weights = affinity.softmax(-1)
        return self.output(merge_heads(weights @ split_heads(self.value(values), self.heads))), weights.mean(1)


def attention_similarity(weights: Tensor) -> Tensor:
    """The logarithm of attention (B, q, N) as (B, N, q), so that a label's map (alpha = 1) is the attention itself."""
    return weights.clamp(min=1e-6).log().transpose(1, 2)
