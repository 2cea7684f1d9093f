"""Not this again: from a false event to a label that is not reported in such a picture any more, and back."""

from __future__ import annotations

from ... import errors
from ...bundle.label_bank import LabelBank
from ...labels.moving import last_move, move_back
from ..memory.correction import Correction, correct
from ..memory.reader import Row
from ..memory.store import Store
from .control import Control


class Corrections:
    """Corrects the labels of a running site. Thread-safe: changes are made under the lock of the control."""

    def __init__(self, control: Control) -> None:
        self._control = control

    def preview(self, store: Store, row: Row) -> Correction:
        """What :meth:`hold` would change. Raises what :func:`.correct` raises, and OptionError: the plan is closed."""
        return self._correct(store, row, self._control.label_bank())

    def hold(self, store: Store, row: Row) -> Correction:
        """Use and keep the label that does not report an event from the next frame on; the event is answered with no.

        Raises:
            OptionError, UnknownLabelError, LabelBankError: as for :meth:`preview`; or it is corrected already.
            DeployError, OutputError, ConfigError: as for :meth:`.Control.set_labels`. In each case the label stays.
        """
        made: list[Correction] = []

        def change(bank: LabelBank) -> LabelBank:
            if self.is_held(row):
                raise errors.OptionError(
                    "event",
                    "an event without a correction",
                    f"{row.event}, which has one",
                    "Undo it first.",
                )
            made.append(self._correct(store, row, bank))
            return made[0].bank

        self._control.change_bank(change)
        store.answer(row.id, "no", drawn=False)
        self._tell()
        return made[0]

    def undo(self, store: Store, row: Row) -> None:
        """Use and keep the label as it was before the correction of an event, and remove its answer.

        Raises:
            OptionError: the plan is closed, or this is not the last correction of the label.
            UnknownLabelError, LabelBankError: as for :func:`.move_back`.
            DeployError, OutputError, ConfigError: as for :meth:`.Control.set_labels`. In each case the label stays.
        """
        self._control.change_bank(lambda bank: undone(bank, row))
        store.answer(row.id, None)
        self._tell()

    def is_held(self, row: Row) -> bool:
        """Whether the last correction of an event's label is that of this event."""
        return last_move(self._control.label_bank(), row.label or "") == row.event

    def _correct(self, store: Store, row: Row, bank: LabelBank) -> Correction:
        return correct(store, row, bank, self._control.tagger.info["features"])

    def _tell(self) -> None:
        site = self._control.site
        if site and site.memory:
            site.memory.answered()


def undone(bank: LabelBank, row: Row) -> LabelBank:
    """The bank without the correction of an event. Raises what :func:`.move_back` raises, and OptionError: another
    correction of the label came later."""
    label = row.label or ""
    last = last_move(bank, label)
    if last not in (None, row.event):
        raise errors.OptionError(
            "event",
            f"the last corrected event of {label!r}",
            f"{row.event}, which came before {last}",
            "Undo the later ones first.",
        )
    return move_back(bank, label)
