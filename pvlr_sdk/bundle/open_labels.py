"""The labels of an open plan as inputs of its network: a label bank, padded to the room that the network has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .schema import LABEL_BIASES, LABEL_GAINS, LABEL_MASK, LABEL_WEIGHTS, LABELS

if TYPE_CHECKING:
    from .label_bank import LabelBank
    from .manifest import OpenSpec


def check_fits(bank: LabelBank, spec: OpenSpec, source: str) -> None:
    """Check that an open plan can use a label bank; ``source`` names it in errors.

    Raises:
        LabelBankError: it has too many labels, or was made or taught for another model.
    """
    wrong: tuple[str, str, str] | None = None
    width = bank.embeddings.shape[1]
    features = bank.text.get("features")
    if len(bank) > spec.max_labels:
        hint = f"Choose fewer labels, or export the model again with --max-labels {len(bank)}."
        wrong = (f"at most {spec.max_labels} labels", f"{len(bank)}", hint)
    elif bank.space != spec.space:
        hint = "Use labels of this plan's own bank, or make the bank with pvlr bank make --plan, for this plan."
        wrong = (
            f"a bank made for {spec.space}",
            f"one made for {bank.space or 'no open plan'}",
            hint,
        )
    elif width != spec.width:
        wrong = (f"embeddings of width {spec.width}", f"{width}", "Make the bank again.")
    elif bank.weights is not None and features != spec.features:
        got = f"labels taught on the features of {features}"
        hint = "Teach them again with this plan, or forget them."
        wrong = (f"labels taught on the features of {spec.features}", got, hint)
    elif bank.weights is not None and bank.weights.shape[1] != spec.feature_width:
        got = str(bank.weights.shape[1])
        wrong = (f"weights of width {spec.feature_width}", got, "Teach its labels again.")
    if wrong:
        expected, got, hint = wrong
        raise errors.LabelBankError(source, expected, got, hint)


def input_shapes(spec: OpenSpec) -> dict[str, tuple[int, ...]]:
    """The shapes of the inputs of :func:`label_inputs`."""
    count = spec.max_labels
    vectors: dict[str, tuple[int, ...]] = dict.fromkeys(
        (LABEL_BIASES, LABEL_MASK, LABEL_GAINS), (count,)
    )
    return {LABELS: (count, spec.width), **vectors, LABEL_WEIGHTS: (count, spec.feature_width)}


def label_inputs(
    bank: LabelBank, spec: OpenSpec, source: str = "labels"
) -> dict[str, NDArray[np.float32]]:
    """The inputs of an open network by name, all float32, in their order: ``labels`` (max_labels, width),
    ``label_biases``, ``label_mask`` and ``label_gains`` (max_labels,), ``label_weights`` (max_labels, feature_width).

    The mask is 1 for a label with words, whose key and value the image's tokens read. It is 0 for a label without
    words, whose gain is 0 too, and for padding, whose outputs mean nothing.

    Raises:
        LabelBankError: as :func:`check_fits`.
    """
    check_fits(bank, spec, source)
    worded = bank.has_words
    # Where there are no words, a copy of a label that has some: zeros have no direction, and a cosine of them is NaN.
    filler = bank.embeddings[worded.argmax()] if worded.any() else np.ones(spec.width)
    arrays = {
        LABELS: np.where(worded[:, None], bank.embeddings, filler),
        LABEL_BIASES: np.zeros(len(bank)) if bank.biases is None else bank.biases,
        LABEL_MASK: worded,
        LABEL_GAINS: worded if bank.gains is None else bank.gains * worded,
        LABEL_WEIGHTS: np.zeros((len(bank), spec.feature_width))
        if bank.weights is None
        else bank.weights,
    }
    inputs = {name: np.zeros(shape, np.float32) for name, shape in input_shapes(spec).items()}
    inputs[LABELS][:] = filler
    for name, array in arrays.items():
        inputs[name][: len(bank)] = array
    return inputs
