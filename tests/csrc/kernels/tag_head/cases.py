"""Inputs for the tag head, its definition in float64, and PyTorch's own answer in the same precision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

TYPES = {
    "float32": (0, torch.float32),
    "float16": (1, torch.float16),
    "bfloat16": (2, torch.bfloat16),
}
MAPS = {"none": 0, "weights": 1, "similarity": 2}
EPSILON = 1e-5


@dataclass(frozen=True)
class Case:
    """Sizes and contents of one call; ``multiprocessors`` is the emulated device's: many ask for small label blocks."""

    dtype: str
    batch: int = 1
    tokens: int = 49
    labels: int = 20
    width: int = 72
    norms: bool = True
    shared: bool = False  # one label bank for the whole batch
    chosen: tuple[int, ...] = ()  # labels with a map; none: all
    maps: str = "weights"
    tokens_last: bool = True  # maps as (batch, map, token), else (batch, token, map)
    scale: float = 12.0
    alpha: float = 0.5
    value_scale: float = 1.0  # of the tokens
    offset: float = 0.0  # of the tokens: a mean far from zero
    equal: bool = False  # all tokens and labels alike
    zero: bool = False  # one token and one label are zero
    # what PyTorch gets multiplied by, where its squares would underflow; a power of two
    torch_scale: float = 1.0
    multiprocessors: int = 8

    def __str__(self) -> str:
        changed = {
            name: value for name, value in vars(self).items() if value != getattr(Case, name, None)
        }
        return "-".join(
            str(value) if name == "dtype" else f"{name}{value}" for name, value in changed.items()
        )


@dataclass
class Inputs:
    x: torch.Tensor
    t: torch.Tensor
    x_norm: tuple[torch.Tensor, torch.Tensor] | None
    t_norm: tuple[torch.Tensor, torch.Tensor] | None
    bias: torch.Tensor
    thresholds: torch.Tensor

    def raw(self, chosen: tuple[int, ...]) -> bytes:
        """As main.cpp reads them."""
        norms = [*(self.x_norm or ()), *(self.t_norm or ())]
        tensors = [
            self.x,
            self.t,
            *norms,
            self.bias,
            self.thresholds,
            torch.tensor(chosen, dtype=torch.int32),
        ]
        return b"".join(
            one.contiguous().view(torch.uint8).numpy().tobytes() for one in tensors if one.numel()
        )


class Outputs(NamedTuple):
    """logits and scores (batch, labels), maps (batch, map, token); tags and flags where a kernel gave them."""

    logits: torch.Tensor
    scores: torch.Tensor
    maps: torch.Tensor
    tags: torch.Tensor | None = None
    nonfinite: torch.Tensor | None = None


def make_inputs(case: Case, seed: int = 0) -> Inputs:
    generator = torch.Generator().manual_seed(seed)
    dtype = TYPES[case.dtype][1]

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator)

    # Labels that some tokens resemble, so that the pooling has something to choose.
    t = normal(1 if case.shared else case.batch, case.labels, case.width)
    x = normal(case.batch, case.tokens, case.width) + t.mean(1, keepdim=True) * 2
    if case.equal:
        x, t = x[:, :1].expand_as(x), t[:, :1].expand_as(t)
    x, t = (x * case.value_scale + case.offset).to(dtype), t.to(dtype)
    if case.zero:
        x, t = x.clone(), t.clone()
        x[:, case.tokens // 2] = 0
        t[:, case.labels // 2] = 0

    def norm() -> tuple[torch.Tensor, torch.Tensor] | None:
        return (1 + 0.3 * normal(case.width), 0.3 * normal(case.width)) if case.norms else None

    thresholds = torch.rand(case.labels, generator=generator)
    return Inputs(x.contiguous(), t.contiguous(), norm(), norm(), normal(case.labels), thresholds)


def predict(inputs: Inputs, case: Case, dtype: torch.dtype) -> Outputs:
    """The definition, computed in ``dtype``: float64 is the reference, the inputs' own type is PyTorch's answer."""

    def unit(
        rows: torch.Tensor, norm: tuple[torch.Tensor, torch.Tensor] | None, scale: float = 1.0
    ) -> torch.Tensor:
        rows = rows.to(dtype) * scale
        if norm:
            rows = torch.nn.functional.layer_norm(
                rows, rows.shape[-1:], norm[0].to(dtype), norm[1].to(dtype), EPSILON
            )
        squares = rows.square().sum(-1, keepdim=True)
        return rows * torch.where(squares == 0, 0, squares.rsqrt())

    x, t = unit(inputs.x, inputs.x_norm, case.torch_scale), unit(inputs.t, inputs.t_norm)
    similarity = case.scale * (x @ t.transpose(-1, -2))
    weights = (case.alpha * similarity).softmax(1)
    logits = (weights * similarity).sum(1) + inputs.bias.to(dtype)
    maps = (weights if case.maps == "weights" else similarity).transpose(1, 2)
    return Outputs(logits, logits.sigmoid(), maps[:, list(case.chosen)] if case.chosen else maps)


def assert_as_good_as_torch(inputs: Inputs, got: Outputs, case: Case) -> None:
    """The error against float64 is at most twice PyTorch's own in the same precision, for each output.

    PyTorch's is the largest of a few draws of the inputs: with a handful of numbers one draw may happen to be exact. Or
    half a unit in the last place of the largest entry, which is what rounding the exact answer costs.
    """
    names = ("logits", "scores", "maps") if case.maps != "none" else ("logits", "scores")
    dtype = inputs.x.dtype
    expected = predict(inputs, case, torch.float64)
    draws = [make_inputs(case, seed) for seed in range(16)]
    theirs = [
        _errors(predict(one, case, dtype), predict(one, case, torch.float64), names)
        for one in draws
    ]
    for i, (name, error) in enumerate(zip(names, _errors(got, expected, names), strict=True)):
        bound = 2 * max(errors[i] for errors in theirs)
        rounding = getattr(expected, name).abs().max().item() * torch.finfo(dtype).eps / 2
        assert error <= max(bound, rounding), f"{case} {name}: {error:.3g} > {bound:.3g}"
    assert got.tags is not None
    assert got.nonfinite is not None
    assert torch.equal(got.tags, (got.scores >= inputs.thresholds).to(torch.uint8)), case
    assert not got.nonfinite.any(), case


def _errors(got: Outputs, exact: Outputs, names: tuple[str, ...]) -> list[float]:
    pairs = [(getattr(got, name), getattr(exact, name)) for name in names]
    assert all(ours.shape == theirs.shape for ours, theirs in pairs)
    return [(ours.double() - theirs).abs().max().item() for ours, theirs in pairs]


def parse(data: bytes, case: Case) -> Outputs:
    """What tag_head_main.cpp wrote."""
    flat: Any = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    size = case.batch * case.labels
    logits, scores, tags, flags, maps = flat.split(
        [4 * size, 4 * size, size, size, len(flat) - 10 * size]
    )
    shape = (case.batch, case.labels)
    if len(maps) == 0:
        grid = torch.empty(0)
    elif case.tokens_last:
        grid = maps.clone().view(torch.float32).view(case.batch, -1, case.tokens)
    else:
        grid = maps.clone().view(torch.float32).view(case.batch, case.tokens, -1).transpose(1, 2)
    numbers = (one.clone().view(torch.float32).view(shape) for one in (logits, scores))
    return Outputs(*numbers, grid, tags.view(shape), flags.view(shape))
