"""``pvlr teach --not-again``: from a false event of a memory to a label bank that does not report it any more."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Option

from .. import errors

if TYPE_CHECKING:
    from ..bundle.label_bank import LabelBank
    from ..cameras.memory.correction import Correction
    from ..cameras.memory.reader import Row

_SHOWN = 10
"""Events of each kind that are printed: the newest."""


@dataclass(frozen=True)
class FalseEvent:
    """A false event to correct."""

    event: Annotated[
        str | None,
        Option(
            "--not-again",
            metavar="EVENT",
            help="A false event of --memory: change its label so that it is not reported again.",
        ),
    ] = None
    memory: Annotated[
        Path | None,
        Option("--memory", "-m", metavar="DIR", help="The folder of the memory, for --not-again."),
    ] = None
    undo: Annotated[bool, Option("--undo", help="Undo the correction of --not-again.")] = False

    def write_correction(self, plan: Path, bank: LabelBank | None, out: Path) -> Correction | None:
        """Write the label bank with the correction, then answer the event with no; or undo both and return None.

        Raises:
            OptionError: an option is missing, there is no such event, or it cannot be corrected.
            BackendError: the plan is closed.
            UnknownLabelError, LabelBankError: the bank does not have the label, or is damaged.
            OutputError: the bank cannot be written; the event then keeps its answer.
        """
        from .._util.files import write_files
        from ..backends.backend import closed
        from ..bundle.bundle import labels_path, read_manifest
        from ..bundle.label_bank import LabelBank
        from ..cameras.control.corrections import undone
        from ..cameras.memory.correction import correct
        from ..cameras.memory.store import Store
        from ..cameras.memory.why import find_event
        from ..models.find import find_plan

        if self.event is None or self.memory is None:
            raise errors.OptionError(
                "--not-again",
                "an event and --memory",
                "no --memory" if self.event else "no event",
                "For example --not-again 3f2a91c0 --memory memory/, and --undo for the reverse.",
            )
        path = find_plan(plan)
        spec = read_manifest(path).open
        if spec is None:
            raise closed(str(path))
        base = bank or LabelBank.load(labels_path(path))
        store = Store(self.memory)
        row = find_event(store, self.event)
        made = None if self.undo else correct(store, row, base, spec.features)
        write_files({out: (made.bank if made else undone(base, row)).to_bytes()})
        store.answer(row.id, "no" if made else None, drawn=False)
        return made

    def is_named(self) -> bool:
        """Whether any of the options is there."""
        return bool(self.event or self.memory or self.undo)


def as_values(made: Correction) -> dict[str, Any]:
    """A correction as plain JSON values."""
    kinds = {"gone": made.gone, "stay": made.stay, "lost": made.lost}
    ids = {name: [row.event for row in rows] for name, rows in kinds.items()}
    return {
        "event": made.event,
        "label": made.label,
        "right": made.right,
        **ids,
        "notes": made.notes,
    }


def print_correction(made: Correction) -> None:
    """Print which other events would have gone and stayed."""
    from .remember import print_lines
    from .screen import note

    for kind, rows in (("gone", made.gone), ("stay", made.stay)):
        print_lines(_line(kind, row) for row in rows[-_SHOWN:])
    print_lines([f"{made.label}: {len(made.gone)} other events gone, {len(made.stay)} stay"])
    if made.lost:
        note(f"{len(made.lost)} of {made.right} events that were answered with yes would go too")
    elif made.right:
        note(f"all {made.right} events that were answered with yes stay")
    for text in made.notes:
        note(f"not exact: {text}")


def _line(kind: str, row: Row) -> str:
    from .remember import clock

    return f"{kind}  {row.event:.8}  {row.score or 0:.2f}  {row.camera}  {clock(row.time)}"
