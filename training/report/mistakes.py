"""The worst mistakes of a run."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk.errors import FrameError
from pvlr_sdk.frames.bgr import encode_jpeg, shrink
from pvlr_sdk.frames.frames import load_frame
from pvlr_sdk.labels.thresholds import sigmoid

Floats = NDArray[np.float64]

_SIDE = 400  # longest side of an embedded image, pixels
_QUALITY = 75


def worst_mistakes(
    labels: tuple[str, ...],
    logits: Floats,
    targets: NDArray[np.int8],
    thresholds: Floats,
    count: int,
) -> list[dict[str, Any]]:
    """The ``count`` worst missed and the ``count`` worst added labels, each image at most once per kind.

    They are ranked by the distance between logit and threshold, in logits. ``row`` is the image's.
    """
    cuts = np.log(thresholds) - np.log1p(-thresholds)
    scores = sigmoid(logits)
    over = logits - cuts
    tagged = scores >= thresholds
    mistakes: list[dict[str, Any]] = []
    for kind, wrong in (("missed", ~tagged & (targets == 1)), ("added", tagged & (targets == -1))):
        distance = np.where(wrong, np.abs(over), -1.0)
        worst = distance.argmax(axis=1)
        ranked = np.argsort(-distance.max(axis=1), kind="stable")
        for row in ranked[:count]:
            label = int(worst[row])
            if not wrong[row, label]:
                break
            mistakes.append(
                {
                    "kind": kind,
                    "row": int(row),
                    "label": labels[label],
                    "score": round(float(scores[row, label]), 4),
                    "threshold": round(float(thresholds[label]), 4),
                    "tags": _tags(labels, scores[row], tagged[row], targets[row]),
                }
            )
    return mistakes


def _tags(
    labels: tuple[str, ...], scores: Floats, tagged: NDArray[np.bool_], target: NDArray[np.int8]
) -> list[dict[str, Any]]:
    """Every label that is predicted or present, by decreasing score: right, missed, added, or unknown."""
    shown = np.flatnonzero(tagged | (target == 1))
    rows = []
    for label in shown[np.argsort(-scores[shown], kind="stable")]:
        of_tagged = {1: "right", -1: "added", 0: "unknown"}
        state = of_tagged[int(target[label])] if tagged[label] else "missed"
        rows.append(
            {"label": labels[label], "score": round(float(scores[label]), 4), "state": state}
        )
    return rows


def thumbnail(path: Path) -> str | None:
    """The image as a small JPEG in a data URI; None if it can no longer be read."""
    try:
        small = shrink(load_frame(path).pixels, _SIDE)
    except FrameError:
        return None
    return "data:image/jpeg;base64," + base64.b64encode(encode_jpeg(small, _QUALITY)).decode(
        "ascii"
    )
