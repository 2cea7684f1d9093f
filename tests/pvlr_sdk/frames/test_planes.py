"""NV12 and I420 frames as planes: bit-equal to packed frames, without copies, and errors for what is no image."""

from __future__ import annotations

import tracemalloc
from typing import Any

import cv2
import numpy as np
import pytest

from pvlr_sdk import Tagger, errors, kernels
from pvlr_sdk.bundle.manifest import InputSpec
from pvlr_sdk.frames.bgr import load_bgr, small_bgr
from pvlr_sdk.frames.frames import load_frame
from pvlr_sdk.frames.preprocess import Preprocessor
from tests.planes import ORDERS, planes_of, random_planes
from tests.preprocess_reference import to_rgb

SPEC = InputSpec(width=64, height=48, resize="letterbox", mean=(120, 110, 100), std=(60, 50, 70))
FRAME = np.random.default_rng(5).integers(0, 256, (99, 70), np.uint8)


@pytest.mark.parametrize("tiles", [None, (3, 2)])
@pytest.mark.parametrize("order", ORDERS)
def test_planes_are_tagged_like_the_packed_frame(order: Any, tiles: Any, tagger: Tagger) -> None:
    expected, got = (
        tagger.predict(frame, color=order, tiles=tiles)
        for frame in (FRAME, planes_of(FRAME, order))
    )
    np.testing.assert_array_equal(got.logits, expected.logits)
    assert (got.frame_size, [region for region, _ in got.tiles]) == (
        (66, 70),
        [one for one, _ in expected.tiles],
    )
    (together,) = tagger.predict_batch([planes_of(FRAME, order)], color=order, tiles=tiles)
    np.testing.assert_array_equal(together.logits, expected.logits)


@pytest.mark.parametrize("order", ORDERS)
def test_planes_of_any_strides(order: Any) -> None:
    expected, preprocess = Preprocessor(SPEC)(FRAME, order), Preprocessor(SPEC)
    planes = planes_of(FRAME, order)
    flipped = tuple(plane[::-1].copy()[::-1] for plane in planes)
    spread = tuple(np.repeat(plane, 2, axis=1)[:, ::2] for plane in planes)
    for luma, *chroma in (planes, flipped, spread, tuple(map(np.asfortranarray, planes))):
        np.testing.assert_array_equal(preprocess(luma, order, chroma=chroma), expected)


@pytest.mark.parametrize("size", [(1, 1), (67, 71), (66, 71), (1, 40)], ids=str)
@pytest.mark.parametrize("order", ORDERS)
def test_sizes_may_be_odd(order: Any, size: tuple[int, int], tagger: Tagger) -> None:
    planes = random_planes(*size, order)
    (expected,) = kernels.preprocess([planes], SPEC, order=order)
    np.testing.assert_array_equal(Preprocessor(SPEC)(planes[0], order, chroma=planes[1:]), expected)
    result = tagger.predict(planes, color=order, tiles=(3, 2) if min(size) > 5 else None)
    assert result.frame_size == size


def test_planes_are_not_copied() -> None:
    planes = planes_of(np.zeros((1536, 1024), np.uint8), "nv12")
    frame, preprocess = load_frame(planes, "nv12"), Preprocessor(SPEC)
    assert all(
        one is other for one, other in zip((frame.pixels, *frame.chroma), planes, strict=True)
    )
    preprocess(frame.pixels, frame.order, chroma=frame.chroma)
    tracemalloc.start()
    preprocess(frame.pixels, frame.order, chroma=frame.chroma)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # its result is half of that; the smaller plane has 524,288 bytes
    assert peak < 2 * 4 * 3 * 48 * 64


@pytest.mark.parametrize("order", ORDERS)
def test_planes_to_bgr_are_the_definition(order: Any) -> None:
    assert np.array_equal(
        load_bgr(planes_of(FRAME, order), order), to_rgb(FRAME, order)[:, :, ::-1]
    )


@pytest.mark.parametrize("order", ["bgr", *ORDERS])
def test_a_small_copy_is_the_mean_of_the_pixels(order: Any) -> None:
    smooth = cv2.resize(FRAME[:6, :4], (320, 360), interpolation=cv2.INTER_CUBIC)
    frame = np.dstack([smooth] * 3) if order == "bgr" else planes_of(smooth, order)
    whole, small = load_bgr(frame, order), small_bgr(frame, order, 40)
    means = cv2.resize(whole, small.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert max(small.shape) == 40
    assert np.abs(small - means.astype(int)).mean() < 5
    np.testing.assert_array_equal(small_bgr(frame, order, 1000), whole)


LUMA, PAIRS, QUARTER = (
    np.zeros((8, 10), np.uint8),
    np.zeros((4, 10), np.uint8),
    np.zeros((4, 5), np.uint8),
)


@pytest.mark.parametrize(
    ("planes", "order", "error", "message"),
    [
        (
            (LUMA, PAIRS[:3]),
            "nv12",
            errors.FrameShapeError,
            r"\[\(8, 10\), \(4, 10\)\] for nv12, got .*\(3, 10\)",
        ),
        (
            (LUMA[:7, :9], PAIRS[:3]),
            "nv12",
            errors.FrameShapeError,
            r"\[\(7, 9\), \(4, 10\)\]",
        ),  # rounded up
        ((LUMA, PAIRS.reshape(4, 5, 2)), "nv12", errors.FrameShapeError, "rows of bytes"),
        ((LUMA, QUARTER, QUARTER), "nv12", errors.FrameShapeError, r"\(4, 10\)"),
        ((LUMA, QUARTER), "i420", errors.FrameShapeError, r"\[\(8, 10\), \(4, 5\), \(4, 5\)\]"),
        ((LUMA, PAIRS), "i420-full", errors.FrameShapeError, "i420-full"),
        ((LUMA,), "nv12", errors.FrameShapeError, "planes"),
        ((), "nv12", errors.FrameShapeError, "planes"),
        ((LUMA[0], PAIRS), "nv12", errors.FrameShapeError, "planes"),
        ((LUMA[:0], PAIRS), "nv12", errors.EmptyFrameError, r"shape \(0, 10\)"),
        ((LUMA, PAIRS.astype(np.uint16)), "nv12", errors.FrameDtypeError, "uint16"),
        ((LUMA, PAIRS.tolist()), "nv12", errors.FrameTypeError, "planes, got list"),
        ((True, LUMA), "nv12", errors.FrameTypeError, "planes, got bool"),
        ((LUMA, PAIRS), "bgr", errors.FrameTypeError, "got tuple"),
    ],
)
def test_planes_that_are_no_image(planes: Any, order: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message) as raised:
        load_frame(planes, order)
    assert type(raised.value) is error


def test_the_pass_checks_planes_too() -> None:
    preprocess = Preprocessor(SPEC)
    with pytest.raises(errors.FrameShapeError):
        preprocess(LUMA, "nv12", chroma=[PAIRS[:3]])
    with pytest.raises(errors.FrameDtypeError, match="int8"):
        preprocess(LUMA, "nv12", chroma=[PAIRS.view(np.int8)])
