"""``pvlr search``: remembered events and frames by words, or by their likeness to a picture."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from typer import Argument, BadParameter, Option

from .. import errors
from . import options
from .remember import Html, Memory, clock, print_lines, write_gallery

if TYPE_CHECKING:
    from ..cameras.memory.reader import Row
    from ..cameras.memory.search import Condition
    from ..cameras.memory.store import Store
    from ..labels.edit import LinearFunction

    Ranked: TypeAlias = tuple[Row, float | None]
    """An event or a frame, and its score."""


def _time(text: str) -> datetime:
    """A time with an offset, or else of this machine's time zone."""
    try:
        return datetime.fromisoformat(re.sub("[Zz]$", "+00:00", text))
    except ValueError:
        raise BadParameter(f"{text!r} is no time such as 2026-01-31T12:00:00Z") from None


def _timestamp(time: datetime | None) -> float | None:
    if time is None:
        return None
    first = datetime(1970, 1, 2, tzinfo=time.tzinfo)  # earlier times have no timestamp everywhere
    return max(time, first).timestamp()


@dataclass(frozen=True)
class Selection:
    """The remembered events and frames of a camera, a label and a time."""

    camera: Annotated[str | None, Option(metavar="CAMERA", help="Only this camera.")] = None
    label: Annotated[
        str | None, Option("--label", "-l", metavar="LABEL", help="Only events of this label.")
    ] = None
    since: Annotated[
        datetime | None,
        Option(
            metavar="TIME",
            help="From this time on: 2026-01-31, 2026-01-31T12:00:00 or 2026-01-31T12:00:00Z.",
            parser=_time,
        ),
    ] = None
    until: Annotated[
        datetime | None, Option(metavar="TIME", help="Up to this time.", parser=_time)
    ] = None

    def values(self) -> tuple[str | None, str | None, float | None, float | None]:
        """Camera and label, and both times in seconds since the epoch."""
        return self.camera, self.label, _timestamp(self.since), _timestamp(self.until)


def search(
    memory: Memory,
    words: str | None = Argument(
        None, metavar="[WORDS]", help="A word, a phrase or a label.", show_default=False
    ),
    *,
    like: Path | None = Option(
        None, metavar="PICTURE", help="What resembles this picture, instead of words."
    ),
    plan: options.PlanOption = None,
    bank: options.Bank = None,
    names: options.Names = None,
    selection: Selection,
    limit: int = Option(20, "--limit", "-n", min=1, max=10_000, help="Show at most so many."),
    html: Html = None,
    delete: bool = Option(
        False, "--delete", help="Delete all of this camera, label and time, instead of a search."
    ),
    as_json: options.Json = False,
) -> None:
    """Search the remembered events and frames, the best first.

    A label that was recorded is searched by its recorded scores, also by a
    synonym ("automobile"), by what it is a kind of ("animal"), and by a name
    of --names. A taught label of --bank and all other words are searched by the
    image features. The grade of a word says how far to trust it, see
    [bold]pvlr words[/bold]. Without words: the newest.

    --delete overwrites on the disk, also while a site records. Of a label, it
    deletes the events and the scores; other pictures may still show it.

    \b
    [bold]Examples[/bold]
    pvlr search "golden retriever" --memory memory/
    pvlr search animal --memory memory/
    pvlr search car --memory memory/ --camera door --since 2026-01-31 --json
    pvlr search "my mug" --memory memory/ --bank bank.safetensors --html mugs.html
    pvlr search --like cat.jpg --memory memory/
    pvlr search --memory memory/ --until 2026-01-31 --delete
    """
    from ..cameras.memory.search import chosen
    from ..cameras.memory.store import Store
    from .screen import print_json

    store = Store(memory)
    if delete:
        _check_deletion(words, like, selection)
        print(f"{store.delete(*selection.values())} events and frames deleted")
        return
    if words and like:
        raise errors.OptionError(
            "--like", "a picture instead of words", "both", "Search for one of them."
        )
    only = chosen(*selection.values())
    if words is None and like is None:
        ranked = _newest(store, only, limit)
    else:
        ranked = _best(store, words, like, plan, bank, names, only, limit)
    lines = [_moment_line(row, score) for row, score in ranked]
    if not lines:
        _note_cameras(store)
    pictures = (store.picture(row.id) for row, _ in ranked)
    write_gallery(html, words or str(like or "Newest"), zip(pictures, lines, strict=True))
    if not as_json:
        print_lines(lines)
        return
    print_json([_moment(row, score) for row, score in ranked])


