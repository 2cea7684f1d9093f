"""The rival heads compared with their papers' formulas in float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from pvlr_training.deploy import DeployedPVLR
from pvlr_training.model.config import ModelConfig
from pvlr_training.model.heads import open_head
from pvlr_training.model.heads.decoder import DecoderLayer
from pvlr_training.model.heads.query2label import sine_position
from pvlr_training.model.network import PVLR

Array = NDArray[np.float64]
RIVALS = ("linear", "csra", "query2label", "ml_decoder")
BANK = torch.zeros(0)  # the rivals do not use it
B, ROWS, COLUMNS, D, C = 2, 3, 5, 20, 7


def array(x: torch.Tensor) -> Array:
    return x.detach().double().numpy()


def softmax(x: Array, axis: int) -> Array:
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def layer_norm(x: Array, norm: nn.LayerNorm) -> Array:
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / np.sqrt(var + norm.eps) * array(norm.weight) + array(norm.bias)


def linear(x: Array, layer: nn.Linear) -> Array:
    return x @ array(layer.weight).T + array(layer.bias)


def make(head: str, **changes: object) -> tuple[nn.Module, torch.Tensor]:
    """A head with random norms and biases, and tokens for it."""
    torch.manual_seed(0)
    config = ModelConfig.model_validate({"head": head, "width": 24, "heads": 3, "ffn": 40, **changes})
    module = open_head(D, (ROWS, COLUMNS), C, config).eval()
    for name, parameter in module.named_parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5) if "norm.weight" in name else nn.init.normal_(parameter)
    return module, torch.randn(B, ROWS * COLUMNS, D)


def attend(queries: Array, keys: Array, values: Array, part: nn.Module) -> tuple[Array, Array]:
    """One image at a time and head by head: (q, d), (n, d), (n, d) -> (q, d), weights (q, n)."""
    q, k, v = (linear(*pair) for pair in ((queries, part.query), (keys, part.key), (values, part.value)))
    size = q.shape[1] // part.heads
    cuts = [slice(h * size, (h + 1) * size) for h in range(part.heads)]
    weights = [softmax(q[:, cut] @ k[:, cut].T / np.sqrt(size), 1) for cut in cuts]
    read = np.concatenate([w @ v[:, cut] for w, cut in zip(weights, cuts, strict=True)], 1)
    return linear(read, part.output), np.mean(weights, 0)


def decode(queries: Array, keys: Array, values: Array, layer: DecoderLayer) -> tuple[Array, Array]:
    if layer.self_attention is not None:
        queries = queries + attend(queries, queries, queries, layer.self_attention)[0]
    queries = layer_norm(queries, layer.self_norm)
    read, weights = attend(queries, keys, values, layer.cross_attention)
    queries = layer_norm(queries + read, layer.cross_norm)
    hidden = np.maximum(linear(queries, layer.ffn[0]), 0)
    return layer_norm(queries + linear(hidden, layer.ffn[3]), layer.ffn_norm), weights


def test_linear_classifies_the_average_and_its_map_averages_to_the_logit() -> None:
    head, tokens = make("linear")
    output = head(tokens, BANK)
    X, W, b = array(tokens), array(head.classify.weight), array(head.classify.bias)
    np.testing.assert_allclose(array(output.logits), X.mean(1) @ W.T + b, atol=1e-5)
    np.testing.assert_allclose(array(output.similarity), X @ W.T + b, atol=1e-5)
    np.testing.assert_allclose(array(output.similarity).mean(1), array(output.logits), atol=1e-5)


@pytest.mark.parametrize(
    ("heads", "temperatures"),
    [(1, [1]), (2, [1, None]), (4, [1, 2, 4, None]), (6, [1, 2, 3, 4, 5, None]), (8, [1, 2, 3, 4, 5, 6, 7, None])],
)
def test_csra_is_its_formula(heads: int, temperatures: list[float | None]) -> None:
    head, tokens = make("csra", csra={"heads": heads, "weight": 0.3})
    output = head(tokens, BANK)
    X = array(tokens)
    logits, similarity = np.zeros((B, C)), np.zeros((B, ROWS * COLUMNS, C))
    for temperature, classifier in zip(temperatures, head.classifiers, strict=True):
        W = array(classifier.weight)
        s = X @ (W / np.linalg.norm(W, axis=1, keepdims=True)).T
        # The maximum is the limit of increasing temperature.
        attention = softmax((temperature or 1e6) * s, 1)
        logits += s.mean(1) + 0.3 * (attention * s).sum(1)
        similarity += s
    np.testing.assert_allclose(array(output.logits), logits, atol=2e-5)
    np.testing.assert_allclose(array(output.similarity), similarity, atol=2e-5)


@pytest.mark.parametrize("layers", [1, 2])
def test_query2label_is_its_formula_and_its_map_is_the_attention(layers: int) -> None:
    head, tokens = make("query2label", layers=layers)
    output = head(tokens, BANK)
    for image in range(B):
        values = linear(array(tokens[image]), head.project)
        queries = array(head.queries)
        for layer in head.layers:
            queries, weights = decode(queries, values + array(head.position), values, layer)
        logits = (queries * array(head.weight)).sum(1) + array(head.bias)
        np.testing.assert_allclose(array(output.logits[image]), logits, atol=2e-5)
        np.testing.assert_allclose(softmax(array(output.similarity[image]), 0), weights.T, atol=2e-6)


def test_sine_position_tells_every_place_from_every_other() -> None:
    rows, columns, width = 4, 6, 16
    code = array(sine_position(rows, columns, width)).reshape(rows, columns, width)
    for row in range(rows):
        for column in range(columns):
            for channel in range(width):
                place, count = ((row, rows), (column, columns))[channel // (width // 2)]
                pair = channel % (width // 2) // 2
                angle = (place + 1) / count * 2 * np.pi / 10_000 ** (2 * pair / (width / 2))
                expected = np.sin(angle) if channel % 2 == 0 else np.cos(angle)
                assert code[row, column, channel] == pytest.approx(expected, abs=1e-5)
    flat = code.reshape(-1, width)
    distances = np.linalg.norm(flat[:, None] - flat[None], axis=-1) + np.eye(len(flat))
    assert distances.min() > 0.1


@pytest.mark.parametrize("groups", [1, 2, 3, 4, 5, 7, 100])
def test_ml_decoder_is_its_formula(groups: int) -> None:
    head, tokens = make("ml_decoder", ml_decoder={"groups": groups})
    output = head(tokens, BANK)
    size = -(-C // min(groups, C))
    assert len(head.queries) <= groups
    for image in range(B):
        values = np.maximum(linear(array(tokens[image]), head.project), 0)
        queries, weights = decode(array(head.queries), values, values, head.layers[0])
        for label in range(C):
            group, place = divmod(label, size)
            logit = queries[group] @ array(head.weight)[group, :, place] + array(head.bias)[label]
            assert array(output.logits)[image, label] == pytest.approx(logit, abs=2e-5)
            label_map = softmax(array(output.similarity[image, :, label]), 0)
            np.testing.assert_allclose(label_map, weights[group], atol=2e-6)


def test_ml_decoder_queries_stay_as_they_were_drawn() -> None:
    head, _ = make("ml_decoder")
    assert "queries" not in dict(head.named_parameters())
    assert "queries" in head.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize("head", RIVALS)
def test_every_parameter_of_a_rival_learns_and_its_deployed_form_agrees(head: str) -> None:
    torch.manual_seed(0)
    config = ModelConfig.model_validate(
        {
            "head": head,
            "backbone": "test_efficientnet",
            "pretrained": False,
            "width": 32,
            "heads": 4,
            "text": {"encoder": "random"},
            "csra": {"heads": 2},
            "ml_decoder": {"groups": 2},
        }
    )
    model = PVLR(("dog", "cat", "bus"), 64, 96, config).train()
    output = model(torch.randn(2, 3, 64, 96))
    assert output.logits.shape == (2, 3)
    assert output.similarity.shape == (2, model.grid[0] * model.grid[1], 3)
    output.logits.square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert float(model.text.distance()) == 0
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        expected = model.eval()(images).logits
        torch.testing.assert_close(DeployedPVLR(model)(images).logits, expected, atol=5e-2, rtol=0)
