"""The accuracy gate: compares the tags and logits of a faster engine with fp32."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ..evaluation import metrics

if TYPE_CHECKING:
    from ...backends import Backend

MIN_AGREEMENT = 0.9
"""Share of images that must keep their tag set. int8 changes close calls: on a Lite2 network it changed one label of
twenty on one image in ten, and cost 0.1 to 0.2 mAP."""
_ROUNDS = 20
_CALLS = 5


def least_agreement(precision: str) -> float:
    """The default share of images that must keep their tag set, 0..1."""
    return MIN_AGREEMENT if precision == "int8" else 0.98


@dataclass(frozen=True)
class Agreement:
    """The results of an engine on N images, compared with the fp32 engine.

    Attributes:
        photos: N.
        tag_sets: share of the images with the same tags at the deployed thresholds, 0..1.
        largest_logit_difference, mean_logit_difference: over images and labels.
        mAP, mAP_fp32: in percent; None without targets.
    """

    photos: int
    tag_sets: float
    largest_logit_difference: float
    mean_logit_difference: float
    mAP: float | None = None  # noqa: N815 - the field's name for it
    mAP_fp32: float | None = None  # noqa: N815

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, rounded to four decimals, without values that were not measured."""
        return {
            name: round(value, 4) if isinstance(value, float) else value
            for name, value in asdict(self).items()
            if value is not None
        }

    def check(self, least: float, source: str) -> None:
        """Raises AccuracyError if a smaller share than ``least`` (0..1) of the images keep their tag set."""
        if not self.tag_sets >= least:
            raise errors.AccuracyError(
                source,
                f"the tags of fp32 on at least {100 * least:.1f} % of {self.photos} images",
                f"{100 * self.tag_sets:.1f} %",
                "Use more representative calibration images, --precision auto, or a lower --min-agreement.",
            )


def logits_of_all(images: Iterable[NDArray[np.float32]], backend: Backend) -> NDArray[np.float32]:
    """The logits (N, C) of preprocessed frames (3, H, W)."""
    rows = []
    slot = backend.acquire()
    for image in images:
        slot.input[:] = image
        slot.start()
        rows.append(slot.wait()[0].copy())
    backend.release(slot)
    return np.stack(rows)


def median_times(engines: dict[str, Backend]) -> dict[str, float]:
    """Median seconds per inference of each engine, measured in turn: a change in the machine's speed affects all."""
    slots = {name: engine.acquire() for name, engine in engines.items()}
    times: dict[str, list[float]] = {name: [] for name in engines}
    for name, slot in [*slots.items()] * _ROUNDS:
        for _ in range(_CALLS):
            began = time.perf_counter()
            slot.start()
            slot.wait()
            times[name].append(time.perf_counter() - began)
    for name, slot in slots.items():
        engines[name].release(slot)
    return {name: float(np.median(values[_CALLS:])) for name, values in times.items()}


def compare(
    logits: NDArray[np.float32],
    reference: NDArray[np.float32],
    thresholds: NDArray[np.float32],
    targets: NDArray[Any] | None = None,
) -> Agreement:
    """Compare logits (N, C) with fp32's, at the thresholds (C,).

    Args:
        targets: (N, C) of 1 (present), -1 (absent), 0 (unknown), for the mAP of both.
    """
    # scores are compared before the sigmoid, which rounds
    cuts = np.log(thresholds) - np.log1p(-thresholds)
    difference = np.abs(logits - reference)
    average = [
        None if targets is None else 100 * metrics.mean_average_precision(rows, targets)
        for rows in (logits, reference)
    ]
    return Agreement(
        photos=len(logits),
        tag_sets=float(((logits >= cuts) == (reference >= cuts)).all(axis=1).mean()),
        largest_logit_difference=float(difference.max()),
        mean_logit_difference=float(difference.mean()),
        mAP=average[0],
        mAP_fp32=average[1],
    )
