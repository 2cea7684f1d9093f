"""``pvlr precision``: what answers prove of the events of a site, and of what it missed."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Option

from . import options
from .remember import Html, Memory, clock, print_lines, write_gallery

if TYPE_CHECKING:
    from ..cameras.memory.reader import Row
    from ..cameras.memory.store import Answer, Store

_FRAME = re.compile(r"frame-(\d+):(.+)")
"""A sampled frame and the label that is asked for."""


@dataclass(frozen=True)
class Answers:
    """What the user answers about events, and about frames: ``frame-NUMBER:LABEL``."""

    yes: Annotated[
        list[str] | None,
        Option(
            metavar="EVENT",
            help="Answer: this event is right, or frame-7:person shows the label. May be repeated.",
        ),
    ] = None
    no: Annotated[list[str] | None, Option(metavar="EVENT", help="Answer: it is wrong.")] = None
    unclear: Annotated[
        list[str] | None,
        Option(metavar="EVENT", help="Answer: nobody can say; counts as wrong."),
    ] = None
    undo: Annotated[list[str] | None, Option(metavar="EVENT", help="Remove the answer.")] = None

    def store(self, store: Store) -> None:
        """Store them, in this order."""
        answers: tuple[tuple[Answer | None, list[str] | None], ...] = (
            ("yes", self.yes),
            ("no", self.no),
            ("unclear", self.unclear),
            (None, self.undo),
        )
        for answer, events in answers:
            for event in events or ():
                store.answer(*_asked(store, event, answer))


def _asked(store: Store, name: str, answer: Answer | None) -> tuple[int, Answer | None, str | None]:
    """The number of an event or frame, the answer, and the label of a frame."""
    from ..cameras.memory.why import find_event

    frame = _FRAME.fullmatch(name)
    if frame:
        return int(frame[1]), answer, frame[2]
    return find_event(store, name).id, answer, None


def _question(row: Row, label: str) -> str:
    """An event or a frame to answer, as a line."""
    name = f"{row.event:.8}" if row.event else f"frame-{row.id}:{label}"
    asked = label if row.event else f"does it show {label}?"
    return f"{name}  {asked}  {row.camera}  {clock(row.time)}"


def precision(
    memory: Memory,
    *,
    target: float = Option(
        0.9,
        min=0.5,
        max=0.999,
        help="The share of events that are to be right, and of moments to be found.",
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
    """State the precision and recall that reviewed events and frames prove.

    For example: at 0.83, at least 90 % of events are right (95 % confidence,
    46 of 47 reviewed), and at most 10 % of the moments with it were missed.
    --html writes a page with the pictures of the next events and frames to
    answer, drawn at random: a selection of your own proves nothing.
    --export writes DIR/yes/LABEL/, DIR/no/LABEL/ and DIR/labels.csv, for
    [bold]teach[/bold], [bold]train[/bold] and [bold]eval[/bold], and DIR/answers.jsonl, for [bold]export-labels[/bold].

    \b
    [bold]Examples[/bold]
    pvlr precision --memory memory/ --html review.html
    pvlr precision --memory memory/ --yes 3f2a91c0 --yes 77c01b52 --no b81d4e09
    pvlr precision --memory memory/ --yes frame-7:person --no frame-9:person
    pvlr precision --memory memory/ --label person --target 0.95 --json
    pvlr precision --memory memory/ --export examples/
    """
    from ..cameras.memory.examples import export_answers
    from ..cameras.memory.precision import statement
    from ..cameras.memory.recall import recall, to_ask
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
    names = [label] if label else recorded
    statements = [
        (statement(store, name, target, camera), recall(store, name, target, camera))
        for name in names
    ]
    if html:
        questions = to_ask(store, target, label, camera=camera)
        pictures = (store.picture(row.id) for row, _ in questions)
        lines = [_question(row, name) for row, name in questions]
        write_gallery(html, "Events and frames to answer", zip(pictures, lines, strict=True))
    if export:
        note(f"{export_answers(store, export, label, camera)} examples in {export}")
    if as_json:
        print_json([{**asdict(proof), "recall": found.to_dict()} for proof, found in statements])
    else:
        # The recall of a label that nobody asked for would double the lines.
        print_lines(
            str(line)
            for proof, found in statements
            for line in ([proof, found] if label or found.answers else [proof])
        )
