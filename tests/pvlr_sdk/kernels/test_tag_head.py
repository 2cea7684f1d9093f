"""pvlr_sdk.kernels.tag_head compared with its definition in float64, and its errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.kernels import TagHead, tag_head
from pvlr_sdk.result import sigmoid


@dataclass
class Inputs:
    x: np.ndarray
    t: np.ndarray
    numbers: dict[str, Any] = field(default_factory=dict)


def _inputs(
    batch: int, tokens: int, labels: int, width: int, dtype: Any = np.float32, banks: int = 1
) -> Inputs:
    random = np.random.default_rng(tokens + labels)

    def normal(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    bank = normal(banks, labels, width)
    x = normal(batch, tokens, width) + 2 * bank.mean(1, keepdims=True)
    norms = {name: (1 + 0.3 * normal(width), 0.3 * normal(width)) for name in ("x_norm", "t_norm")}
    thresholds = random.random(labels).astype(np.float32)
    numbers = {
        "scale": 12.0,
        "alpha": 0.5,
        "bias": normal(labels),
        "thresholds": thresholds,
        **norms,
    }
    return Inputs(x.astype(dtype), bank.astype(dtype), numbers)


def _definition(inputs: Inputs) -> tuple[np.ndarray, np.ndarray]:
    """Logits and similarity (batch, labels, tokens)."""

    def unit(rows: np.ndarray, norm: Any) -> np.ndarray:
        rows = rows.astype(np.float64)
        if norm is not None:
            variance = rows.var(-1, keepdims=True)
            rows = (rows - rows.mean(-1, keepdims=True)) / np.sqrt(variance + 1e-5) * norm[
                0
            ] + norm[1]
        return rows / np.linalg.norm(rows, axis=-1, keepdims=True)

    numbers = inputs.numbers
    x, t = unit(inputs.x, numbers.get("x_norm")), unit(inputs.t, numbers.get("t_norm"))
    similarity = numbers["scale"] * (t @ x.swapaxes(-1, -2))
    weights = _softmax(numbers["alpha"] * similarity)
    return (weights * similarity).sum(-1) + numbers["bias"], similarity


def _softmax(exponents: np.ndarray) -> np.ndarray:
    weights = np.exp(exponents - exponents.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float32, np.float16])
@pytest.mark.parametrize(
    "sizes", [(1, 1, 1, 8), (2, 49, 20, 256), (3, 197, 83, 72), (1, 1024, 4585, 64)]
)
def test_agrees_with_the_definition(sizes: tuple[int, int, int, int], dtype: Any) -> None:
    inputs = _inputs(*sizes, dtype)
    got = tag_head(inputs.x, inputs.t, maps="weights", threads=2, **inputs.numbers)
    logits, similarity = _definition(inputs)
    np.testing.assert_allclose(got.logits, logits, rtol=0, atol=5e-6)
    np.testing.assert_allclose(got.scores, sigmoid(got.logits), rtol=0, atol=2e-7)
    np.testing.assert_allclose(got.maps, _softmax(0.5 * similarity), rtol=0, atol=2e-6)
    assert np.array_equal(got.tags, got.scores >= inputs.numbers["thresholds"])
    assert (got.tags.dtype, got.nonfinite.dtype, got.nonfinite.any()) == (bool, bool, False)


def test_is_what_the_model_computes() -> None:
    """The last layer norms of dual-modal attention and the head of the PyTorch model, and TagResult's attention map."""
    torch = pytest.importorskip("torch")
    training = pytest.importorskip("pvlr_training.model.heads.pvlr")
    head = training.SimilarityHead(7)
    torch.nn.init.normal_(head.bias)
    norms = [torch.nn.LayerNorm(64), torch.nn.LayerNorm(64)]
    for parameter in (parameter for norm in norms for parameter in norm.parameters()):
        torch.nn.init.normal_(parameter)
    x, t = torch.randn(2, 30, 64), torch.randn(2, 7, 64)
    with torch.inference_mode():
        logits, similarity = head(norms[0](x), norms[1](t))
        weights = (head.alpha * similarity).softmax(1)
        got = tag_head(
            x,
            t,
            scale=float(head.log_scale.exp()),
            alpha=head.alpha,
            bias=head.bias.detach(),
            x_norm=(norms[0].weight.detach(), norms[0].bias.detach()),
            t_norm=(norms[1].weight.detach(), norms[1].bias.detach()),
            maps="weights",
            chosen=[6, 0],
        )
    assert all(
        isinstance(one, torch.Tensor) for one in (got.logits, got.scores, got.nonfinite, got.maps)
    )
    assert got.tags is None
    assert (got.logits - logits).abs().max() < 1e-5
    assert (got.maps - weights[:, :, [6, 0]].transpose(1, 2)).abs().max() < 1e-6


def test_threads_change_no_bit() -> None:
    inputs = _inputs(2, 50, 100, 64, np.float16, banks=2)
    expected = tag_head(inputs.x, inputs.t, maps="similarity", **inputs.numbers)
    for threads in (2, 3, 1000):
        got = tag_head(inputs.x, inputs.t, maps="similarity", threads=threads, **inputs.numbers)
        assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))


