"""The golden frame: an image whose fp32 logits are known, used by the self-test at load time."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..frames import images
from ..frames.frames import Frame, Order
from ..result import sigmoid

if TYPE_CHECKING:
    from ..backends import Backend
    from ..bundle.label_bank import LabelBank
    from ..bundle.manifest import GoldenSpec
    from ..frames.isolated import Decoders
    from ..frames.preprocess import Preprocessor


def default_frame() -> NDArray[np.uint8]:
    """A synthetic 64x64 BGR image with gradients, edges and texture: the default golden frame."""
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
    """Encode a BGR frame as a base64 PNG, losslessly."""
    import cv2

    data: NDArray[np.uint8] = cv2.imencode(".png", frame)[1]
    return base64.b64encode(data.tobytes()).decode()


def decode(text: str, source: str, decoders: Decoders | None = None) -> NDArray[np.uint8]:
    """Decode the BGR frame of :func:`encode`, in one of ``decoders`` for a bundle that is not trusted.

    Raises:
        ManifestError: the text is not an encoded image.
    """
    try:
        data = base64.b64decode(text, validate=True)
        decode_image = decoders.decode if decoders else images.decode
        return decode_image(data, "golden.frame_png", formats=("png",)).pixels
    except (ValueError, errors.FrameError) as error:
        raise errors.ManifestError(
            source,
            "a base64 PNG as golden.frame_png",
            error.got if isinstance(error, errors.FrameError) else "invalid base64",
            "Build the plan again.",
        ) from None


def logits_of(
    frame: NDArray[np.uint8], backend: Backend, preprocess: Preprocessor, order: Order = "bgr"
) -> NDArray[np.float32]:
    """The logits (C,) of a frame."""
    slot = backend.acquire()
    slot.load(Frame(frame, order), preprocess)
    slot.start()
    logits: NDArray[np.float32] = slot.wait()[0].copy()
    backend.release(slot)
    return logits


def check(
    spec: GoldenSpec,
    frame: NDArray[np.uint8],
    backend: Backend,
    preprocess: Preprocessor,
    source: str,
) -> None:
    """Run the golden frame and compare its logits with the manifest's.

    Raises:
        SelfTestError: they differ by more than the tolerance for the backend's precision.
        NonFiniteError: they are NaN or infinite.
    """
    logits = logits_of(frame, backend, preprocess)
    if not np.isfinite(logits).all():
        raise non_finite(source)
    difference = float(np.abs(logits - np.array(spec.logits)).max())
    tolerance = spec.tolerance.get(cast(Any, backend.precision))
    if tolerance is None and backend.precision == "fp16":  # a plan for the CPU on another device
        tolerance = spec.tolerance.get("bf16")  # which rounds more coarsely
    if tolerance is None or difference > tolerance:
        raise errors.SelfTestError(
            source,
            f"golden logits within {tolerance} ({backend.precision})",
            f"a difference of {difference:.3g}",
            'This machine computes other results: try precision="fp32", or build the plan again here.',
        )


def check_labels(
    frame: NDArray[np.uint8], backend: Backend, preprocess: Preprocessor, bank: LabelBank
) -> None:
    """Tag the golden frame with a label bank that an open plan is about to use.

    Raises:
        LabelBankError: the score of a label is NaN, or 0 or 1 after rounding: frames would hardly change it.
    """
    logits = logits_of(frame, backend, preprocess)
    scores = sigmoid(logits)
    for name, logit, usable in zip(bank.names, logits, (scores > 0) & (scores < 1), strict=True):
        if not usable:
            raise errors.LabelBankError(
                "bank",
                "finite scores between 0 and 1 for the golden image",
                f"a logit of {logit:g} for {name!r}",
                "Make or teach the label again, or copy the label bank again.",
            )


def checked(
    load: Callable[..., Backend],
    spec: GoldenSpec,
    preprocess: Preprocessor,
    source: str,
    decoders: Decoders | None = None,
) -> tuple[Backend, NDArray[np.uint8]]:
    """Load a backend by ``load()`` and :func:`check` it; returns the golden frame too.

    What the cache of compiled networks has and does not pass is replaced by ``load(fresh=True)``, not used again.

    Raises: as :func:`decode` and :func:`check`.
    """
    backend = load()
    frame = decode(spec.frame_png, source, decoders)
    try:
        check(spec, frame, backend, preprocess, source)
    except errors.BundleError:
        if not backend.info["from_cache"]:
            raise
        backend = load(fresh=True)
        check(spec, frame, backend, preprocess, source)
    return backend, frame


def non_finite(source: str) -> errors.NonFiniteError:
    """The error for NaN or infinite logits."""
    return errors.NonFiniteError(
        source,
        "finite logits",
        "NaN or infinite values",
        'Try precision="fp32"; if the error persists, the model is broken: export and build it again.',
    )
