"""Adds taught labels to a label bank, and removes them again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..bundle.bundle import shortest_decimal
from ..bundle.label_bank import LabelBank
from ..bundle.manifest import OpenSpec
from .encoder import MINILM
from .fit import Fit, Floats
from .words import THRESHOLD, bank_from_words

_SCALARS = ("gains", "biases", "thresholds", "precise_thresholds")


@dataclass(frozen=True)
class LinearFunction:
    """A logit as a linear function of the features: weights (D,) and a bias."""

    weights: Floats
    bias: float


def add_labels(base: LabelBank, labels: Sequence[str], spec: OpenSpec, words: bool) -> LabelBank:
    """The bank with rows for all labels to teach; new ones come last, with the vectors of their words where the plan
    reads words.

    Raises:
        OptionError, MissingPartError: as for :func:`bank_from_words`.
    """
    new = [label for label in labels if label not in base.names]
    arrays = base.arrays()
    if arrays["weights"].shape[1] != spec.feature_width:
        arrays["weights"] = np.zeros((len(base), spec.feature_width), np.float16)
    for name, array in arrays.items():
        more = np.zeros((len(new), *array.shape[1:]), array.dtype)
        arrays[name] = np.concatenate(
            [array, more + THRESHOLD if name.endswith("thresholds") else more]
        )
    if new and words and spec.space == MINILM:
        arrays["embeddings"][len(base) :] = bank_from_words(new).embeddings
    taught = {**base.taught, **{label: {"before": None} for label in new}}
    return rebuilt(
        base, [*base.names, *new], arrays, {**base.text, "features": spec.features}, taught
    )


def with_label(
    bank: LabelBank,
    label: str,
    fitted: Fit,
    thresholds: tuple[float, float],
    source: Mapping[str, Any],
    function: LinearFunction | None = None,
) -> LabelBank:
    """The bank with a label of it as it was taught; ``source`` is its provenance.

    ``function`` computes the logit of its words, where that is a function of the features.
    """
    row = bank.index(label)
    arrays = bank.arrays()
    before = scalars_of(arrays, row)
    if label in bank.taught:
        before = bank.taught[label]["before"]  # its first teaching is what is undone
    weights = fitted.weights
    bias = fitted.bias
    gain = fitted.gain
    if function is not None:
        weights = weights + gain * function.weights
        bias = bias + gain * function.bias
        gain = 0.0
    arrays["weights"][row] = weights
    for name, value in zip(_SCALARS, (gain, bias, *thresholds), strict=True):
        arrays[name][row] = value
    return rebuilt(
        bank, bank.names, arrays, bank.text, {**bank.taught, label: {**source, "before": before}}
    )


def taught_function(bank: LabelBank, label: str) -> LinearFunction | None:
    """The function that computes the logit of a label from words or photos; None: it is another label, or the network
    computes a part of its logit."""
    if label not in bank.taught or bank.weights is None:
        return None
    row = bank.index(label)
    if bank.arrays()["gains"][row]:
        return None
    return LinearFunction(
        bank.weights[row].astype(np.float64),
        0.0 if bank.biases is None else float(bank.biases[row]),
    )


def forget(bank: LabelBank, labels: Iterable[str]) -> LabelBank:
    """Undo teaching: a label that was new is removed, another one is as it was before.

    Raises:
        UnknownLabelError: the bank does not have a label.
        OptionError: a label was not taught.
        LabelBankError: no label would be left.
    """
    arrays = bank.arrays()
    taught = dict(bank.taught)
    kept = list(bank.names)
    for label in labels:
        row = bank.index(label)
        if label not in taught:
            raise errors.OptionError(
                "forget",
                "a label that was taught",
                f"{label!r}, which was not",
                f"Taught labels: {', '.join(map(repr, taught)) or 'none'}.",
            )
        arrays["weights"][row] = 0
        try:
            before = taught.pop(label)["before"]
            if before is None:
                kept.remove(label)
            else:
                for name in _SCALARS:
                    arrays[name][row] = before[name]
        except (KeyError, TypeError, ValueError):
            raise errors.LabelBankError(
                "bank",
                f"what {label!r} was before it was taught",
                "another provenance",
                "Teach it again, with a bank of its plan.",
            ) from None
    return rebuilt(bank, bank.names, arrays, bank.text, taught).select(kept)


def scalars_of(arrays: Mapping[str, NDArray[Any]], row: int) -> dict[str, float]:
    """The values of a label that :func:`forget` restores, from the arrays of a bank."""
    return {name: shortest_decimal(arrays[name][row]) for name in _SCALARS}


def rebuilt(
    old: LabelBank,
    names: list[str],
    arrays: dict[str, NDArray[Any]],
    text: Mapping[str, Any],
    taught: dict[str, Any],
) -> LabelBank:
    """A bank with other arrays; after its last taught label is forgotten, it is again one that was never taught."""
    text = {**text, "taught": taught}
    optional_arrays = dict[str, Any](arrays)
    if old.precise_thresholds is None:
        optional_arrays["precise_thresholds"] = None
    if old.taught and not taught:
        del text["taught"]
        text.pop("features", None)
        optional_arrays |= {
            "gains": None,
            "weights": None,
            "biases": arrays["biases"] if arrays["biases"].any() else None,
        }
    return LabelBank(names, text=text, **optional_arrays)
