"""Frames: every input type gives the same pixels, and every invalid one its own error."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pvlr_sdk import errors
from pvlr_sdk.frames.bgr import load_bgr
from pvlr_sdk.frames.device import on_gpu
from pvlr_sdk.frames.frames import color_of, load_frame
from tests.preprocess_reference import to_rgb

Image = pytest.importorskip("PIL.Image")


class AsyncFile:
    """An upload, as Starlette's."""

    async def read(self) -> bytes:
        return b""


def encoded(pixels: np.ndarray, extension: str, *options: int) -> bytes:
    return cv2.imencode(extension, pixels, list(options))[1].tobytes()


def with_orientation(pixels: np.ndarray, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(pixels[:, :, ::-1]).save(file, "JPEG", exif=exif, quality=95)
    return file.getvalue()


def with_thumbnail(data: bytes, thumbnail: bytes) -> bytes:
    """A JPEG with a thumbnail in an application segment, as cameras write them."""
    return data[:2] + b"\xff\xe1" + (len(thumbnail) + 2).to_bytes(2, "big") + thumbnail + data[2:]


class TestArrays:
    @pytest.mark.parametrize(
        ("shape", "color", "order"),
        [
            ((7, 5, 3), "bgr", "bgr"),
            ((7, 5, 3), "rgb", "rgb"),
            ((7, 5, 4), "bgr", "bgra"),
            ((7, 5, 4), "rgb", "rgba"),
            ((7, 5), "bgr", "gray"),
            ((7, 5, 1), "rgb", "gray"),
            ((9, 4), "nv12", "nv12"),
        ],
    )
    def test_layouts(self, shape: tuple[int, ...], color: str, order: str) -> None:
        pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
        frame = load_frame(pixels, color)
        assert frame.order == order
        assert frame.size == ((6, 4) if color == "nv12" else (7, 5))
        assert np.shares_memory(frame.pixels, pixels)

    def test_views_are_not_copied(self) -> None:
        pixels = np.zeros((20, 30, 3), np.uint8)[::-2, 3:20, ::-1]
        assert load_frame(pixels).pixels is pixels

    @pytest.mark.parametrize(
        ("frame", "color", "error"),
        [
            (np.zeros((4, 4, 3), np.float32), "bgr", errors.FrameDtypeError),
            (np.zeros((4, 4, 3), np.uint16), "bgr", errors.FrameDtypeError),
            (np.zeros((4, 4, 3), bool), "bgr", errors.FrameDtypeError),
            (np.full((4, 4, 3), np.nan, np.float32), "bgr", errors.FrameValueError),
            (np.full((4, 4, 3), np.inf, np.float64), "bgr", errors.FrameValueError),
            (np.full((4, 4), object()), "bgr", errors.FrameDtypeError),
            (np.zeros(4, np.uint8), "bgr", errors.FrameShapeError),
            (np.zeros((), np.uint8), "bgr", errors.FrameShapeError),
            (np.zeros((4, 4, 2), np.uint8), "bgr", errors.FrameShapeError),
            (np.zeros((3, 4, 4, 3), np.uint8), "bgr", errors.FrameShapeError),
            (np.zeros((0, 4, 3), np.uint8), "bgr", errors.EmptyFrameError),
            (np.zeros((4, 0), np.uint8), "bgr", errors.EmptyFrameError),
            (np.zeros((4, 4), np.uint8), "nv12", errors.FrameShapeError),
            (np.zeros((6, 3), np.uint8), "nv12", errors.FrameShapeError),
            (np.zeros((6, 4, 3), np.uint8), "nv12", errors.FrameShapeError),
            (np.zeros((4, 4, 3), np.uint8), "hsv", errors.OptionError),
            ([[1, 2], [3, 4]], "bgr", errors.FrameTypeError),
            (None, "bgr", errors.FrameTypeError),
        ],
    )
    def test_bad_ones(self, frame: object, color: str, error: type[errors.PvlrError]) -> None:
        with pytest.raises(error) as raised:
            load_frame(frame, color)  # type: ignore[arg-type]
        assert type(raised.value) is error
        assert raised.value.hint

    @pytest.mark.parametrize(
        ("frame", "hint"),
        [
            (None, "OpenCV returns None"),
            (io.BytesIO(b"..."), r"Pass its bytes: frame\.read\(\)"),
            (AsyncFile(), "with await"),
            (SimpleNamespace(content=b"..."), r"frame\.content"),
            (["a.jpg", "b.jpg"], "predict_batch"),
            ((path for path in "ab"), "predict_batch"),
            ([[1, 2], [3, 4]], r"numpy\.array\(frame, numpy\.uint8\)"),
            ((True, np.zeros((4, 4, 3), np.uint8)), r"pass the frame\."),
            (SimpleNamespace(to_ndarray=None), 'format="bgr24"'),
            (SimpleNamespace(__array__=None), r"numpy\.asarray\(frame\)"),
            (7, "Pass one of these"),
        ],
    )
    def test_another_type_has_a_hint_of_its_own(self, frame: Any, hint: str) -> None:
        with pytest.raises(errors.FrameTypeError, match=hint):
            load_frame(frame)

    @pytest.mark.parametrize(
        ("shape", "dtype"),
        [
            ((3, 8, 9), "uint8"),
            ((8, 9, 3), "uint8"),
            ((3, 8, 9), "float32"),
            ((1, 3, 8, 9), "float64"),
        ],
    )
    def test_the_hint_for_a_tensor_works(self, shape: tuple[int, ...], dtype: str) -> None:
        torch = pytest.importorskip("torch")
        frame = torch.ones(shape, dtype=getattr(torch, dtype))
        with pytest.raises(errors.FrameTypeError) as raised:
            load_frame(frame)
        expression = re.match(r"Pass (\S+(?: \S+,? \S+\)\S*)?), and color", raised.value.hint)
        assert expression is not None, raised.value.hint
        pixels = load_frame(eval(expression[1])).pixels
        assert pixels.shape == (8, 9, 3)
        assert pixels.max() == (255 if dtype.startswith("float") else 1)

    def test_channels_first_is_explained(self) -> None:
        with pytest.raises(errors.FrameShapeError, match="transpose"):
            load_frame(np.zeros((3, 20, 30), np.uint8))


@pytest.mark.parametrize(
    ("path", "shown", "hint"),
    [
        (
            "https://me:secret@example.com/a.jpg?signature=secret",
            "https://example.com/a.jpg",
            "Download it first",
        ),
        (Path("https://example.com/a.jpg"), "https:/example.com/a.jpg", "Download it first"),
        ("rtsp://me:secret@camera/live", "rtsp://camera/live", "open_source"),
        ("file:///tmp/a.jpg", "file:///tmp/a.jpg", r"without file://"),
        ("data:image/jpeg;base64," + "A" * 10**6, "data:image/jpeg;base64,A+[.]{3}", "b64decode"),
        ("A" * 10**6, "A+[.]{3}", "Check the path"),
    ],
)
def test_a_url_is_not_a_path(path: str | Path, shown: str, hint: str) -> None:
    with pytest.raises(errors.ImageNotFoundError, match=f"^frame '{shown}': .*{hint}") as raised:
        load_frame(path)
    assert len(str(raised.value)) < 700
    assert "secret" not in str(raised.value)
    assert ("a URL" in str(raised.value)) == ("A" not in shown[:1])


class TestEncoded:
    @pytest.mark.parametrize("extension", [".png", ".bmp", ".webp", ".tiff"])
    def test_path_bytes_and_buffers_agree(
        self, photo: np.ndarray, tmp_path: Path, extension: str
    ) -> None:
        data = encoded(photo, extension)
        path = tmp_path / f"photo{extension}"
        path.write_bytes(data)
        frames = [
            load_frame(given)
            for given in (path, str(path), data, bytearray(data), memoryview(data))
        ]
        for frame in frames:
            assert frame.order == "bgr"
            np.testing.assert_array_equal(frame.pixels, frames[0].pixels)
        if extension != ".webp":
            np.testing.assert_array_equal(frames[0].pixels, photo)

    def test_color_does_not_touch_encoded_pictures(self, photo: np.ndarray) -> None:
        frame = load_frame(encoded(photo, ".png"), "rgb")
        assert frame.order == "bgr"
        np.testing.assert_array_equal(frame.pixels, photo)

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_orientation_is_the_same_every_way_in(
        self, photo: np.ndarray, tmp_path: Path, orientation: int
    ) -> None:
        data = with_orientation(photo[:160, :240], orientation)
        path = tmp_path / "photo.jpg"
        path.write_bytes(data)
        from_bytes, from_path = load_bgr(data), load_bgr(path)
        from_pil = load_bgr(Image.open(path))
        assert from_bytes.shape == ((240, 160, 3) if orientation >= 5 else (160, 240, 3))
        np.testing.assert_array_equal(from_path, from_bytes)
        # Two JPEG decoders may differ by rounding, but not by a rotation.
        assert np.abs(from_pil.astype(int) - from_bytes).mean() < 2

    def test_grey_and_alpha_files(self, photo: np.ndarray) -> None:
        grey = photo[:, :, 1]
        np.testing.assert_array_equal(
            load_bgr(encoded(grey, ".png")), np.repeat(grey[:, :, None], 3, axis=2)
        )
        alpha = np.dstack([photo, np.full(photo.shape[:2], 7, np.uint8)])
        np.testing.assert_array_equal(load_bgr(encoded(alpha, ".png")), photo)

    def test_missing_file(self, tmp_path: Path) -> None:
        for path in (tmp_path / "none.jpg", tmp_path, "zero\0byte.jpg"):
            with pytest.raises(errors.ImageNotFoundError):
                load_frame(path)

    def test_not_a_picture(self, tmp_path: Path) -> None:
        path = tmp_path / "text.jpg"
        path.write_text("This is not an image, despite the file's name.")
        with pytest.raises(errors.ImageDecodeError, match=r"text\.jpg"):
            load_frame(path)
        path.write_bytes(b"")
        with pytest.raises(errors.EmptyFrameError):
            load_frame(path)

    @pytest.mark.parametrize(
        "options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 4)]
    )
    @pytest.mark.parametrize("thumbnail", [False, True])
    def test_truncated_jpeg(
        self, photo: np.ndarray, options: tuple[int, ...], thumbnail: bool
    ) -> None:
        data = encoded(photo, ".jpg", *options)
        if thumbnail:
            data = with_thumbnail(data, encoded(photo[::8, ::8], ".jpg"))
        load_frame(data)
        for kept in (len(data) - 1, len(data) - 2, len(data) * 2 // 3, len(data) // 2, 700, 30, 3):
            with pytest.raises(errors.ImageDecodeError):
                load_frame(data[:kept])

    def test_bytes_after_the_picture_are_allowed(self, photo: np.ndarray) -> None:
        data = encoded(photo, ".jpg")
        np.testing.assert_array_equal(load_bgr(data + b"\0" * 3000), load_bgr(data))

    @pytest.mark.parametrize("extension", [".png", ".webp", ".bmp"])
    def test_truncated_other_formats(self, photo: np.ndarray, extension: str) -> None:
        data = encoded(photo, extension)
        for kept in (len(data) - 40, len(data) // 2):
            with pytest.raises(errors.ImageDecodeError):
                load_frame(data[:kept])

    @given(
        st.binary(min_size=1, max_size=300),
        st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF"]),
    )
    def test_any_bytes_give_a_typed_error_or_pixels(self, data: bytes, start: bytes) -> None:
        with contextlib.suppress(errors.FrameError):
            assert load_frame(start + data).pixels.size > 0


class TestPil:
    @pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "CMYK", "1", "LA"])
    def test_modes(self, photo: np.ndarray, mode: str) -> None:
        image = Image.fromarray(photo[:, :, ::-1]).convert(mode)
        expected = np.asarray(image.convert("RGB"))[:, :, ::-1]
        np.testing.assert_array_equal(load_bgr(image), expected)

    def test_sixteen_bits_as_opencv_reads_them(self, photo: np.ndarray) -> None:
        deep = photo[:, :, 0].astype(np.uint16) * 257
        data = encoded(deep, ".png")
        np.testing.assert_array_equal(load_bgr(Image.open(io.BytesIO(data))), load_bgr(data))

    def test_truncated(self, photo: np.ndarray) -> None:
        data = encoded(photo, ".jpg")
        with pytest.raises(errors.ImageDecodeError):
            load_frame(Image.open(io.BytesIO(data[: len(data) // 2])))

    def test_a_damaged_tag(self, photo: np.ndarray) -> None:
        """The offset of a TIFF's pixels, as bytes without a type, is a TypeError of Pillow."""
        file = io.BytesIO()
        Image.fromarray(photo).save(file, "TIFF")
        data = bytearray(file.getvalue())
        offset = data.index(b"\x11\x01\x04\x00")  # StripOffsets, LONG
        data[offset + 2] = 7  # UNDEFINED
        with pytest.raises(errors.ImageDecodeError, match="bytes"):
            load_frame(Image.open(io.BytesIO(data)))

    def test_empty(self) -> None:
        with pytest.raises(errors.EmptyFrameError):
            load_frame(Image.new("RGB", (0, 5)))


@pytest.mark.parametrize("order", ["nv12-bt709", "i420", "i420-bt709-full"])
def test_yuv_to_bgr_is_the_definition(order: str) -> None:
    frame = np.random.default_rng(1).integers(0, 256, (66, 52), dtype=np.uint8)
    assert np.array_equal(load_bgr(frame, order), to_rgb(frame, order)[:, :, ::-1])


def test_yuv_frames_wider_than_any_network() -> None:
    frame = np.random.default_rng(1).integers(0, 256, (6, 9000), dtype=np.uint8)
    assert np.array_equal(load_bgr(frame, "nv12-bt709"), to_rgb(frame, "nv12-bt709")[:, :, ::-1])


def test_nv12_to_bgr_is_opencvs(photo: np.ndarray) -> None:
    yuv = cv2.cvtColor(photo, cv2.COLOR_BGR2YUV_I420)
    chroma = yuv[512:].reshape(2, 256, 256)
    nv12 = np.concatenate([yuv[:512], np.stack([chroma[0], chroma[1]], axis=2).reshape(256, 512)])
    assert np.abs(load_bgr(nv12, "nv12").astype(int) - photo).mean() < 3


def test_a_device_that_dlpack_lacks_is_not_a_gpu() -> None:
    torch = pytest.importorskip("torch")
    frame = torch.zeros((4, 4, 3), dtype=torch.uint8, device="meta")
    with pytest.raises(ValueError, match="meta"):
        frame.__dlpack_device__()
    assert not on_gpu(frame)


@pytest.mark.parametrize("order", ["bgr", "rgb", "gray", "bgra", "rgba", "nv12", "nv12-bt709-full"])
def test_a_frame_of_an_order_is_loaded_with_its_color(order: str) -> None:
    shape = {"gray": (12, 8), "bgra": (12, 8, 4), "rgba": (12, 8, 4)}.get(order, (12, 8, 3))
    pixels = np.zeros((12, 8) if order.startswith("nv12") else shape, np.uint8)
    assert load_frame(pixels, color_of(order)).order == order
