"""JPEG headers, compared with Pillow and OpenCV on the same files."""

from __future__ import annotations

import io

import numpy as np
import pytest

from pvlr_sdk import Tagger
from pvlr_sdk.bundle.manifest import InputSpec
from pvlr_sdk.frames import jpeg
from pvlr_sdk.frames.frames import load_frame
from pvlr_sdk.frames.preprocess import Preprocessor


def encoded(height: int, width: int, *, orientation: int = 1, **options: object) -> bytes:
    image = pytest.importorskip("PIL.Image")
    smooth = np.linspace(0, 255, height * width).reshape(height, width).astype(np.uint8)
    made = image.fromarray(np.stack([smooth, smooth[::-1], smooth[:, ::-1]], 2))
    exif = image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    made.save(buffer, "JPEG", exif=exif, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
def test_size_is_what_pillow_reads(progressive: bool) -> None:
    image = pytest.importorskip("PIL.Image")
    data = encoded(123, 457, progressive=progressive)
    assert jpeg.size(data) == image.open(io.BytesIO(data)).size[::-1] == (123, 457)
    assert jpeg.is_complete(data)
    assert not jpeg.is_complete(data[: len(data) // 2])


@pytest.mark.parametrize("kept", [0, 2, 3, 4, 20, 200])
def test_a_cut_header_has_no_size_and_no_reduction(kept: int) -> None:
    data = encoded(50, 60)[:kept]
    assert jpeg.size(data) is None
    assert jpeg.reduction(data, (1, 1)) == 1
    assert not jpeg.is_complete(data)


@pytest.mark.parametrize(
    ("size", "least", "factor"),
    [
        ((100, 200), (51, 51), 1),
        ((100, 200), (50, 50), 2),
        ((400, 300), (76, 60), 2),  # upright or not, one side would fall short at a quarter
        ((400, 300), (75, 60), 4),
        ((2000, 3000), (60, 60), 8),
    ],
)
def test_reduction_leaves_the_least_size(
    size: tuple[int, int], least: tuple[int, int], factor: int
) -> None:
    assert jpeg.reduction(encoded(*size), least) == factor


@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_reduced_frames_know_their_full_size_and_look_the_same(orientation: int) -> None:
    data = encoded(803, 1207, orientation=orientation, quality=95)
    full, reduced = load_frame(data), load_frame(data, least_size=(200, 200))
    assert full.full_size is None
    assert reduced.size == full.size == full.pixels.shape[:2]
    assert [-(-side // 4) for side in full.size] == list(reduced.pixels.shape[:2])
    mean = [frame.pixels.reshape(-1, 3).mean(0) for frame in (full, reduced)]
    np.testing.assert_allclose(*mean, atol=1)


def test_a_tagger_reduces_only_when_told(plan: object, photo: np.ndarray) -> None:
    cv2 = pytest.importorskip("cv2")
    data = cv2.imencode(".jpg", cv2.resize(photo, (1500, 1000), interpolation=cv2.INTER_CUBIC))[
        1
    ].tobytes()
    exact = Tagger(plan).predict(data)  # type: ignore[arg-type]
    fast = Tagger(plan, reduced_jpeg=True).predict(data)  # type: ignore[arg-type]
    assert fast.frame_size == exact.frame_size == (1000, 1500)
    assert fast.attention("cat").shape == (1000, 1500)
    assert 0 < np.abs(fast.logits - exact.logits).max() < 0.1 * np.ptp(exact.logits)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket"])
def test_reduced_pixels_stay_within_the_stated_bound(name: str) -> None:
    """docs/performance.md: on average 1.5 grey levels from the pixel contract, 99 of 100 values within 10."""
    cv2, data = pytest.importorskip("cv2"), pytest.importorskip("skimage.data")
    photo = np.ascontiguousarray(getattr(data, name)()[:, :, ::-1])
    encoded_photo = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes()
    preprocess = Preprocessor(InputSpec(width=75, height=75, mean=(0,) * 3, std=(1,) * 3))
    full, reduced = load_frame(encoded_photo), load_frame(encoded_photo, least_size=(150, 150))
    assert reduced.pixels.shape[0] < full.pixels.shape[0]
    difference = np.abs(preprocess(full.pixels, "bgr") - preprocess(reduced.pixels, "bgr"))
    assert difference.mean() < 1.5
    assert np.percentile(difference, 99) < 10
