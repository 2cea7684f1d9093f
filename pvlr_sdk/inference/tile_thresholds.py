"""The thresholds that a plan has for tiles, and the labels of other label banks for which they hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..bundle.fingerprints import fingerprints
from ..bundle.label_bank import LabelBank


@dataclass(frozen=True)
class TileThresholds:
    """Thresholds that were measured for tile layouts, with the label bank of the plan.

    Attributes:
        bank: the label bank of the plan, of C labels.
        whole: float32 (C,), the thresholds for whole frames.
        layouts: float32 (C,) by the name of a tile layout.
    """

    bank: LabelBank
    whole: NDArray[np.float32]
    layouts: Mapping[str, NDArray[np.float32]]

    def of(self, bank: LabelBank, whole: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """The thresholds (D,) by layout for another label bank of D labels, whose thresholds for whole frames are (D,).

        A label that was added, taught or corrected, or whose threshold has changed, has NaN: nothing was measured.
        """
        if not self.layouts:
            return {}
        own_rows = {state: row for row, state in enumerate(_states(self.bank, self.whole))}
        rows = np.array([own_rows.get(state, -1) for state in _states(bank, whole)])
        return {
            layout: np.where(rows >= 0, values[rows], np.float32(np.nan))
            for layout, values in self.layouts.items()
        }


def _states(bank: LabelBank, whole: NDArray[np.float32]) -> Iterator[tuple[str, str, float]]:
    """Of each label its name, what its scores depend on, and its threshold."""
    return zip(bank.names, fingerprints(bank), whole.tolist(), strict=True)
