"""The labels of an open plan as inputs of its network: a label bank, padded to the room that the network has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import errors
from .schema import LABEL_BIASES, LABEL_MASK, LABELS

if TYPE_CHECKING:
    from .labels import LabelBank
    from .manifest import OpenSpec


def check_fits(bank: LabelBank, spec: OpenSpec, source: str) -> None:
    """Check that an open plan can use a label bank; ``source`` names it in errors.

    Raises:
        LabelBankError: it has too many labels, or was made for another model.
    """
    wrong: tuple[str, str, str] | None = None
    width = bank.embeddings.shape[1]
    if len(bank) > spec.max_labels:
        hint = f"Choose fewer labels, or export the model again with --max-labels {len(bank)}."
        wrong = (f"at most {spec.max_labels} labels", f"{len(bank)}", hint)
    elif bank.space != spec.space:
        hint = "Use labels of this plan's own bank, or a bank that was made for its model."
        wrong = (f"a bank made for {spec.space}", f"one made for {bank.space or 'no open plan'}", hint)
    elif width != spec.width:
        wrong = (f"embeddings of width {spec.width}", f"{width}", "Make the bank again.")
    if wrong:
        raise errors.LabelBankError(source, expected=wrong[0], got=wrong[1], hint=wrong[2])


def label_inputs(bank: LabelBank, spec: OpenSpec, source: str = "labels") -> dict[str, NDArray[np.float32]]:
    """The inputs of an open network by name: ``labels`` (max_labels, width), ``label_biases`` and ``label_mask``
    (max_labels,), all float32. The mask is 1 for a label and 0 for padding, whose outputs mean nothing.

    Raises:
        LabelBankError: as :func:`check_fits`.
    """
    check_fits(bank, spec, source)
    padding = spec.max_labels - len(bank)
    biases = np.zeros(len(bank), np.float32) if bank.biases is None else bank.biases
    return {
        # A copy of the last label: zeros have no direction, and a cosine of them is NaN.
        LABELS: np.pad(bank.embeddings.astype(np.float32), ((0, padding), (0, 0)), mode="edge"),
        LABEL_BIASES: np.pad(biases, (0, padding)),
        LABEL_MASK: np.pad(np.ones(len(bank), np.float32), (0, padding)),
    }
