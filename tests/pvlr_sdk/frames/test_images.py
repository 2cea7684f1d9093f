"""The one reader of images: everything that version 0.1 did not survive, and what must still decode."""

from __future__ import annotations

import base64
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.frames import images, limits
from pvlr_sdk.frames.frames import load_frame
from pvlr_sdk.frames.images import decode
from pvlr_sdk.frames.png import still_image

Image = pytest.importorskip("PIL.Image")

ANIMATED = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAACGFjVEwAAAACAAAAAPONk3AAAAAPSURBVHicYxDEARiGlgQA/AQMwWc2300AAAAa"
    "ZmNUTAAAAAEAAAAIAAAACAAAAAAAAAAAAAEACgAAaT1QtgAAABNmZEFUAAAAAnic4xTEATiHlgQAG7cNCUWGXk8AAAAASUVORK5CYII="
)
"""161 bytes that crash the decoder of OpenCV 4.14 and 5.0."""


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(height: int, width: int, *extra: bytes) -> bytes:
    """A white image of one bit per pixel, which compresses to a thousandth."""
    packer = zlib.compressobj(9)
    row = b"\0" + b"\xff" * -(-width // 8)
    packed = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n"
        + header
        + b"".join(extra)
        + chunk(b"IDAT", packed)
        + chunk(b"IEND", b"")
    )


def gif(height: int, width: int) -> bytes:
    size = struct.pack("<HH", width, height)
    return (
        b"GIF89a"
        + size
        + b"\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0"
        + size
        + b"\0\2\2\x44\1\0;"
        + bytes(6)
    )


WEBP = b"RIFF\x1a\0\0\0WEBPVP8X\x0a\0\0\0\x02\0\0\0\xfe\x3f\0\xfe\x3f\0" + bytes(4)
BOMBS = {
    "gif": gif(32_000, 32_000),
    "png": png(27_000, 27_000),
    "webp": WEBP,
    "bmp": b"BM" + bytes(12) + struct.pack("<IiiHHI", 40, 30_000, -30_000, 1, 8, 1) + bytes(40),
    "pnm": b"P5 30000 30000 255 ",
    "tiff": struct.pack("<2sHIHHHIIHHII", b"II", 42, 8, 2, 256, 4, 1, 30_000, 257, 4, 1, 30_000),
}

CHILD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30,) * 2)
from pvlr_sdk.errors import FrameError
from pvlr_sdk.frames.frames import load_frame
try:
    print(load_frame(sys.argv[1]).pixels.shape)
except FrameError as error:
    print(type(error).__name__)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


