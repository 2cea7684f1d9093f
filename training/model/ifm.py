"""Interaction and fusion (IFM): one label representation T (C, d) from T_ka and T_ca (C, d_t)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class InteractionFusion(nn.Module):
    """Fuses the two prompt branches.

    *channel* (our reconstruction of the paper's "channel interaction"): with the affinity
    A = softmax_rows(norm(T_ka W_q)^T norm(T_ca W_k) tau) in (d_t, d_t), each branch adds the other's channels,
    T_ka' = T_ka + (T_ca W_v) A^T and vice versa. A gate g = sigmoid([T_ka'; T_ca'] W) fuses them:
    T = LN(g T_ka' + (1 - g) T_ca') W_o. norm is L2 over the labels, so an affinity compares how two channels vary over
    the labels. The alternatives that the paper argues against: *add*, *concat*, one branch alone (*ka*, *ca*), and
    *regularise*: CAP alone, with a loss that pulls it towards KAP.
    """

    def __init__(self, mode: str, text_width: int, width: int) -> None:
        super().__init__()
        self.mode = mode
        d = text_width
        if mode == "channel":
            self.query = nn.Linear(d, d, bias=False)
            self.key = nn.Linear(d, d, bias=False)
            self.value_ka = nn.Linear(d, d, bias=False)
            self.value_ca = nn.Linear(d, d, bias=False)
            self.log_tau = nn.Parameter(torch.tensor(10.0).log())
            self.gate = nn.Linear(2 * d, d)
        self.norm = nn.LayerNorm(2 * d if mode == "concat" else d)
        self.output = nn.Linear(2 * d if mode == "concat" else d, width)

    def forward(self, ka: Tensor, ca: Tensor) -> Tensor:
        return self.output(self.norm(self._fuse(ka, ca)))

    def _fuse(self, ka: Tensor, ca: Tensor) -> Tensor:
        if self.mode == "ka":
            return ka
        if self.mode in ("ca", "regularise"):
            return ca
        if self.mode == "add":
            return ka + ca
        if self.mode == "concat":
            return torch.cat([ka, ca], -1)
        affinity = (
            F.normalize(self.query(ka), dim=0).T
            @ F.normalize(self.key(ca), dim=0)
            * self.log_tau.exp()
        )
        ka_ = ka + self.value_ca(ca) @ affinity.softmax(-1).T
        ca_ = ca + self.value_ka(ka) @ affinity.T.softmax(-1).T
        gate = self.gate(torch.cat([ka_, ca_], -1)).sigmoid()
        return gate * ka_ + (1 - gate) * ca_


def prompt_distance(ka: Tensor, ca: Tensor) -> Tensor:
    """The regularising loss ||T_ka - T_ca||^2 of unit vectors, averaged over the labels (scalar)."""
    return (F.normalize(ka, dim=-1) - F.normalize(ca, dim=-1)).square().sum(-1).mean()
