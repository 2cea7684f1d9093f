"""Prepared calls: equal to the plain ones, and an error for every array that does not fit."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.kernels import dual_softmax_attention, prepare, preprocess, tag_head


def _attention(seed: int) -> list[np.ndarray]:
    """Images that share their labels."""
    random = np.random.default_rng(seed)
    shapes = [(2, 3, 7, 32), (3, 5, 32)] * 2
    return [random.normal(size=shape).astype(np.float32) for shape in shapes]


def _head(seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [random.normal(size=shape).astype(np.float16) for shape in ((2, 7, 16), (5, 16))]


HEAD = {"scale": 12.0, "alpha": 0.5, "thresholds": np.full(5, 0.5, np.float32), "maps": "weights", "chosen": [3, 1]}
MASKED = {"mask": np.array([True, False, True, True, False])}


@pytest.mark.parametrize(
    ("kernel", "inputs", "options"), [(dual_softmax_attention, _attention, MASKED), (tag_head, _head, HEAD)]
)
def test_equals_the_plain_call(kernel: Any, inputs: Any, options: Any) -> None:
    arrays = inputs(0)
    prepared = prepare(kernel, *arrays, **options)
    for seed in (1, 2):
        others = inputs(seed)
        got = prepared(*others)
        assert got is prepared.out
        for one, expected in zip(got, kernel(*others, **options), strict=True):
            assert np.array_equal(one, expected)
    # Without arguments: those that it was prepared with, with their contents of now.
    arrays[0][:] = inputs(3)[0]
    for one, expected in zip(prepared(), kernel(*arrays, **options), strict=True):
        assert np.array_equal(one, expected)


def test_keeps_its_arrays_alive() -> None:
    prepared = prepare(dual_softmax_attention, *_attention(0), mask=np.ones(5, bool))
    gc.collect()
    _ = [np.full((2, 3, 7, 32), np.nan, np.float32) for _ in range(20)]  # would take freed memory
    for one, expected in zip(prepared(), dual_softmax_attention(*_attention(0)), strict=True):
        assert np.array_equal(one, expected)


def test_takes_arrays_of_other_libraries() -> None:
    torch = pytest.importorskip("torch")
    arrays, others = _attention(0), _attention(1)
    expected = dual_softmax_attention(*others)
    for first, second in ((arrays, map(torch.from_numpy, others)), (map(torch.from_numpy, arrays), others)):
        got = prepare(dual_softmax_attention, *first)(*second)
        assert all(np.array_equal(one, other) for one, other in zip(got, expected, strict=True))


def _changed(place: int, value: Any) -> list[Any]:
    return [value if i == place else array for i, array in enumerate(_attention(1))]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        (_changed(0, np.zeros((2, 3, 8, 32), np.float32)), r"q_x: expected float32 \(2, 3, 7, 32\) with strides"),
        (_changed(1, np.zeros((2, 3, 5, 32), np.float32)), r"k_t: expected float32 \(1, 3, 5, 32\)"),
        (_changed(2, np.zeros((2, 3, 7, 32), np.float16)), r"v_x: expected .*, got float16"),
        (
            _changed(3, np.zeros((3, 5, 64), np.float32)[..., ::2]),
            r"v_t: expected .* \(160, 32, 1\), got .*320, 64, 2\)",
        ),
        (_changed(0, np.zeros((2, 3, 7, 32), ">f4")), "q_x: expected an array that can be shared"),
        (_changed(3, [1.0]), "v_t: expected a NumPy array"),
        (_attention(1)[:3], r"arrays: expected no arrays, or 4 \(q_x, k_t, v_x, v_t\), got 3"),
    ],
)
def test_names_the_array_that_differs(arrays: list[Any], words: str) -> None:
    prepared = prepare(dual_softmax_attention, *_attention(0))
    with pytest.raises(errors.OptionError, match=words):
        prepared(*arrays)


def test_refuses_outputs_as_inputs_and_other_functions() -> None:
    prepared = prepare(dual_softmax_attention, *_attention(0))
    with pytest.raises(errors.OptionError, match="memory apart from the outputs"):
        prepared(*_changed(2, prepared.out[0]))
    with pytest.raises(errors.OptionError, match="the function dual_softmax_attention or tag_head"):
        prepare(preprocess)
    with pytest.raises(errors.OptionError, match="q_x: expected a shape"):
        prepare(dual_softmax_attention, *[np.zeros(3, np.float32)] * 4)
