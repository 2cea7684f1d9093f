"""A fuzz target for uploaded pictures: python tests/pvlr_sdk/cameras/serve/api/fuzz_upload.py -max_total_time=600

Any bytes are either a picture, of at most so many pixels, that can be tagged, or a FrameError. ``PVLR_FUZZ_PLAN`` is a
plan to tag them with; without it they are only decoded.
"""

from __future__ import annotations

import io
import os
import sys

import atheris

with atheris.instrument_imports(
    include=["pvlr_sdk.cameras.serve.server.bodies", "pvlr_sdk.frames"]
):
    from pvlr_sdk import Tagger, errors
    from pvlr_sdk.cameras.serve.server import bodies as uploads
    from pvlr_sdk.frames.images import decode

from types import SimpleNamespace

from PIL import Image

MOST_PIXELS = 200_000
KINDS = ("JPEG", "PNG", "WEBP")


def _starts() -> list[bytes]:
    """Small pictures of every kind and mode, for the fuzzer to damage."""
    found = []
    noise = Image.effect_noise((24, 16), 80)
    exif = Image.Exif()
    exif[0x0112] = 8
    for mode in ("L", "RGB", "RGBA", "P", "LA", "1", "CMYK", "I;16"):
        for kind in KINDS:
            for options in ({}, {"exif": exif}, {"progressive": True}):
                file = io.BytesIO()
                try:
                    noise.convert(mode).save(file, kind, **options)
                except (OSError, ValueError):
                    continue
                found.append(file.getvalue())
    return found


STARTS = _starts()
TAGGER = (
    Tagger(os.environ["PVLR_FUZZ_PLAN"], num_threads=1) if "PVLR_FUZZ_PLAN" in os.environ else None
)


def check(data: bytes) -> None:
    """One input: bytes as they are, or a picture with some places overwritten."""
    provider = atheris.FuzzedDataProvider(data)
    if provider.ConsumeBool():
        picture = bytearray(STARTS[provider.ConsumeIntInRange(0, len(STARTS) - 1)])
        for _ in range(provider.ConsumeIntInRange(0, 8)):
            position = provider.ConsumeIntInRange(0, len(picture) - 1)
            new = provider.ConsumeBytes(provider.ConsumeIntInRange(1, 4))
            picture[position : position + len(new)] = new
        upload = bytes(picture[: provider.ConsumeIntInRange(0, 2 * len(picture))])
    else:
        upload = provider.ConsumeBytes(provider.remaining_bytes())
    try:
        frame = uploads.decode_upload(upload, MOST_PIXELS)
    except errors.FrameError:
        return
    height, width = frame.size
    if not 0 < height * width <= MOST_PIXELS:
        raise AssertionError(f"{width} x {height} came through")
    if TAGGER:
        TAGGER.predict(frame.pixels, color="bgr" if frame.order == "gray" else frame.order)


if "PVLR_PLANTED_BUG" in os.environ:  # the limit of pixels is not the one for uploads
    uploads.images = SimpleNamespace(
        decode=lambda *arguments, max_pixels, formats: decode(*arguments, formats=formats)
    )

if __name__ == "__main__":
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
