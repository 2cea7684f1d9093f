"""The golden frame: a picture whose fp32 logits are known, for the self-test at load."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from . import errors
from .frames import Frame

if TYPE_CHECKING:
    from .backends import Backend
    from .manifest import GoldenSpec
    from .preprocess import Preprocessor


def picture() -> NDArray[np.uint8]:
    """A synthetic 64x64 BGR picture with gradients, edges and texture: the default golden frame."""
    y, x = np.mgrid[0:64, 0:64] / 63.0
    sky = np.stack([200 - 60 * y, 150 - 40 * y + 20 * x, 90 + 60 * y], axis=2)
    disc = (x - 0.35) ** 2 + (y - 0.4) ** 2 < 0.06
    ground = y > 0.72 + 0.06 * np.sin(9 * x)
    sky[disc] = (40, 120, 230)
    sky[ground] = (60, 130, 70)
    texture = 14 * np.sin(37 * x + 11 * y) * np.sin(29 * y)
    pixels: NDArray[np.uint8] = np.clip(sky + texture[:, :, None], 0, 255).round().astype(np.uint8)
    return pixels


def encode(frame: NDArray[np.uint8]) -> str:
    """A BGR frame as a base64 PNG, without loss."""
    import cv2

    data: NDArray[np.uint8] = cv2.imencode(".png", frame)[1]
    return base64.b64encode(data.tobytes()).decode()


def decode(text: str, source: str) -> NDArray[np.uint8]:
    """The BGR frame of :func:`encode`.

    Raises:
        ManifestError: it is no picture.
    """
    import cv2

    try:
        frame = cv2.imdecode(np.frombuffer(base64.b64decode(text, validate=True), np.uint8), cv2.IMREAD_COLOR)
    except (ValueError, cv2.error):
        frame = None
    if frame is None:
        raise errors.ManifestError(
            source, expected="a base64 PNG as golden.frame_png", got="something else", hint="Build the plan again."
        )
    pixels: NDArray[np.uint8] = frame
    return pixels


def logits_of(frame: NDArray[np.uint8], backend: Backend, preprocess: Preprocessor) -> NDArray[np.float32]:
    """The logits (C,) of a BGR frame."""
    slot = backend.acquire()
    slot.load(Frame(frame, "bgr"), preprocess)
    slot.start()
    logits: NDArray[np.float32] = slot.wait()[0].copy()
    backend.release(slot)
    return logits


def check(spec: GoldenSpec, backend: Backend, preprocess: Preprocessor, source: str) -> None:
    """Run the golden frame and compare its logits with the ones in the manifest.

    Raises:
        SelfTestError: they differ by more than the tolerance for the backend's precision.
        NonFiniteError: they are NaN or infinite.
    """
    logits = logits_of(decode(spec.frame_png, source), backend, preprocess)
    if not np.isfinite(logits).all():
        raise non_finite(source)
    difference = float(np.abs(logits - np.array(spec.logits)).max())
    tolerance = spec.tolerance.get(backend.precision)
    if tolerance is None or difference > tolerance:
        raise errors.SelfTestError(
            source,
            expected=f"golden logits within {tolerance} ({backend.precision})",
            got=f"a difference of {difference:.3g}",
            hint='The plan computes something else on this machine: try precision="fp32", or build it again here.',
        )


def non_finite(source: str) -> errors.NonFiniteError:
    """The error for logits that are no numbers."""
    return errors.NonFiniteError(
        source,
        expected="finite logits",
        got="NaN or infinite values",
        hint='Try precision="fp32"; if it stays, the model is broken: export and build it again.',
    )
