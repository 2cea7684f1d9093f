"""Joins label banks: the values that missing arrays stand for, and two banks as one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .. import errors

if TYPE_CHECKING:
    from .labels import LabelBank


def filled(bank: LabelBank) -> dict[str, NDArray[Any]]:
    """Copies of a bank's arrays, with the values that missing ones stand for; missing weights have no columns."""
    count = len(bank)
    return {
        "embeddings": bank.embeddings.copy(),
        "thresholds": bank.thresholds.copy(),
        "precise_thresholds": (bank.thresholds if bank.precise_thresholds is None else bank.precise_thresholds).copy(),
        "biases": np.zeros(count, np.float32) if bank.biases is None else bank.biases.copy(),
        "gains": bank.has_words.astype(np.float32) if bank.gains is None else bank.gains.copy(),
        "weights": np.zeros((count, 0), np.float16) if bank.weights is None else bank.weights.copy(),
    }


def join_arrays(bank: LabelBank, other: LabelBank) -> dict[str, NDArray[Any]]:
    """The arrays of a bank with the labels of both; see :meth:`LabelBank.join`."""
    _check(bank, other)
    first, second = filled(bank), filled(other)
    depth = max(first["weights"].shape[1], second["weights"].shape[1])
    for arrays in (first, second):
        if not arrays["weights"].size:
            arrays["weights"] = np.zeros((len(arrays["weights"]), depth), np.float16)
    return {name: np.concatenate([array, second[name]]) for name, array in first.items()}


def _check(bank: LabelBank, other: LabelBank) -> None:
    both = sorted(set(bank.names) & set(other.names))
    taught = [of.text.get("features") for of in (bank, other) if of.weights is not None]
    wrong: tuple[str, str, str] | None = None
    if both:
        wrong = "labels that only one of the banks has", f"{both[0]!r} in both", "Select the others first."
    elif (bank.space, bank.embeddings.shape[1]) != (other.space, other.embeddings.shape[1]):
        wrong = f"a bank made for {bank.space}", f"one made for {other.space}", "Make both for the same plan."
    elif len(set(taught)) > 1:
        wrong = f"labels taught on the features of {taught[0]}", f"of {taught[1]}", "Make both for the same plan."
    if wrong:
        raise errors.LabelBankError("bank", expected=wrong[0], got=wrong[1], hint=wrong[2])
