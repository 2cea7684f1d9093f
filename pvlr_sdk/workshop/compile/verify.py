"""Compares a plan with the network that it was built from, for ``pvlr verify``."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ...backends.openvino import Network, OpenVinoBackend
from ...bundle.bundle import labels_path
from ...bundle.label_bank import LabelBank
from ...frames.preprocess import Preprocessor
from .exported import fp32_spec, read_payload
from .gate import Agreement, compare, logits_of_all

if TYPE_CHECKING:
    from ...frames.frames import FrameLike
    from ...tagger import Tagger


@dataclass(frozen=True)
class Verification:
    """The results of a plan on images, compared with its network in fp32.

    Attributes:
        agreement: the measurements.
        failed_images: images that could not be read, with the reason; the measurements exclude them.
    """

    agreement: Agreement
    failed_images: list[dict[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**self.agreement.to_dict(), "failed_images": self.failed_images}


def verify(
    tagger: Tagger,
    onnx: str | os.PathLike[str],
    images: Sequence[FrameLike],
    targets: NDArray[Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Compare a plan, on its backend and in its precision, with its exported network in fp32.

    The network runs in OpenVINO on the CPU with its own preprocessing, which reveals a plan that was built from another
    network or with other constants.

    Args:
        tagger: the loaded plan.
        onnx: the network that ``pvlr export`` wrote in fp32, its label bank next to it.
        images: images of any kind.
        targets: (N, C) of 1 (present), -1 (absent), 0 (unknown), for the mAP of both.
        progress: called after each image with the number of images done.

    Raises:
        ModelError: the file is not an exported network in fp32, or has other labels than the plan.
        LabelBankError: the network is open, and cannot use the plan's label bank.
        FrameError: no image could be read (the first image's error).
    """
    network, preprocess = _reference(os.fspath(onnx), tagger)
    logits, usable, failed = _logits(tagger, images, progress)
    inputs = (preprocess.load(images[index]) for index in usable)
    reference = logits_of_all(inputs, OpenVinoBackend(network, "fp32"))
    usable_targets = None if targets is None else targets[usable]
    return Verification(compare(logits, reference, tagger.thresholds, usable_targets), failed)


def _logits(
    tagger: Tagger, images: Sequence[FrameLike], progress: Callable[[int], None] | None
) -> tuple[NDArray[np.float32], list[int], list[dict[str, str]]]:
    """The plan's logits of the images that can be read, their indices, and the other images with the reason."""
    rows = []
    usable = []
    failed = []
    first: errors.FrameError | None = None
    for index, outcome in enumerate(tagger.predict_stream(images)):
        if isinstance(outcome, errors.FrameError):
            first = first or outcome
            failed.append({"error": type(outcome).__name__, "message": str(outcome)})
        else:
            rows.append(outcome.logits)
            usable.append(index)
        if progress:
            progress(index + 1)
    if not rows:
        raise first or errors.ImageNotFoundError(
            "images", "images", "none", "Name a folder with images."
        )
    return np.stack(rows), usable, failed


def _reference(source: str, tagger: Tagger) -> tuple[Network, Preprocessor]:
    payload = read_payload(source)
    spec = fp32_spec(payload, source)
    bank = labels_path(source)
    # An open network runs with the bank of the plan, which may have been closed from it.
    if not spec.open and bank.exists() and LabelBank.load(bank, trust=False).names != tagger.labels:
        raise errors.ModelError(
            source,
            "the plan's labels",
            "other labels",
            "Name the network that the plan was built from.",
        )
    digest = sha256(payload).hexdigest()
    return Network.of(source, payload, digest, spec, tagger.label_bank), Preprocessor(spec.input)
