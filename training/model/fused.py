"""Dual-softmax attention as the PyTorch operator ``pvlr::dual_softmax_attention``: forward the fused kernel on CUDA and
PyTorch on the CPU, backward PyTorch. It supports autograd, ``torch.compile`` and ``torch.export``."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from pvlr_sdk import kernels


@torch.library.custom_op("pvlr::dual_softmax_attention", mutates_args=())
def dual_softmax_attention(
    q_x: Tensor, k_t: Tensor, v_x: Tensor, v_t: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute softmax_C(S) V_t and softmax_N(S)^T V_x from one affinity S = Q_x K_t^T / sqrt(dh).

    On CUDA :func:`pvlr_sdk.kernels.dual_softmax_attention` in PyTorch's current stream, on the CPU PyTorch in float32.
    Inputs with a layout that the kernel does not support are copied first.

    Args:
        q_x, v_x: (B, H, N, dh), with dh one of :data:`pvlr_sdk.kernels.DIMS`; float32, float16 or bfloat16.
        k_t, v_t: (B or 1, H, C, dh).
        mask: bool (C,) or (B, C), False for labels to leave out.

    Returns:
        o_x (B, H, N, dh) and o_t (B, H, C, dh), contiguous.
    """
    if not q_x.is_cuda:
        over_labels, over_tokens = _weights(q_x.float(), k_t.float(), mask)
        return (over_labels @ v_t.float()).to(q_x.dtype), (over_tokens.mT @ v_x.float()).to(q_x.dtype)
    inputs = [_readable(x.detach()) for x in (q_x, k_t, v_x, v_t)]
    mask = None if mask is None else mask.contiguous()
    stream = torch.cuda.current_stream(q_x.device)
    o_x, o_t = kernels.dual_softmax_attention(*inputs, mask=mask, stream=stream)
    return o_x, o_t


def _readable(x: Tensor) -> Tensor:
    """x, copied if its last axis is not contiguous or its rows are not aligned to 16 bytes."""
    unaligned = any(place * x.element_size() % 16 for place in (x.storage_offset(), *x.stride()[:-1]))
    return x.clone(memory_format=torch.contiguous_format) if x.stride(-1) != 1 or unaligned else x


@dual_softmax_attention.register_fake
def _(q_x: Tensor, k_t: Tensor, v_x: Tensor, v_t: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
    batch, heads, _, dim = q_x.shape
    return q_x.new_empty(q_x.shape), q_x.new_empty(batch, heads, k_t.shape[2], dim)


def _save(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs)


def _backward(ctx: Any, grad_x: Tensor, grad_t: Tensor) -> tuple[Tensor | None, ...]:
    """With P = softmax_C(S) and R = softmax_N(S), o_x = P V_t and o_t = R^T V_x; the gradient through a softmax is
    P * (dP - sum(P * dP))."""
    q_x, k_t, v_x, v_t, mask = ctx.saved_tensors
    over_labels, over_tokens = _weights(q_x, k_t, mask)
    grad_affinity = _through_softmax(over_labels, grad_x @ v_t.mT, -1)
    grad_affinity = (grad_affinity + _through_softmax(over_tokens, v_x @ grad_t.mT, -2)) * q_x.shape[-1] ** -0.5
    return (
        grad_affinity @ k_t,
        (grad_affinity.mT @ q_x).sum_to_size(k_t.shape),
        over_tokens @ grad_t,
        (over_labels.mT @ grad_x).sum_to_size(v_t.shape),
        None,
    )


def _weights(q_x: Tensor, k_t: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """The softmax of the affinity (B, H, N, C) over labels, and over tokens."""
    affinity = q_x @ k_t.mT * q_x.shape[-1] ** -0.5
    if mask is None:
        return affinity.softmax(-1), affinity.softmax(-2)
    affinity = affinity.masked_fill(~mask.bool().reshape(-1, 1, 1, mask.shape[-1]), -torch.inf)
    # Without an active label all scores are masked.
    return affinity.softmax(-1).nan_to_num(0.0), affinity.softmax(-2).nan_to_num(0.0)


def _through_softmax(weights: Tensor, grad: Tensor, axis: int) -> Tensor:
    weighted = weights * grad
    return weighted - weights * weighted.sum(axis, keepdim=True)


dual_softmax_attention.register_autograd(_backward, setup_context=_save)