def read_in_child(path: Path) -> tuple[str, int]:
    """The outcome of an image, and the peak memory in MB of the process that read it."""
    done = subprocess.run(
        ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", CHILD, str(path)],
        capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcome, peak = done.stdout.splitlines()
    return outcome, int(peak)


class TestHostileFiles:
    @pytest.mark.slow
    @pytest.mark.parametrize("name", BOMBS)
    def test_a_small_file_does_not_become_gigabytes(self, tmp_path: Path, name: str) -> None:
        assert len(BOMBS[name]) < 131_000
        path = tmp_path / "image"
        path.write_bytes(BOMBS[name])
        outcome, peak = read_in_child(path)
        assert outcome == "ImageSizeError"
        assert peak < 200

    def test_animated_png(self, tmp_path: Path) -> None:
        path = tmp_path / "image.png"
        path.write_bytes(ANIMATED)
        assert read_in_child(path)[0] in ("ImageDecodeError", "(8, 8, 3)")

    def test_what_is_no_regular_file(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo.jpg")
        (tmp_path / "device.jpg").symlink_to("/dev/zero")
        for name in ("fifo.jpg", "device.jpg"):
            outcome, peak = read_in_child(tmp_path / name)
            assert outcome == "ImageNotFoundError"
            assert peak < 200

    @pytest.mark.parametrize("size", [10**9, 200 * 10**9])
    def test_a_sparse_file(self, tmp_path: Path, size: int) -> None:
        path = tmp_path / "sparse.jpg"
        with open(path, "wb") as file:
            file.truncate(size)
        outcome, peak = read_in_child(path)
        assert outcome == "ImageSizeError"
        assert peak < 200

    def test_too_little_memory_is_an_error_of_the_image(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = png(8, 8)

        def exhausted(*_: object) -> None:
            raise MemoryError

        monkeypatch.setattr(cv2, "imdecode", exhausted)
        with pytest.raises(errors.ImageDecodeError, match="MemoryError"):
            decode(data)
        (tmp_path / "image.png").write_bytes(data)
        monkeypatch.setattr(images, "read_file", exhausted)
        with pytest.raises(errors.ImageSizeError):
            load_frame(tmp_path / "image.png")

    @pytest.mark.parametrize(
        "data", [b"\xff\xd8\xff" + b"\xff\xda" * 101, b"P7\n", b"\x76\x2f\x31\x01" + bytes(99)]
    )
    def test_what_no_decoder_gets(self, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delattr(cv2, "imdecode")
        with pytest.raises(errors.ImageDecodeError):
            decode(data)


class TestLargeImages:
    def test_a_baseline_jpeg_above_the_limit_is_reduced(
        self, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = cv2.imencode(".jpg", photo)[1].tobytes()
        monkeypatch.setattr(limits, "MAX_PIXELS", 512 * 511)
        image = decode(data)
        assert image.pixels.shape == (256, 256, 3)
        assert image.full_size == (512, 512)
        with pytest.raises(errors.ImageSizeError, match="Use a smaller image"):
            decode(data, max_pixels=512 * 511)
        with pytest.raises(errors.ImageSizeError, match="A baseline JPEG may have 4 times as many"):
            decode(cv2.imencode(".png", photo)[1].tobytes())
        monkeypatch.setattr(limits, "MAX_PIXELS", 256 * 255)
        with pytest.raises(errors.ImageSizeError):
            decode(data)

    def test_the_coefficients_of_other_jpegs_need_memory_for_all_pixels(
        self, photo: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        data = cv2.imencode(".jpg", photo, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
        monkeypatch.setattr(limits, "MAX_PIXELS", 512 * 512)
        assert decode(data).full_size is None
        monkeypatch.setattr(limits, "MAX_PIXELS", 512 * 511)
        with pytest.raises(errors.ImageSizeError):
            decode(data)

    def test_the_limit_holds_for_pil_images_too(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(limits, "MAX_PIXELS", 99)
        with pytest.raises(errors.ImageSizeError):
            load_frame(Image.open(io.BytesIO(png(10, 10))))

    @pytest.mark.slow
    def test_a_hundred_megapixels(self, tmp_path: Path) -> None:
        """The largest medium-format cameras: 11648 x 8736 pixels."""
        pixels = np.tile(np.arange(11_648, dtype=np.uint32) // 46, (8736, 1)).astype(np.uint8)
        path = tmp_path / "large.jpg"
        path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
        frame = load_frame(path)
        assert frame.size == (8736, 11_648)
        assert frame.pixels.shape == (4368, 5824, 3)


class TestPng:
    def test_only_the_chunks_of_the_still_image_are_kept(self) -> None:
        still = png(4, 4)
        assert still_image(still) is still
        assert still_image(still + b"more") == still
        assert still_image(png(4, 4, chunk(b"acTL", bytes(8)), chunk(b"fcTL", bytes(26)))) == still
        assert (
            still_image(
                png(4, 4, chunk(b"zTXt", bytes(99)))[:-12] + chunk(b"fdAT", b"x") + still[-12:]
            )
            == still
        )
        assert all(still_image(still[:kept]) is None for kept in range(len(still)))

    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
    def test_pixels_do_not_depend_on_the_dropped_chunks(self, photo: np.ndarray, mode: str) -> None:
        from PIL.ImageCms import ImageCmsProfile, createProfile
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add(b"gAMA", struct.pack(">I", 200_000))
        info.add(b"sRGB", b"\0")
        info.add_text("comment", "a" * 1000, zip=True)
        exif = Image.Exif()
        exif[0x0112] = 6
        profile = ImageCmsProfile(createProfile("LAB")).tobytes()
        file = io.BytesIO()
        image = Image.fromarray(photo[:40, :50, ::-1])
        image = image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)
        image.save(file, "PNG", pnginfo=info, exif=exif, icc_profile=profile, dpi=(72, 72))
        data = file.getvalue()
        assert len(still_image(data) or data) < len(data)
        expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(decode(data).pixels, expected)
