"""Holds a plan against the network that it was built from: what ``pvlr verify`` prints."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import errors
from .bundle import labels_path
from .gate import Agreement, compare, logits_of_all
from .labels import LabelBank

if TYPE_CHECKING:
    from .backends.openvino import Network
    from .frames import FrameLike
    from .tagger import Tagger


@dataclass(frozen=True)
class Verification:
    """What a plan says of photos, against its network in fp32.

    Attributes:
        agreement: the measures.
        failed_images: photos that could not be read, with the reason; they take no part in the measures.
    """

    agreement: Agreement
    failed_images: list[dict[str, str]]

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {**self.agreement.to_dict(), "failed_images": self.failed_images}


def verify(
    tagger: Tagger,
    onnx: str | os.PathLike[str],
    photos: Sequence[FrameLike],
    targets: NDArray[Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Verification:
    """Compare a plan, on the backend and in the precision that it runs in, with its exported network in fp32.

    The network runs in OpenVINO on the CPU, with the preprocessing that it asks for itself, so that a plan that was
    built from another one, or with other constants, shows.

    Args:
        tagger: the loaded plan.
        onnx: the network as ``pvlr export`` wrote it in fp32, its label bank beside it.
        photos: pictures of any kind.
        targets: (N, C) of 1 (present), -1 (absent), 0 (unknown), for the mAP of both.
        progress: called after each photo with the number of photos done.

    Raises:
        ModelError: the file is no exported network in fp32, or one with other labels than the plan.
        FrameError: not one photo could be read (the first photo's error).
    """
    from .backends.openvino import OpenVinoBackend
    from .frames import load_frame

    network, preprocess = _reference(os.fspath(onnx), tagger)
    logits, usable, failed = _logits(tagger, photos, progress)

    def images() -> Any:
        for index in usable:
            pixels, order, _ = load_frame(photos[index])
            yield preprocess(pixels, order)

    reference = logits_of_all(images(), OpenVinoBackend(network, "fp32"))
    known = None if targets is None else targets[usable]
    return Verification(compare(logits, reference, tagger.thresholds, known), failed)


def _logits(
    tagger: Tagger, photos: Sequence[FrameLike], progress: Callable[[int], None] | None
) -> tuple[NDArray[np.float32], list[int], list[dict[str, str]]]:
    """The plan's logits of the photos that can be read, their indices, and the others with the reason."""
    rows, usable, failed = [], [], []
    first: errors.FrameError | None = None
    for index, outcome in enumerate(tagger.predict_stream(photos)):
        if isinstance(outcome, errors.FrameError):
            first = first or outcome
            failed.append({"error": type(outcome).__name__, "message": str(outcome)})
        else:
            rows.append(outcome.logits)
            usable.append(index)
        if progress:
            progress(index + 1)
    if not rows:
        raise first or errors.ImageNotFoundError("photos", expected="photos", got="none", hint="Name a folder of them.")
    return np.stack(rows), usable, failed


def _reference(source: str, tagger: Tagger) -> tuple[Network, Any]:
    """The fp32 network and its preprocessing."""
    from .exported import network_of, read_file
    from .preprocess import Preprocessor

    payload, spec = read_file(source)
    if spec.precision != "fp32":
        raise errors.ModelError(
            source, expected="the network in fp32", got=f"one in {spec.precision}", hint="Name what pvlr export wrote."
        )
    bank = labels_path(source)
    if bank.exists() and LabelBank.load(bank).names != tagger.labels:
        raise errors.ModelError(
            source,
            expected="the plan's labels",
            got="other ones",
            hint="Name the network that it was built from.",
        )
    return network_of(source, payload, spec, len(tagger.labels)), Preprocessor(spec.input)
