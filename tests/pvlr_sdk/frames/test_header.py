"""Headers of all formats, compared with what the decoder returns, and the limit of pixels."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.frames import limits
from pvlr_sdk.frames.header import FORMATS, read_header
from pvlr_sdk.frames.limits import check_pixels

EXTENSIONS = {
    "jpeg": ".jpg", "png": ".png", "webp": ".webp", "gif": ".gif", "bmp": ".bmp", "tiff": ".tif", "pnm": ".ppm",
}  # fmt: skip


def encoded(kind: str, height: int, width: int) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return cv2.imencode(EXTENSIONS[kind], pixels)[1].tobytes()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("size", [(1, 1), (19, 300), (300, 19)])
def test_the_header_states_what_the_decoder_returns(kind: str, size: tuple[int, int]) -> None:
    data = encoded(kind, *size)
    assert read_header(data) == (kind, *size)
    assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape[:2] == size


@pytest.mark.parametrize("kind", FORMATS)
def test_a_cut_header_has_no_size(kind: str) -> None:
    data = encoded(kind, 19, 30)
    assert all(read_header(data[:kept]) is None for kept in (0, 1, 2, 5, 8))


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"P6 # a comment\n 70000#x", None),
        (b"P5\n#1 2 3\n70000 # 1 2\n80000\n255\n", ("pnm", 80000, 70000)),
        (b"P5 5#999999\n7 255\n", None),  # OpenCV takes the number in this comment as the height
        (b"BM" + bytes(12) + struct.pack("<Iii", 40, 9, -8) + bytes(20), ("bmp", 8, 9)),
        (b"BM" + bytes(12) + struct.pack("<IHH", 12, 9, 8) + bytes(20), ("bmp", 8, 9)),
        (
            b"RIFF" + bytes(4) + b"WEBPVP8X" + bytes(8) + b"\xff\xff\x01\x07\0\0",
            ("webp", 8, 131072),
        ),
        (b"RIFF" + bytes(4) + b"WEBPVP8 " + bytes(10) + b"\xff\xff\x07\0", ("webp", 7, 16383)),
        (b"RIFF" + bytes(4) + b"WEBPALPH" + bytes(20), None),
        (b"\xff\xd8\xff\x01garbage\xff\xff\xc2\0\x0b\x08\0\x09\0\x0b", ("jpeg", 9, 11)),
        (b"\xff\xd8\xff\xd9\xff\xc2\0\x0b\x08\0\x09\0\x0b", None),  # the image ends before
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", None),
        (b"\x76\x2f\x31\x01" + bytes(40), None),  # OpenEXR
    ],
)
def test_rare_headers(data: bytes, expected: tuple[str, int, int] | None) -> None:
    assert read_header(data) == expected


@pytest.mark.parametrize(("order", "letters"), [("<", b"II"), (">", b"MM")])
def test_a_tiff_counts_its_largest_size(order: str, letters: bytes) -> None:
    def entry(tag: int, value: int) -> bytes:
        return struct.pack(order + "HHII", tag, 4, 1, value)

    def classic(*entries: bytes) -> bytes:
        return letters + struct.pack(order + "HIH", 42, 8, len(entries)) + b"".join(entries)

    assert read_header(classic(entry(256, 30), entry(257, 20))) == ("tiff", 20, 30)
    assert read_header(classic(entry(256, 30), entry(257, 20), entry(257, 90))) == ("tiff", 90, 30)
    assert read_header(
        classic(entry(256, 30), entry(257, 20), entry(322, 4096), entry(323, 16))
    ) == ("tiff", 20, 4096)
    assert read_header(
        classic(entry(256, 30), entry(257, 20), entry(322, 16), entry(323, 4096))
    ) == ("tiff", 4096, 30)
    assert read_header(classic(entry(256, 30))) is None
    big = [
        struct.pack(order + "HHQQ", tag, 16, 1, value) for tag, value in ((256, 2**40), (257, 20))
    ]
    header = letters + struct.pack(order + "HHHQQ", 43, 8, 0, 16, 2)
    assert read_header(header + b"".join(big)) == ("tiff", 20, 2**40)


def test_the_limit_of_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    check_pixels(10_000, 10_000, "camera")
    with pytest.raises(
        errors.ImageSizeError, match="camera: expected at most 100000000 pixels, got 10001 x 10000"
    ):
        check_pixels(10_000, 10_001, "camera")
    monkeypatch.setattr(limits, "MAX_PIXELS", 100_010_000)
    check_pixels(10_000, 10_001, "camera")
    with pytest.raises(errors.ImageSizeError):
        check_pixels(10, 10, "upload", 99)