def test_writes_into_out_without_copies() -> None:
    """Similarity as the model's second output, (batch, tokens, labels), from tokens that are a slice."""
    inputs = _inputs(2, 30, 9, 64)
    wide = np.zeros((2, 31, 80), np.float32)
    wide[:, 1:, :64] = inputs.x
    similarity = np.full((2, 30, 9), np.nan, np.float32)
    out = TagHead(
        np.empty((2, 9), np.float32),
        tags=np.full((2, 9), 7, np.uint8),
        maps=similarity.swapaxes(1, 2),
    )
    got = tag_head(wide[:, 1:, :64], inputs.t[0], maps="similarity", out=out, **inputs.numbers)
    assert got is out
    logits, exact = _definition(inputs)
    np.testing.assert_allclose(out.logits, logits, rtol=0, atol=5e-6)
    np.testing.assert_allclose(similarity, exact.swapaxes(1, 2), rtol=0, atol=1e-5)
    assert np.array_equal(out.tags, sigmoid(out.logits) >= inputs.numbers["thresholds"])


def test_nan_in_a_token_raises_the_flag_of_its_image() -> None:
    inputs = _inputs(3, 20, 5, 16)
    inputs.x[1, 7, 3] = np.nan
    got = tag_head(inputs.x, inputs.t, **inputs.numbers)
    assert got.nonfinite.tolist() == [[False] * 5, [True] * 5, [False] * 5]
    assert not got.tags[1].any()


def _out(**changed: Any) -> TagHead:
    return TagHead(np.empty((1, 7), np.float32))._replace(**changed)


@pytest.mark.parametrize(
    ("argument", "options"),
    [
        ("x", {"x": np.zeros((1, 5, 20), np.float32)}),
        ("x", {"x": np.zeros((1, 5, 1032), np.float32)}),
        ("x", {"x": np.zeros((1, 0, 16), np.float32)}),
        ("x", {"x": np.zeros((1, 5, 16))}),
        ("x", {"x": np.zeros((1, 5, 32), np.float32)[..., ::2]}),
        ("t", {"t": np.zeros((7, 24), np.float32)}),
        ("t", {"t": np.zeros((2, 7, 16), np.float32)}),
        ("t", {"t": np.zeros((7, 16), np.float16)}),
        ("scale", {"scale": "12"}),
        ("scale", {"scale": 1e39}),
        ("alpha", {"alpha": float("nan")}),
        ("epsilon", {"epsilon": -1e-5}),
        ("x_norm", {"x_norm": np.zeros(16, np.float32)}),
        ("x_norm[1]", {"x_norm": (np.zeros(16, np.float32), np.zeros(8, np.float32))}),
        ("t_norm", {"t_norm": (np.zeros(16, np.float32), None)}),
        ("bias", {"bias": np.zeros(7)}),
        ("thresholds", {"thresholds": np.zeros(14, np.float32)[::2]}),
        ("maps", {"maps": "both"}),
        ("chosen", {"chosen": [0]}),
        ("chosen", {"maps": "weights", "chosen": [0, 7]}),
        ("chosen", {"maps": "weights", "chosen": []}),
        ("chosen", {"maps": "weights", "chosen": [2**32]}),
        ("chosen", {"maps": "weights", "chosen": np.zeros(2)}),
        ("threads", {"threads": 0}),
        ("out", {"out": (np.empty((1, 7), np.float32),)}),
        ("out", {"out": TagHead(None)}),
        ("out.logits", {"out": TagHead(np.empty((1, 8), np.float32))}),
        ("out.scores", {"out": _out(scores=np.empty((7, 1), np.float32).T[:, ::-1])}),
        ("out.maps", {"out": _out(maps=np.empty((1, 7, 5), np.float32))}),
        ("out.maps", {"out": _out(), "maps": "weights"}),
        ("thresholds", {"out": _out(tags=np.empty((1, 7), bool))}),
        ("out.nonfinite", {"out": _out(nonfinite=np.empty((1, 7), np.int8))}),
        ("stream", {"stream": 1}),
    ],
)
def test_errors_name_the_argument(argument: str, options: dict[str, Any]) -> None:
    inputs = _inputs(1, 5, 7, 16)
    given: dict[str, Any] = {"x": inputs.x, "t": inputs.t, "scale": 12.0, "alpha": 0.5}
    with pytest.raises(errors.OptionError) as caught:
        tag_head(**{**given, **options})
    assert caught.value.argument == argument


def test_out_must_lie_apart() -> None:
    inputs = _inputs(1, 16, 16, 16)
    with pytest.raises(errors.OptionError, match="apart from x"):
        tag_head(inputs.x, inputs.t, scale=1.0, alpha=1.0, out=TagHead(inputs.x[0, :1]))
    maps = np.broadcast_to(np.zeros((1, 16, 1), np.float32), (1, 16, 16))
    overlapping = np.lib.stride_tricks.as_strided(maps[..., :1].copy(), (1, 16, 16), (64, 4, 0))
    out = TagHead(np.empty((1, 16), np.float32), maps=overlapping)
    with pytest.raises(errors.OptionError, match="must not overlap") as caught:
        tag_head(inputs.x, inputs.t, scale=1.0, alpha=1.0, maps="weights", out=out)
    assert caught.value.argument == "out.maps"
