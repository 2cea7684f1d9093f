"""pvlr_sdk.kernels.preprocess compared with the pixel contract, on the CPU, and its errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.bundle.manifest import InputSpec
from pvlr_sdk.frames.preprocess import Preprocessor
from pvlr_sdk.kernels import preprocess

SPEC = InputSpec(
    width=56, height=40, resize="letterbox", mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4)
)
SHAPES = {"bgr": (3,), "rgb": (3,), "bgra": (4,), "rgba": (4,), "gray": ()}


def _frame(order: str, height: int, width: int) -> np.ndarray:
    random = np.random.default_rng(height)
    if order.startswith(("nv12", "i420")):
        return random.integers(0, 256, (height * 3 // 2, width), np.uint8)
    return random.integers(0, 256, (height, width, *SHAPES[order]), np.uint8)


def test_a_batch_of_every_layout_and_size_is_what_the_preprocessor_gives() -> None:
    orders = ["bgr", "rgb", "bgra", "rgba", "gray", "nv12", "bgr"]
    sizes = [(30, 90), (200, 64), (31, 33), (1, 1), (77, 5), (64, 48), (50, 70)]
    frames = [_frame(order, *size) for order, size in zip(orders, sizes, strict=True)]
    frames[6] = frames[6][::-1, 3:-2]  # upwards, and pitched
    for resize in ("letterbox", "stretch"):
        spec = SPEC.model_copy(update={"resize": resize})
        got = preprocess(frames, spec, order=orders)
        assert (got.dtype, got.shape) == (np.float32, (7, 3, 40, 56))
        for one, frame, order in zip(got, frames, orders, strict=True):
            np.testing.assert_allclose(one, Preprocessor(spec)(frame, order), rtol=0, atol=1e-4)


def test_threads_change_no_bit() -> None:
    frames = [_frame("bgr", 30 + i, 90 - i) for i in range(7)]
    one = preprocess(frames, SPEC, dtype="float16")
    for threads in (2, 3, 1000):
        assert np.array_equal(preprocess(frames, SPEC, dtype="float16", threads=threads), one)


def test_regions_are_pictures_of_their_own() -> None:
    frames = [_frame("bgr", 80, 120), _frame("bgr", 50, 50)]
    regions = [(0, (10, 20, 33, 44)), (1, (0, 0, 50, 50)), (0, (119, 79, 1, 1))]
    got = preprocess(frames, SPEC, regions=regions)
    for one, (number, (left, top, width, height)) in zip(got, regions, strict=True):
        alone = np.ascontiguousarray(frames[number][top : top + height, left : left + width])
        np.testing.assert_allclose(one, Preprocessor(SPEC)(alone, "bgr"), rtol=0, atol=1e-4)


def test_planes_one_by_one_are_the_same_as_in_one_array() -> None:
    whole = _frame("nv12", 64, 48)
    nv12 = whole[:64], whole[64:]
    planes = _frame("i420", 64, 48)
    i420 = planes[:64], planes[64:80].reshape(32, 24), planes[80:].reshape(32, 24)
    for order, array, parts in (("nv12", whole, nv12), ("i420-bt709-full", planes, i420)):
        one, other = preprocess([array, parts], SPEC, order=order)
        assert np.array_equal(one, other)
    # The same chroma, in either layout.
    pairs = np.stack([i420[1], i420[2]], -1).reshape(32, 48)
    one, other = preprocess([i420, (i420[0], pairs)], SPEC, order=["i420", "nv12"])
    assert np.array_equal(one, other)
    ranges = [
        preprocess([whole], SPEC, order="nv12" + ending)
        for ending in ("", "-bt709", "-full", "-bt709-full")
    ]
    assert len({result.tobytes() for result in ranges}) == 4


def test_types_and_out() -> None:
    torch = pytest.importorskip("torch")
    frame = torch.from_numpy(_frame("rgb", 70, 90))
    exact = preprocess([frame], SPEC, order="rgb")
    assert isinstance(exact, torch.Tensor)
    for dtype, bound in (("float16", 2e-3), ("bfloat16", 1e-2)):
        out = torch.full((1, 3, 40, 56), torch.nan, dtype=getattr(torch, dtype))
        assert preprocess([frame], SPEC, order="rgb", dtype=dtype, out=out) is out
        torch.testing.assert_close(out.float(), exact, rtol=0, atol=bound)
        assert preprocess([frame], SPEC, order="rgb", dtype=dtype).dtype == out.dtype


GOOD = _frame("bgr", 20, 30)


@pytest.mark.parametrize(
    ("argument", "changes"),
    [
        ("frames", {"frames": []}),
        ("frames", {"frames": GOOD}),
        ("frames[1]", {"frames": [GOOD, GOOD.astype(np.float32)]}),
        ("frames[1]", {"frames": [GOOD, GOOD[:, ::2]]}),
        ("frames[1]", {"frames": [GOOD, GOOD[:, :, 0]]}),
        ("frames[0]", {"frames": [GOOD[:0]]}),
        ("frames", {"frames": [np.zeros((1, 2**20 + 1, 3), np.uint8)]}),
        ("frames[0]", {"frames": [GOOD[:, :, 0].copy()[:20]], "order": "nv12"}),
        ("frames[0]", {"frames": [np.zeros((30, 40), np.uint8)[:, :20]], "order": "i420"}),
        (
            "frames[0]",
            {"frames": [(np.zeros((5, 5), np.uint8), np.zeros((2, 6), np.uint8))], "order": "nv12"},
        ),
        ("frames[0]", {"frames": [()], "order": "nv12"}),
        ("frames[0]", {"frames": [[]], "order": "i420"}),
        ("order", {"order": "hsv"}),
        ("order", {"order": "bgr-full"}),
        ("order", {"order": "nv12-bt2020"}),
        ("order", {"order": ["bgr", "bgr"]}),
        ("regions[1]", {"regions": [(0, (0, 0, 30, 20)), (0, (0, 0, 31, 20))]}),
        ("regions[0]", {"regions": [(1, (0, 0, 3, 3))]}),
        ("regions[0]", {"regions": [(0, (0, 0, 0, 3))]}),
        ("regions[0]", {"regions": [4]}),
        ("regions[0]", {"regions": [(0, (0, 0, float("inf"), 3))]}),
        ("regions", {"regions": []}),
        ("dtype", {"dtype": "float64"}),
        ("out", {"out": np.zeros((1, 3, 40, 55), np.float32)}),
        ("out", {"out": np.zeros((1, 3, 40, 56), np.float16)}),
        ("out", {"out": np.zeros((1, 40, 56, 3), np.float32).transpose(0, 3, 1, 2)}),
        ("threads", {"threads": 0}),
        ("stream", {"stream": 4}),
    ],
)
def test_errors_name_the_argument(argument: str, changes: dict[str, Any]) -> None:
    with pytest.raises(errors.OptionError) as caught:
        preprocess(**{"frames": [GOOD], "spec": SPEC, **changes})
    assert caught.value.argument == argument
