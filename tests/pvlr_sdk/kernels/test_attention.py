"""pvlr_sdk.kernels' attention compared with its definition in float64, and its errors."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.kernels import dual_softmax_attention


def _softmax(scores: np.ndarray, axis: int) -> np.ndarray:
    peak = scores.max(axis, keepdims=True)
    weights = np.exp(scores - np.where(np.isfinite(peak), peak, 0))
    total = weights.sum(axis, keepdims=True)
    return np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)


def _definition(
    q_x: Any, k_t: Any, v_x: Any, v_t: Any, mask: Any = None
) -> tuple[np.ndarray, np.ndarray]:
    q_x, k_t, v_x, v_t = (np.asarray(a, np.float64) for a in (q_x, k_t, v_x, v_t))
    affinity = q_x @ k_t.swapaxes(-1, -2) / np.sqrt(q_x.shape[-1])
    if mask is not None:
        affinity = np.where(np.atleast_2d(mask)[:, None, None, :], affinity, -np.inf)
    return _softmax(affinity, -1) @ v_t, _softmax(affinity, -2).swapaxes(-1, -2) @ v_x


def _inputs(
    batch: int, heads: int, tokens: int, labels: int, dim: int, dtype: Any = np.float32
) -> list[np.ndarray]:
    random = np.random.default_rng(dim + tokens)
    shapes = [(batch, heads, tokens, dim), (batch, heads, labels, dim)] * 2
    return [random.normal(size=shape).astype(dtype) for shape in shapes]


@pytest.mark.slow
@pytest.mark.parametrize("dim", [32, 64, 96, 128])
@pytest.mark.parametrize(("dtype", "bound"), [(np.float32, 3e-6), (np.float16, 2e-3)])
def test_agrees_with_the_definition(dim: int, dtype: Any, bound: float) -> None:
    for sizes in ((1, 1, 1, 1), (2, 3, 49, 20), (1, 2, 197, 83), (3, 1, 7, 301)):
        inputs = _inputs(*sizes, dim, dtype)
        got = dual_softmax_attention(*inputs)
        for one, exact in zip(got, _definition(*inputs), strict=True):
            assert one.dtype == dtype
            np.testing.assert_allclose(one, exact, rtol=0, atol=bound)


def test_every_half_survives() -> None:
    """One token and one label: each output is the other's value, bit for bit, denormals and infinities included."""
    values = np.arange(65536, dtype=np.uint16).view(np.float16).reshape(1, 2048, 1, 32)
    ones = np.ones_like(values)
    o_x, o_t = dual_softmax_attention(ones, ones, values, values)
    assert np.array_equal(o_x, values, equal_nan=True)
    assert np.array_equal(o_t, values, equal_nan=True)


@pytest.mark.slow
@pytest.mark.parametrize(("tokens", "labels", "dim"), [(4095, 8191, 32), (784, 4585, 64)])
def test_large_sizes_and_logits(tokens: int, labels: int, dim: int) -> None:
    inputs = _inputs(1, 1, tokens, labels, dim)
    inputs[0] *= 20
    for one, exact in zip(dual_softmax_attention(*inputs), _definition(*inputs), strict=True):
        np.testing.assert_allclose(one, exact, rtol=0, atol=1e-4)


def test_shared_labels_and_masks() -> None:
    q_x, k_t, v_x, v_t = _inputs(3, 2, 30, 40, 32)
    mask = np.arange(40) % 3 != 0
    per_image = np.stack([mask, ~mask, np.zeros(40, bool)])
    for chosen in (mask, per_image, per_image.astype(np.uint8)):
        got = dual_softmax_attention(q_x, k_t[0], v_x, v_t[:1], mask=chosen)
        for one, exact in zip(
            got, _definition(q_x, k_t[:1], v_x, v_t[:1], chosen.astype(bool)), strict=True
        ):
            np.testing.assert_allclose(one, exact, rtol=0, atol=3e-6)
    assert not got[0][2].any()  # no label takes part in the last image
    assert not got[1][0][:, ::3].any()


def test_strided_views_and_out_without_copies() -> None:
    """Heads split from (batch, tokens, heads * dim), as a linear layer leaves them."""
    random = np.random.default_rng(0)
    fused = random.normal(size=(2, 30, 2, 4, 64)).astype(np.float32)
    bank = random.normal(size=(9, 2, 4, 64)).astype(np.float32)
    q_x, v_x = (fused[:, :, i].transpose(0, 2, 1, 3) for i in (0, 1))
    k_t, v_t = (bank[:, i].transpose(1, 0, 2) for i in (0, 1))
    merged = np.full((2, 30, 4, 64), np.nan, np.float32)
    out = merged.transpose(0, 2, 1, 3), np.empty((2, 4, 9, 64), np.float32)
    got = dual_softmax_attention(q_x, k_t, v_x, v_t, out=out)
    assert got[0] is out[0]
    assert got[1] is out[1]
    for one, exact in zip(got, _definition(q_x, k_t[None], v_x, v_t[None]), strict=True):
        np.testing.assert_allclose(one, exact, rtol=0, atol=3e-6)


