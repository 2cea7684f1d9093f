"""A fuzz target for the reader of images: python tests/pvlr_sdk/frames/fuzz_images.py -max_total_time=600

Any bytes are either an image of the size that its header states, within the limit of pixels, or a FrameError.
"""

from __future__ import annotations

import io
import os
import sys

import atheris

with atheris.instrument_imports(include=["pvlr_sdk.frames"]):
    from pvlr_sdk import errors
    from pvlr_sdk.frames import header, limits
    from pvlr_sdk.frames.images import decode
    from pvlr_sdk.frames.png import still_image

import cv2
import numpy as np
from PIL import Image

MAX_PIXELS = limits.MAX_PIXELS = 50_000


def _starts() -> list[bytes]:
    """Small images of every format and mode, also animated ones, for the fuzzer to damage."""
    noise = Image.effect_noise((24, 16), 80)
    exif = Image.Exif()
    exif[0x0112] = 8
    variants = [
        *(
            ("JPEG", options)
            for options in ({}, {"exif": exif}, {"progressive": True}, {"restart_marker_blocks": 2})
        ),
        *(("PNG", options) for options in ({}, {"exif": exif}, {"save_all": True})),
        *(
            ("WEBP", options)
            for options in ({}, {"lossless": True}, {"exif": exif}, {"save_all": True})
        ),
        *(
            ("TIFF", {"compression": name})
            for name in ("raw", "tiff_lzw", "packbits", "tiff_deflate", "jpeg")
        ),
        *((name, {}) for name in ("BMP", "GIF", "PPM")),
        ("GIF", {"save_all": True}),
    ]
    found = []
    for mode in ("L", "RGB", "RGBA", "P", "LA", "1", "CMYK", "I;16"):
        frame = noise.convert("I").convert(mode) if mode == "I;16" else noise.convert(mode)
        for kind, options in variants:
            more = {"append_images": [frame.rotate(180), frame]} if "save_all" in options else {}
            file = io.BytesIO()
            try:
                frame.save(file, kind, **options, **more)
            except (OSError, ValueError):
                continue
            found.append(file.getvalue())
    pixels = np.asarray(noise.convert("RGB"))
    found += [
        cv2.imencode(kind, pixels)[1].tobytes()
        for kind in (".jpg", ".png", ".webp", ".tif", ".gif")
    ]
    return found


STARTS = _starts()


def check(data: bytes) -> None:
    """One input: an image with some places overwritten, and perhaps another end."""
    # Where the data is used up, the provider returns the smallest values: these must mean a whole image.
    provider = atheris.FuzzedDataProvider(data)
    image = bytearray(STARTS[provider.ConsumeIntInRange(0, len(STARTS) - 1)])
    for _ in range(provider.ConsumeIntInRange(0, 8)):
        first = 0 if provider.ConsumeBool() else provider.ConsumeIntInRange(0, len(image) - 1)
        position = first + provider.ConsumeIntInRange(0, 32)  # headers decide on sizes
        new = provider.ConsumeBytes(provider.ConsumeIntInRange(1, 4))
        image[position : position + len(new)] = new
    if provider.ConsumeBool():
        del image[provider.ConsumeIntInRange(0, len(image)) :]
        image += provider.ConsumeBytes(provider.remaining_bytes())
    _decode(bytes(image))


def _decode(image: bytes) -> None:
    still_image(image)
    try:
        decoded = decode(image, least_size=(8, 8) if len(image) % 2 else None)
    except errors.FrameError as error:
        if error.got == "more pixels than its header states":
            raise AssertionError(error.got) from None
        return
    stated = header.read_header(image)
    height, width = decoded.full_size or decoded.pixels.shape[:2]
    if stated is None or (
        height * width != stated.height * stated.width and stated.format != "tiff"
    ):
        raise AssertionError(f"{stated} came through as {width} x {height}")
    if not 0 < decoded.pixels.size <= 3 * MAX_PIXELS:
        raise AssertionError(f"{decoded.pixels.shape} is above the limit")


if "PVLR_PLANTED_BUG" in os.environ:  # the limit of pixels is not checked
    limits.check_pixels = lambda *_: None

if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
