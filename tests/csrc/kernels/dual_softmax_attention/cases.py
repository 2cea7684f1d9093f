"""Inputs for dual-softmax attention, its definition in float64, and PyTorch's own answer in the same precision."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

TYPES = {
    "float32": (0, torch.float32),
    "float16": (1, torch.float16),
    "bfloat16": (2, torch.bfloat16),
}
Outputs = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Case:
    """Sizes and contents of one call; ``multiprocessors`` and ``shared_bytes`` are the emulated device's."""

    dtype: str
    batch: int = 1
    heads: int = 2
    tokens: int = 33
    labels: int = 35
    dim: int = 64
    mask: int = 0  # 0: none, 1: one for all, 2: one a batch entry, and the first entry's has no label at all
    shared: bool = False  # one label bank for the whole batch
    scale: float = 1.0  # of the queries
    value_scale: float = 1.0
    multiprocessors: int = 8
    shared_bytes: int = 99 * 1024
    equal: bool = False  # all tokens alike
    rising: float = 0.0  # scores grow (fall if negative) from token to token and label to label, by about its square

    def __str__(self) -> str:
        changed = {
            name: value for name, value in vars(self).items() if value != getattr(Case, name, None)
        }
        return "-".join(
            str(value) if name in ("dtype",) else f"{name}{value}"
            for name, value in changed.items()
        )


@dataclass
class Inputs:
    q_x: torch.Tensor
    k_t: torch.Tensor
    v_x: torch.Tensor
    v_t: torch.Tensor
    mask: torch.Tensor | None = field(default=None)  # bool, (1 or batch, labels)

    def raw(self) -> bytes:
        """As main.cpp reads them."""
        tensors = [self.q_x, self.k_t, self.v_x, self.v_t] + (
            [] if self.mask is None else [self.mask]
        )
        return b"".join(t.contiguous().view(torch.uint8).numpy().tobytes() for t in tensors)


def make_inputs(case: Case, seed: int = 0) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    dtype = TYPES[case.dtype][1]

    def normal(rows: int, batch: int, scale: float) -> torch.Tensor:
        return (torch.randn(batch, case.heads, rows, case.dim, generator=generator) * scale).to(
            dtype
        )

    bank = 1 if case.shared else case.batch
    q_x = normal(case.tokens, case.batch, case.scale)
    if case.equal:
        q_x = q_x[:, :, :1].expand_as(q_x).contiguous()
    keys = normal(case.labels, bank, 1.0)
    if case.rising:
        q_x[..., 0] = torch.linspace(abs(case.rising) / 2, case.rising, case.tokens)
        keys[..., 0] = torch.linspace(abs(case.rising) / 2, abs(case.rising), case.labels)
    inputs = Inputs(q_x, keys, normal(case.tokens, case.batch, case.value_scale), q_x)
    inputs.v_t = normal(case.labels, bank, case.value_scale)
    if case.mask:
        inputs.mask = (
            torch.rand(case.batch if case.mask == 2 else 1, case.labels, generator=generator) < 0.6
        )
        if case.mask == 2:
            inputs.mask[0] = False
    return inputs


def attend(inputs: Inputs, dtype: torch.dtype) -> Outputs:
    """The definition, computed in ``dtype``: float64 is the reference, the inputs' own type is PyTorch's answer."""
    q_x, k_t, v_x, v_t = (t.to(dtype) for t in (inputs.q_x, inputs.k_t, inputs.v_x, inputs.v_t))
    affinity = q_x @ k_t.transpose(-1, -2) * q_x.shape[-1] ** -0.5
    if inputs.mask is not None:
        affinity = affinity.masked_fill(~inputs.mask[:, None, None, :], -torch.inf)
    over_labels = torch.nan_to_num(affinity.softmax(-1), nan=0.0)
    over_tokens = torch.nan_to_num(affinity.softmax(-2), nan=0.0)
    return over_labels @ v_t, over_tokens.transpose(-1, -2) @ v_x


def assert_as_good_as_torch(inputs: Inputs, got: Outputs, context: Any = "") -> None:
    """The error against float64 is at most twice PyTorch's own in the same precision, for each of the two outputs.

    Or half a unit in the last place of the largest entry, which is what rounding the exact answer costs.
    """
    dtype = inputs.q_x.dtype
    expected, theirs = attend(inputs, torch.float64), attend(inputs, dtype)
    for name, ours, exact, other in zip(("o_x", "o_t"), got, expected, theirs, strict=True):
        assert ours.shape == exact.shape
        error = (ours.double() - exact).abs().max().item()
        bound = 2 * (other.double() - exact).abs().max().item()
        rounding = exact.abs().max().item() * torch.finfo(dtype).eps / 2
        assert error <= max(bound, rounding), f"{context} {name}: {error:.3g} > {bound:.3g}"