def _check_deletion(words: str | None, like: Path | None, selection: Selection) -> None:
    """Raises OptionError unless a selection, and nothing else, says what to delete."""
    if words or like or not any(selection.values()):
        raise errors.OptionError(
            "--delete",
            "--camera, --label, --since or --until",
            "words or a picture" if words or like else "none of them",
            "To delete everything, delete the folder.",
        )


def _newest(store: Store, only: Condition, limit: int) -> list[Ranked]:
    """The frames recorded last, the newest first."""
    newest = f"id IN (SELECT id FROM moments WHERE {only[0]} ORDER BY id DESC LIMIT {limit})"
    rows = sorted(store.rows(newest, only[1]), key=lambda row: -(row.time or 0))
    return [(row, None) for row in rows]


def _best(
    store: Store,
    words: str | None,
    like: Path | None,
    plan: Path | None,
    bank: Path | None,
    names: Path | None,
    only: Condition,
    limit: int,
) -> list[Ranked]:
    """The frames with the highest scores of a label or words (0 to 1), or most like a picture (cosine, -1 to 1)."""
    import numpy as np

    from ..cameras.memory.search import by_features, by_label, recorded_labels
    from ..labels.tree import LabelTree
    from ..result.tags import sigmoid

    if like is not None:
        space, function = _features_of(like, plan)
        ranked = by_features(store, space, function, only, limit)
        return [(row, min(cosine, 1.0)) for row, cosine in ranked]  # rounding may exceed 1
    assert words is not None, "one of the two"
    labels = LabelTree.load(names).matching(words, recorded_labels(store)) if bank is None else ()
    if labels:
        ranked = by_label(store, labels, only, limit)
    else:
        ranked = by_features(store, *_function_of(words, plan, bank), only, limit)
    return [(row, float(sigmoid(np.array(logit)))) for row, logit in ranked]


def _moment_line(row: Row, score: float | None) -> str:
    cells = (
        clock(row.time),
        None if score is None else f"{score:.2f}",
        row.camera,
        row.region,
        row.label or row.kind,
        row.event and row.event[:8],
    )
    return "  ".join(filter(None, cells))


def _moment(row: Row, score: float | None) -> dict[str, Any]:
    from ..cameras.events import rfc3339

    assert row.time is not None, "what has no time is not searched"
    return {
        "event": row.event,
        "kind": row.kind,
        "score": score,
        "camera": row.camera,
        "region": row.region,
        "label": row.label,
        "time": rfc3339(row.time),
    }


def _note_cameras(store: Store) -> None:
    """Say that nothing was found, and of which cameras there is something."""
    from .._util.validation import few
    from .screen import note

    rows = store.query("SELECT DISTINCT camera FROM moments ORDER BY camera")
    note(f"nothing found; recorded cameras: {few([name for (name,) in rows]) or 'none'}")


def _features_of(picture: Path, plan: Path | None) -> tuple[str, LinearFunction]:
    """The name of the features, and the likeness to a picture as a function of them."""
    from ..labels.edit import LinearFunction
    from ..tagger import Tagger

    with Tagger(plan) as tagger:
        features = tagger.predict(picture).features
        if features is None:
            raise errors.OptionError(
                "--plan", "an open plan", str(plan), "pvlr models lists open plans."
            )
        return tagger.info["features"], LinearFunction(features.astype(float), 0.0)


def _function_of(words: str, plan: Path | None, bank: Path | None) -> tuple[str, LinearFunction]:
    """The name of the features, and the logit of words as a function of them."""
    from ..labels import Knowledge, LabelBank
    from ..labels.edit import taught_function

    label_bank = LabelBank.load(bank) if bank else Knowledge.load(plan).bank([words], force=True)
    function = taught_function(label_bank, words)
    if function is None:
        raise errors.OptionError(
            "--bank",
            f"a bank that was taught {words!r}",
            str(bank),
            "Labels that were recorded are searched without --bank.",
        )
    return label_bank.text["features"], function