def test_takes_torch_tensors_on_the_cpu() -> None:
    torch = pytest.importorskip("torch")
    inputs = _inputs(1, 2, 20, 30, 32)
    expected = dual_softmax_attention(*inputs)
    tensors = [torch.from_numpy(array) for array in inputs]
    got = dual_softmax_attention(*tensors)
    assert all(isinstance(one, torch.Tensor) for one in got)
    assert all(np.array_equal(a, b) for a, b in zip(got, expected, strict=True))
    mask = torch.arange(30) % 2 == 0
    masked = dual_softmax_attention(*(tensor.bfloat16() for tensor in tensors), mask=mask)
    for one, exact in zip(masked, _definition(*inputs, mask.numpy()), strict=True):
        assert one.dtype == torch.bfloat16
        np.testing.assert_allclose(one.float(), exact, rtol=0, atol=0.03)


def test_threads_get_the_same_bits() -> None:
    jobs = [_inputs(1, 2, 30 + i, 50 - i, 64) for i in range(8)]
    expected = [dual_softmax_attention(*job) for job in jobs]
    got: list[Any] = [None] * len(jobs)

    def work(i: int) -> None:
        for _ in range(5):
            got[i] = dual_softmax_attention(*jobs[i])

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(jobs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one, exact in zip(got, expected, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, exact, strict=True))


@pytest.mark.parametrize("shared", [True, False])
def test_more_threads_change_no_bit(shared: bool) -> None:
    q_x, k_t, v_x, v_t = _inputs(3, 5, 30, 40, 64, np.float16)
    bank = (k_t[0], v_t[0]) if shared else (k_t, v_t)
    mask = np.arange(3 * 40).reshape(3, 40) % 7 != 0
    expected = _definition(q_x, k_t[:1] if shared else k_t, v_x, v_t[:1] if shared else v_t, mask)
    one = dual_softmax_attention(q_x, bank[0], v_x, bank[1], mask=mask)
    for got, exact in zip(one, expected, strict=True):
        np.testing.assert_allclose(got, exact, rtol=0, atol=2e-3)
    for threads in (2, 4, 1000):
        got = dual_softmax_attention(q_x, bank[0], v_x, bank[1], mask=mask, threads=threads)
        assert all(np.array_equal(a, b) for a, b in zip(got, one, strict=True))


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("q_x", np.zeros((1, 2, 5, 48), np.float32)),
        ("q_x", np.zeros((1, 2, 0, 32), np.float32)),
        ("q_x", np.zeros((1, 2, 5, 32))),
        ("q_x", [[1.0]]),
        ("k_t", np.zeros((1, 3, 7, 32), np.float32)),
        ("k_t", np.zeros((1, 2, 7, 32), np.float16)),
        ("k_t", np.zeros((7, 32), np.float32)),
        ("v_x", np.zeros((1, 2, 6, 32), np.float32)),
        ("v_x", np.zeros((1, 2, 5, 64), np.float32)[..., ::2]),
        ("v_t", np.zeros((1, 2, 8, 32), np.float32)),
        ("mask", np.zeros(8, bool)),
        ("mask", np.zeros(7, np.int64)),
        ("mask", np.zeros(14, bool)[::2]),
        ("out", np.zeros(3, np.float32)),
        ("out[0]", (np.zeros((1, 2, 5, 64), np.float32), np.zeros((1, 2, 7, 32), np.float32))),
        ("out[1]", (np.zeros((1, 2, 5, 32), np.float32), np.zeros((1, 2, 7, 32)))),
        (
            "out[1]",
            (np.zeros((1, 2, 5, 32), np.float32), np.broadcast_to(np.float32(0), (1, 2, 7, 32))),
        ),
        ("threads", 0),
        ("threads", True),
        ("stream", 1),
    ],
)
def test_errors_name_the_argument(argument: str, value: Any) -> None:
    names = dict(zip(("q_x", "k_t", "v_x", "v_t"), _inputs(1, 2, 5, 7, 32), strict=True))
    names[argument.partition("[")[0]] = value
    with pytest.raises(errors.OptionError) as caught:
        dual_softmax_attention(**names)
    assert caught.value.argument == argument


def test_rows_of_out_must_not_overlap() -> None:
    inputs = _inputs(1, 2, 5, 7, 32)
    memory = np.empty(7 * 2 * 32, np.float32)
    # the last row twice
    heads = np.lib.stride_tricks.as_strided(memory, (1, 2, 7, 32), (0, 4 * 32 * 6, 4 * 32, 4))
    with pytest.raises(errors.OptionError, match="must not overlap") as caught:
        dual_softmax_attention(*inputs, out=(np.empty_like(inputs[0]), heads))
    assert caught.value.argument == "out[1]"


def test_out_must_not_overlap_an_input() -> None:
    inputs = _inputs(1, 2, 5, 7, 32)
    with pytest.raises(errors.OptionError, match="overlap"):
        dual_softmax_attention(*inputs, out=(inputs[0], np.empty_like(inputs[1])))
