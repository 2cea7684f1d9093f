"""Preprocessing in the compiled core, compared with its NumPy reference; the letterbox; arguments and threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pvlr_sdk import errors
from pvlr_sdk.bundle.manifest import InputSpec
from pvlr_sdk.frames.preprocess import ORDERS, Preprocessor
from pvlr_sdk.frames.yuv import is_yuv
from tests.preprocess_reference import preprocess_reference

MEAN, STD = (123.7, 116.3, 103.5), (58.4, 57.1, 57.4)
BOUND = 2e-3  # in 8-bit pixel values; the contract allows 1


def make_spec(width: int = 33, height: int = 27, resize: str = "stretch") -> InputSpec:
    return InputSpec(width=width, height=height, resize=resize, mean=MEAN, std=STD)


def make_frame(height: int, width: int, order: str = "bgr", seed: int = 0) -> NDArray[np.uint8]:
    channels = {"bgr": (3,), "rgb": (3,), "bgra": (4,), "rgba": (4,)}.get(order, ())
    rows = height * 3 // 2 if is_yuv(order) else height
    return np.random.default_rng(seed).integers(0, 256, (rows, width, *channels), dtype=np.uint8)


def pixel_difference(a: NDArray[np.floating], b: NDArray[np.floating]) -> float:
    """The largest difference between two network inputs, in 8-bit pixel values."""
    return float(np.abs((a.astype(np.float64) - b) * np.array(STD)[:, None, None]).max())


def check(frame: NDArray[np.uint8], order: str, spec: InputSpec) -> None:
    result = Preprocessor(spec)(frame, order)
    assert result.shape == (3, spec.height, spec.width)
    assert result.dtype == np.float32
    assert pixel_difference(result, preprocess_reference(frame, order, spec)) < BOUND


# -- compared with the reference --------------------------------------------------------------------------------------

SIZES = [(1, 1), (1, 50), (50, 1), (3, 5), (27, 33), (28, 34), (101, 203), (480, 641), (2, 1000)]


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_sizes(size: tuple[int, int], resize: str) -> None:
    check(make_frame(*size), "bgr", make_spec(resize=resize))


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("order", ORDERS)
def test_orders(order: str, resize: str) -> None:
    check(make_frame(98, 130, order), order, make_spec(resize=resize))


@pytest.mark.slow
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
def test_huge_frame(resize: str) -> None:
    check(make_frame(4320, 7680), "bgr", make_spec(288, 288, resize))


def test_upscaling_to_a_large_input() -> None:
    check(make_frame(3, 5), "rgb", make_spec(640, 480))


VIEWS = {
    "rows reversed": lambda a: a[::-1],
    "columns reversed": lambda a: a[:, ::-1],
    "both reversed": lambda a: a[::-1, ::-1],
    "every second row": lambda a: a[::2],
    "every third column": lambda a: a[:, ::3],
    "cropped": lambda a: a[7:60, 11:90],
    "transposed": lambda a: a.swapaxes(0, 1),
    "broadcast": lambda a: np.broadcast_to(a[:1], a.shape),
    "fortran": np.asfortranarray,
    "read-only": lambda a: (a.setflags(write=False), a)[1],
}


@pytest.mark.parametrize("order", ["bgr", "rgba", "gray"])
@pytest.mark.parametrize("view", VIEWS)
def test_views(view: str, order: str) -> None:
    check(VIEWS[view](make_frame(81, 121, order)), order, make_spec())


CHANNELS = {
    "of four": np.s_[0:3],
    "of four, the last": np.s_[1:4],
    "of four, reversed": np.s_[2::-1],
    "of four, the last reversed": np.s_[3:0:-1],
    "of six, every second": np.s_[0:6:2],
}


@pytest.mark.parametrize("order", ["bgr", "rgb"])
@pytest.mark.parametrize("channels", CHANNELS)
def test_channel_views(channels: str, order: str) -> None:
    depth = 6 if "six" in channels else 4
    deep = np.random.default_rng(1).integers(0, 256, (50, 61, depth), dtype=np.uint8)
    check(deep[:, :, CHANNELS[channels]], order, make_spec())


def test_nv12_view() -> None:
    check(make_frame(64, 128, "nv12")[:, ::2], "nv12", make_spec())
    check(np.asfortranarray(make_frame(64, 70, "nv12")), "nv12", make_spec())


@pytest.mark.parametrize("order", ["i420", "i420-bt709-full"])
def test_i420_view(order: str) -> None:
    check(make_frame(64, 128, order)[:, ::2], order, make_spec())
    check(make_frame(66, 70, order), order, make_spec())  # an odd number of rows of chroma


@settings(max_examples=150, deadline=None)
@given(
    height=st.integers(1, 70),
    width=st.integers(1, 70),
    order=st.sampled_from(ORDERS),
    resize=st.sampled_from(["stretch", "letterbox"]),
    target=st.tuples(st.integers(1, 50), st.integers(1, 50)),
    steps=st.tuples(st.sampled_from([-2, -1, 1, 2]), st.sampled_from([-2, -1, 1, 2])),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_frames(
    height: int,
    width: int,
    order: str,
    resize: str,
    target: tuple[int, int],
    steps: tuple[int, int],
    seed: int,
) -> None:
    if is_yuv(order):
        height, width = 2 * height, 2 * width
        frame = make_frame(height, width, order, seed)
    else:
        frame = make_frame(height, width, order, seed)[:: steps[0], :: steps[1]]
    check(frame, order, make_spec(*target, resize))


def test_constant_frame_stays_constant() -> None:
    spec = make_spec(31, 17)
    expected = (200 - np.array(MEAN)) / STD
    result = Preprocessor(spec)(np.full((313, 517, 3), 200, np.uint8), "bgr")
    assert np.abs(result - expected[:, None, None]).max() < 1e-5


# -- the letterbox, by hand -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "region"),
    [
        ((1080, 1920), (0, 63, 288, 162)),
        ((1920, 1080), (63, 0, 162, 288)),
        ((288, 288), (0, 0, 288, 288)),
        ((10, 10), (0, 0, 288, 288)),
        ((1, 5000), (0, 143, 288, 1)),
        ((5000, 1), (143, 0, 1, 288)),
    ],
    ids=str,
)
def test_letterbox_region(size: tuple[int, int], region: tuple[int, int, int, int]) -> None:
    assert Preprocessor(make_spec(288, 288, "letterbox")).region(*size) == region
    assert Preprocessor(make_spec(288, 288)).region(*size) == (0, 0, 288, 288)


def test_letterbox_is_padded_outside_its_region() -> None:
    spec = make_spec(40, 40, "letterbox")
    preprocessor = Preprocessor(spec)
    result = preprocessor(np.full((10, 20, 3), 255, np.uint8), "bgr")
    left, top, width, height = preprocessor.region(10, 20)
    inside = np.zeros((40, 40), bool)
    inside[top : top + height, left : left + width] = True
    assert np.allclose(result[:, ~inside], ((np.array(spec.pad) - MEAN) / STD)[:, None])
    assert np.allclose(result[:, inside], ((255 - np.array(MEAN)) / STD)[:, None])


# -- calling it -------------------------------------------------------------------------------------------------------


def test_out_is_written_in_place() -> None:
    spec = make_spec()
    batch = np.full((2, 3, spec.height, spec.width), np.nan, np.float32)
    preprocessor = Preprocessor(spec)
    frame = make_frame(50, 60)
    result = preprocessor(frame, "bgr", batch[1])
    assert np.shares_memory(result, batch)
    assert np.array_equal(batch[1], preprocessor(frame, "bgr"))
    assert np.isnan(batch[0]).all()


@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("order", ["bgr", "gray", "rgba", "nv12"])
def test_packed_pixels_are_the_planes_numbers(order: str, resize: str) -> None:
    """Into a view of (height, width, 3), as engines read it, padding included."""
    spec = make_spec(resize=resize)
    packed = np.full((spec.height, spec.width, 3), np.nan, np.float32)
    frame = make_frame(50, 80, order)
    Preprocessor(spec)(frame, order, packed.transpose(2, 0, 1))
    assert np.array_equal(packed.transpose(2, 0, 1), Preprocessor(spec)(frame, order))


def test_threads_agree_with_one_thread() -> None:
    preprocessor = Preprocessor(make_spec(64, 64, "letterbox"))
    frames = [make_frame(40 + 37 * i, 300 - 17 * i, seed=i) for i in range(12)]
    expected = [preprocessor(frame, "bgr") for frame in frames]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(5):
            results = list(pool.map(lambda frame: preprocessor(frame, "bgr"), frames))
            assert all(np.array_equal(a, b) for a, b in zip(results, expected, strict=True))


def test_other_threads_run_meanwhile() -> None:
    """A thread that counts in Python advances during one long call: the call releases the GIL."""
    preprocessor = Preprocessor(make_spec(2000, 2000))
    frame = make_frame(2160, 3840)
    out = preprocessor(frame, "bgr")
    started, done = threading.Event(), threading.Event()
    ticks = 0

    def count() -> None:
        nonlocal ticks
        started.wait()
        while not done.wait(0.001):
            ticks += 1

    counter = threading.Thread(target=count)
    counter.start()
    started.set()
    for _ in range(3):
        before = ticks
        preprocessor(frame, "bgr", out)
        if ticks > before:
            break
    done.set()
    counter.join()
    assert ticks > before


@pytest.mark.parametrize(
    ("frame", "order", "error"),
    [
        (np.zeros((4, 4, 3), np.float32), "bgr", errors.FrameDtypeError),
        (np.zeros((4, 4, 3), np.int8), "bgr", errors.FrameDtypeError),
        (np.zeros((4, 4), np.uint8), "bgr", errors.FrameShapeError),
        (np.zeros((4, 4, 4), np.uint8), "bgr", errors.FrameShapeError),
        (np.zeros((4, 4, 3), np.uint8), "rgba", errors.FrameShapeError),
        (np.zeros((4, 4, 1), np.uint8), "gray", errors.FrameShapeError),
        (np.zeros(4, np.uint8), "gray", errors.FrameShapeError),
        (np.zeros((2, 4, 4, 3), np.uint8), "bgr", errors.FrameShapeError),
        (np.zeros((4, 4), np.uint8), "nv12", errors.FrameShapeError),
        (np.zeros((6, 3), np.uint8), "nv12", errors.FrameShapeError),
        (np.zeros((0, 4, 3), np.uint8), "bgr", errors.EmptyFrameError),
        (np.zeros((4, 0), np.uint8), "gray", errors.EmptyFrameError),
        (np.zeros((1, 2**20 + 1), np.uint8), "gray", errors.ImageSizeError),
        (np.zeros((4, 4, 3), np.uint8), "yuv", errors.OptionError),
    ],
    ids=lambda value: (
        value if isinstance(value, str) else getattr(value, "__name__", str(np.shape(value)))
    ),
)
def test_wrong_frames(frame: NDArray[np.uint8], order: str, error: type[errors.PvlrError]) -> None:
    with pytest.raises(error):
        Preprocessor(make_spec())(frame, order)


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((3, 27, 34), np.float32),
        np.zeros((3, 27, 33), np.float64),
        np.zeros((33, 27, 3), np.float32).transpose(2, 1, 0),
        np.broadcast_to(np.float32(0), (3, 27, 33)),
        [[0.0]],
    ],
    ids=["shape", "dtype", "layout", "read-only", "type"],
)
def test_wrong_out(out: NDArray[np.float32]) -> None:
    with pytest.raises(errors.OptionError, match="out"):
        Preprocessor(make_spec())(make_frame(4, 4), "bgr", out)
