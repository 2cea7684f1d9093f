"""The NumPy reference of preprocessing compared with PyTorch, Pillow, OpenCV and the standards' colour bars."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from pvlr_sdk.bundle.manifest import InputSpec
from pvlr_sdk.frames.preprocess import Preprocessor
from tests.preprocess_reference import preprocess_reference, to_rgb, triangle_filter


def make_frame(height: int, width: int, *channels: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, *channels), dtype=np.uint8)


@pytest.mark.parametrize("target", [(27, 33), (200, 150), (1, 1), (288, 288)], ids=str)
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (101, 203), (333, 77)], ids=str)
def test_twin_equals_torch(size: tuple[int, int], target: tuple[int, int]) -> None:
    torch = pytest.importorskip("torch")
    frame = make_frame(*size, 3)
    image = torch.from_numpy(frame).permute(2, 0, 1)[None].double()
    resized = torch.nn.functional.interpolate(
        image, target, mode="bilinear", antialias=True, align_corners=False
    )
    spec = InputSpec(
        width=target[1], height=target[0], mean=(123.7, 116.3, 103.5), std=(58.4, 57.1, 57.4)
    )
    mean, std = (np.array(values)[:, None, None] for values in (spec.mean, spec.std))
    pixels = preprocess_reference(frame, "rgb", spec) * std + mean
    assert np.abs(pixels - resized[0].numpy()).max() < 1e-9


def test_twin_equals_pillow() -> None:
    pil = pytest.importorskip("PIL.Image")
    frame = make_frame(203, 311)
    resized = np.asarray(
        pil.fromarray(frame).convert("F").resize((33, 27), pil.Resampling.BILINEAR)
    )
    twin = triangle_filter(203, 27) @ frame @ triangle_filter(311, 33).T
    assert np.abs(resized - twin).max() < 1e-3


@pytest.mark.parametrize(
    ("order", "code"), [("nv12", cv2.COLOR_YUV2RGB_NV12), ("i420", cv2.COLOR_YUV2RGB_I420)]
)
def test_yuv_equals_opencv(order: str, code: int) -> None:
    frame = make_frame(384, 256)
    expected = cv2.cvtColor(frame, code)
    assert np.array_equal(to_rgb(frame, order), expected)

    same_size = InputSpec(width=256, height=256, mean=(0, 0, 0), std=(1, 1, 1))
    assert np.array_equal(Preprocessor(same_size)(frame, order), expected.transpose(2, 0, 1))


PRIMARIES = {
    # Y, U, V of white, black, red, green and blue, as the standards' tables of colour bars at 100 % give them.
    "": [(235, 128, 128), (16, 128, 128), (81, 90, 240), (145, 54, 34), (41, 240, 110)],
    "-bt709": [(235, 128, 128), (16, 128, 128), (63, 102, 240), (173, 42, 26), (32, 240, 118)],
    "-full": [(255, 128, 128), (0, 128, 128), (76, 85, 255), (150, 44, 21), (29, 255, 107)],
    "-bt709-full": [(255, 128, 128), (0, 128, 128), (54, 99, 255), (182, 30, 12), (18, 255, 116)],
}


@pytest.mark.parametrize("layout", ["nv12", "i420"])
@pytest.mark.parametrize("kind", PRIMARIES)
def test_colour_bars(layout: str, kind: str) -> None:
    colours = [(255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)]
    spec = InputSpec(width=2, height=2, mean=(0, 0, 0), std=(1, 1, 1))
    for (y, u, v), colour in zip(PRIMARIES[kind], colours, strict=True):
        # one pair of chroma is the same in both layouts
        frame = np.array([[y, y], [y, y], [u, v]], np.uint8)
        got = Preprocessor(spec)(frame, layout + kind)
        assert np.abs(got - np.array(colour)[:, None, None]).max() <= 2  # the bars are rounded, too
