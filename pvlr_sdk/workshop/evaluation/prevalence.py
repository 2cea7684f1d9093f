"""How frequent labels are where a tagger is used: stated, or estimated from images without labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ... import errors
from ..._util.plain_json import read_json
from ..._util.validation import did_you_mean
from ...frames import find
from ...labels.intervals import reweighted
from ...labels.thresholds import choose_thresholds, sigmoid
from .annotations import LIMITS, read_text

if TYPE_CHECKING:
    from ...tagger import Tagger

Floats = NDArray[np.float64]

_LEAST = 1e-3
_ROUNDS = 6
_HINT = 'Give a share such as 0.05, a JSON file such as {"cat": 0.05}, or a folder of images without labels.'


def find_prevalence(
    given: str, tagger: Tagger, logits: Floats, targets: NDArray[np.int8]
) -> Floats:
    """The share of images (C,) with each label of a tagger, between 0 and 1.

    Args:
        given: one share for all labels; a JSON file {label: share}, where other labels are as frequent as in
            ``targets``; or a folder of images without labels, from which :func:`estimate` takes the shares.
        logits, targets: (N, C) of labelled images.

    Raises:
        OptionError: none of these, or a share that is not between 0 and 1.
        LabelsFileError, UnknownLabelError: the file is invalid, or names a label that the tagger does not have.
    """
    path = Path(given)
    if path.is_dir():
        results = tagger.predict_stream(find.find([given], lambda *_: None))
        others = [result.logits for result in results if not isinstance(result, errors.FrameError)]
        if not others:
            raise _wrong(f"{given}, a folder without readable images")
        return estimate(logits, targets, np.array(others, np.float64))
    measured = (targets == 1).sum(0) / np.maximum((targets != 0).sum(0), 1)
    if path.is_file():
        return _stated(_read(path), tagger.labels, measured)
    try:
        return np.full(len(measured), _share(float(given)))
    except ValueError:
        raise _wrong(repr(given)) from None


def _read(path: Path) -> dict[str, float]:
    try:
        shares = read_json(read_text(path), LIMITS, printable=False)
        return {label: _share(share) for label, share in shares.items()}
    except (ValueError, TypeError, AttributeError):
        raise _wrong(f"{path}, which is not a JSON object of shares") from None


def _stated(shares: dict[str, float], labels: Sequence[str], own: Floats) -> Floats:
    if unknown := next((label for label in shares if label not in labels), None):
        raise errors.UnknownLabelError(
            "--prevalence",
            "labels of the plan",
            repr(unknown),
            did_you_mean(unknown, labels) or "Name labels of the plan.",
        )
    return np.array([shares.get(label, value) for label, value in zip(labels, own, strict=True)])


def _share(share: float) -> float:
    if not 0 < share < 1 or math.isnan(share):
        raise _wrong(str(share))
    return float(share)


def _wrong(got: str) -> errors.OptionError:
    return errors.OptionError("--prevalence", "shares of images between 0 and 1", got, _HINT)


def estimate(logits: Floats, targets: NDArray[np.int8], others: Floats) -> Floats:
    """The share (C,) of other images with each label, from their logits (M, C).

    At the threshold of the best F1, about as many images are tagged wrongly as are missed, so the share of tagged
    images is the prevalence ("classify and count", Forman 2008). That threshold depends on the prevalence; a few rounds
    find both.
    """
    shares = (sigmoid(others) >= choose_thresholds(logits, targets)).mean(0)
    for _ in range(_ROUNDS):
        shares = np.clip(shares, _LEAST, 1 - _LEAST)
        shares = (sigmoid(others) >= choose_thresholds(*reweighted(logits, targets, shares))).mean(
            0
        )
    return np.clip(shares, _LEAST, 1 - _LEAST)
