"""``pvlr precision``: what answers prove of the events of a site."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from . import options
from .remember import Html, Memory, clock, print_lines, write_gallery

if TYPE_CHECKING:
    from ..cameras.memory.store import Answer, Store


@dataclass(frozen=True)
class Answers:
    """What the user answers about events."""

    yes: Annotated[
        list[str] | None,
        Option(metavar="EVENT", help="Answer: this event is right. May be repeated."),
    ] = None
    no: Annotated[list[str] | None, Option(metavar="EVENT", help="Answer: it is wrong.")] = None
    unclear: Annotated[
        list[str] | None,
        Option(metavar="EVENT", help="Answer: nobody can say; counts as wrong."),
    ] = None
    undo: Annotated[list[str] | None, Option(metavar="EVENT", help="Remove the answer.")] = None

    def store(self, store: Store) -> None:
        """Store them, in this order."""
        from ..cameras.memory.why import find_event

        answers: tuple[tuple[Answer | None, list[str] | None], ...] = (
            ("yes", self.yes),
            ("no", self.no),
            ("unclear", self.unclear),
            (None, self.undo),
        )
        for answer, events in answers:
            for event in events or ():
                store.answer(find_event(store, event).id, answer)


def precision(
    memory: Memory,
    *,
    target: float = Option(
        0.9, min=0.5, max=0.999, help="The share of events that are to be right."
    ),
    label: str | None = Option(
        None, "--label", "-l", metavar="LABEL", help="Only events of this label."
    ),
    camera: str | None = Option(
        None, metavar="CAMERA", help="Only this camera, not all of them together."
    ),
    answers: Answers,
    html: Html = None,
    export: Path | None = Option(
        None, metavar="DIR", help="Write the answers as examples to a new folder."
    ),
    as_json: options.Json = False,
) -> None:
    """State the precision of events that reviewed events prove, per label.

    For example: at 0.83, at least 90 % of events are right (95 % confidence,
    46 of 47 reviewed). --html writes a page with the pictures of the next
    events to answer, drawn at random: a selection of your own proves nothing.
    --export writes DIR/yes/LABEL/, DIR/no/LABEL/ and DIR/labels.csv, for [bold]teach[/bold],
    [bold]train[/bold] and [bold]eval[/bold], and DIR/answers.jsonl, for [bold]export-labels[/bold].

    \b
    [bold]Examples[/bold]
    pvlr precision --memory memory/ --html review.html
    pvlr precision --memory memory/ --yes 3f2a91c0 --yes 77c01b52 --no b81d4e09
    pvlr precision --memory memory/ --label person --target 0.95 --json
    pvlr precision --memory memory/ --export examples/
    """
    from ..cameras.memory.examples import export_answers
    from ..cameras.memory.precision import statement, to_review
    from ..cameras.memory.store import Store
    from .screen import note, print_json

    store = Store(memory)
    answers.store(store)
    recorded = [
        name
        for (name,) in store.query(
            "SELECT DISTINCT label FROM moments WHERE kind = 'event' ORDER BY 1"
        )
    ]
    statements = [
        statement(store, name, target, camera) for name in ([label] if label else recorded)
    ]
    if html:
        rows = to_review(store, label, camera=camera)
        lines = [
            f"{row.event or '':.8}  {row.label}  {row.camera}  {clock(row.time)}" for row in rows
        ]
        write_gallery(
            html,
            "Events to answer",
            zip((store.picture(row.id) for row in rows), lines, strict=True),
        )
    if export:
        note(f"{export_answers(store, export, label, camera)} examples in {export}")
    if as_json:
        print_json([asdict(proof) for proof in statements])
    else:
        print_lines(map(str, statements))
