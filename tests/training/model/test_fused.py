"""Fused attention in training: values and gradients compared with the definition in float64, PyTorch's checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from pvlr_sdk import errors
from pvlr_training.config import load_config
from pvlr_training.deploy import DeployedPVLR
from pvlr_training.model.config import ModelConfig, TextConfig
from pvlr_training.model.dma import DualModalAttention
from pvlr_training.model.fused import dual_softmax_attention
from pvlr_training.model.network import PVLR

MASKS: list[Any] = [None, torch.tensor([True, False, True, True, False]), torch.tensor([[True] * 5, [False] * 5])]


def _inputs(dtype: torch.dtype = torch.float32, bank: int = 2, tokens: int = 3, labels: int = 5) -> list[Tensor]:
    torch.manual_seed(tokens)
    shapes = [(2, 2, tokens, 32), (bank, 2, labels, 32)] * 2
    return [torch.randn(shape, dtype=torch.float64).to(dtype).requires_grad_() for shape in shapes]


def _definition(
    q_x: Tensor, k_t: Tensor, v_x: Tensor, v_t: Tensor, mask: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    affinity = q_x @ k_t.mT / q_x.shape[-1] ** 0.5
    weights = torch.ones_like(affinity) if mask is None else mask.reshape(-1, 1, 1, mask.shape[-1]).expand_as(affinity)
    kept = affinity.exp() * weights
    total = lambda axis: kept.sum(axis, keepdim=True).clamp(min=1e-300)
    return kept / total(-1) @ v_t, (kept / total(-2)).mT @ v_x


@pytest.mark.slow
@pytest.mark.parametrize(("bank", "mask"), list(zip((1, 2, 1), MASKS, strict=True)))
def test_gradcheck(bank: int, mask: Tensor | None) -> None:
    """The operator computes in float32, which needs wider finite differences than float64."""
    # Two images, one head, two tokens, three labels: every entry of the Jacobian is checked.
    inputs = [x.detach()[:, :1, :3].double().requires_grad_() for x in _inputs(bank=bank, tokens=2)]
    mask = None if mask is None else mask[..., :3]

    def attend(*xs: Tensor) -> tuple[Tensor, ...]:
        return tuple(y.double() for y in dual_softmax_attention(*(x.float() for x in xs), mask))

    assert torch.autograd.gradcheck(attend, inputs, eps=2e-2, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 5e-6), (torch.bfloat16, 0.08), (torch.float16, 0.01)])
def test_values_and_gradients_are_those_of_the_definition(
    dtype: torch.dtype, bound: float, mask: Tensor | None
) -> None:
    ours = _inputs(dtype, bank=1)
    exact = [x.detach().double().requires_grad_() for x in ours]
    got, expected = dual_softmax_attention(*ours, mask), _definition(*exact, mask)
    upstream = [torch.randn(y.shape, dtype=torch.float64) for y in expected]
    sum((y * g).sum() for y, g in zip(got, upstream, strict=True)).backward()
    sum((y * g).sum() for y, g in zip(expected, upstream, strict=True)).backward()
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == dtype
        torch.testing.assert_close(one.double(), other, rtol=0, atol=bound)
    for one, other in zip(ours, exact, strict=True):
        assert one.grad is not None
        torch.testing.assert_close(one.grad.double(), other.grad, rtol=0, atol=bound)


def test_second_derivatives() -> None:
    inputs = [x.detach().requires_grad_() for x in _inputs(torch.float32)]
    exact = [x.detach().double().requires_grad_() for x in inputs]
    results = []
    for xs, attend in ((inputs, dual_softmax_attention), (exact, _definition)):
        o_x, o_t = attend(*xs)
        (first,) = torch.autograd.grad(o_x.square().sum() + o_t.square().sum(), xs[0], create_graph=True)
        results.append(torch.autograd.grad(first.square().sum(), xs[1])[0].double())
    # The gradient starts from float32 outputs.
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_opcheck() -> None:
    views = [x.detach().transpose(1, 2).contiguous().transpose(1, 2).requires_grad_() for x in _inputs()]
    for inputs, mask in ((_inputs(bank=1), MASKS[1]), (views, None)):
        torch.library.opcheck(dual_softmax_attention, (*inputs, mask))


def test_strided_inputs() -> None:
    inputs = _inputs()
    expected = dual_softmax_attention(*inputs)
    strided = [torch.stack([x, x], -1)[..., 0] for x in inputs]
    assert all(x.stride(-1) == 2 for x in strided)
    torch.testing.assert_close(dual_softmax_attention(*strided), expected)


def _layers() -> tuple[DualModalAttention, DualModalAttention]:
    torch.manual_seed(0)
    native = DualModalAttention(width=64, heads=2, ffn=48, dropout=0.0)
    fused = DualModalAttention(width=64, heads=2, ffn=48, dropout=0.0, attention="fused")
    fused.load_state_dict(native.state_dict())
    return native, fused


@pytest.mark.slow
def test_a_layer_computes_and_learns_the_same() -> None:
    native, fused = _layers()
    x, t = torch.randn(2, 7, 64), torch.randn(1, 5, 64)
    for layer in (native, fused):
        visual, labels = layer(x, t)
        (visual.square().mean() + labels.pow(3).mean()).backward()
    for one, other in zip(native(x, t), fused(x, t), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    for (name, one), other in zip(native.named_parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-6, msg=name)
    with torch.autocast("cpu", torch.bfloat16):
        for one, other in zip(native(x, t), fused(x, t), strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0.05)


@pytest.mark.slow
def test_export_and_compile_keep_the_operator() -> None:
    _, fused = _layers()
    x, t = torch.randn(2, 7, 64), torch.randn(1, 5, 64)
    expected = fused.eval()(x, t)
    tokens = torch.export.Dim("tokens", min=2, max=64)
    program = torch.export.export(fused, (x, t), dynamic_shapes=({1: tokens}, None))
    assert any("dual_softmax_attention" in str(node.target) for node in program.graph.nodes)
    for one, other in zip(program.module()(x, t), expected, strict=True):
        torch.testing.assert_close(one, other)
    # The default backend compiles C++ for minutes; this one traces forward and backward in the same way.
    compiled = torch.compile(fused, backend="aot_eager", fullgraph=True)
    visual, labels = compiled(x.requires_grad_(), t)
    torch.testing.assert_close((visual, labels), expected)
    (visual.sum() + labels.sum()).backward()
    assert x.grad is not None


def test_a_whole_model_and_its_export_without_the_operator() -> None:
    torch.manual_seed(0)
    options = {"backbone": "test_efficientnet", "pretrained": False, "width": 64, "heads": 2}
    names = ("dog", "cat", "bus")
    text = TextConfig(encoder="random")
    fused = PVLR(names, 64, 64, ModelConfig(**options, text=text, attention="fused")).eval()
    native = PVLR(names, 64, 64, ModelConfig(**options, text=text)).eval()
    native.load_state_dict(fused.state_dict())
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(fused(images).logits, native(images).logits, rtol=0, atol=1e-4)
    program = torch.export.export(DeployedPVLR(fused), (images,))
    assert not any("dual_softmax_attention" in str(node.target) for node in program.graph.nodes)


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.attention=fuse"], "model.attention"),
        (["model.attention=fused"], r"width / heads of 32, 64, 96, 128, not 8"),
        (["model.attention=fused", "model.width=128", "model.dma=visual_to_label"], "computes both directions"),
    ],
)
def test_what_the_kernel_does_not_know_is_a_config_error(write_config: Any, overrides: list[str], words: str) -> None:
    path: Path = write_config()
    with pytest.raises(errors.ConfigError, match=words):
        load_config(path, overrides)
    assert load_config(path, ["model.attention=fused", "model.width=128"]).model.attention == "fused"
