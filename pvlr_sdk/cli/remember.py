"""``pvlr search``, ``why`` and ``replay``: what a site remembers of its events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from .. import errors
from . import options

if TYPE_CHECKING:
    from ..cameras.events import Event
    from ..cameras.memory.replay import Change

_FOLDER = "The folder of the memory: that of pvlr watch --memory DIR."
Memory = Annotated[Path, Option("--memory", "-m", metavar="DIR", help=_FOLDER)]
Time = datetime | None
Html = Annotated[
    Path | None, Option("--html", metavar="FILE", help="Write a page with the pictures.")
]
_WIDTH = 72
_HEIGHT = 10
"""Of a curve, in characters."""
_NEAR = 10
"""Near misses that are printed."""


def search(
    memory: Memory,
    words: str | None = Argument(
        None, metavar="[WORDS]", help="A word, a phrase or a label.", show_default=False
    ),
    like: Path | None = Option(
        None, metavar="PICTURE", help="What resembles this picture, instead of words."
    ),
    plan: options.PlanOption = None,
    bank: options.Bank = None,
    camera: str | None = Option(None, metavar="CAMERA", help="Only this camera."),
    label: str | None = Option(
        None, "--label", "-l", metavar="LABEL", help="Only events of this label."
    ),
    since: Time = Option(
        None, metavar="TIME", help="From this time on: 2026-01-31, or 2026-01-31T12:00:00."
    ),
    until: Time = Option(None, metavar="TIME", help="Up to this time."),
    limit: int = Option(20, "--limit", "-n", min=1, max=10_000, help="Show at most so many."),
    html: Html = None,
    delete: bool = Option(
        False, "--delete", help="Delete all of this camera, label and time, instead of a search."
    ),
    as_json: options.Json = False,
) -> None:
    """Search the remembered events and frames, the best first.

    A label that was recorded is searched by its recorded scores, a taught label
    of --bank and all other words by the image features. The grade of a word
    says how far to trust it, see [bold]pvlr words[/bold]. Without words: the
    newest.

    --delete overwrites on the disk, also while a site records. Of a label, it
    deletes the events and the scores; other pictures may still show it.

    \b
    [bold]Examples[/bold]
    pvlr search "golden retriever" --memory memory/
    pvlr search car --memory memory/ --camera door --since 2026-01-31 --json
    pvlr search "my mug" --memory memory/ --bank bank.safetensors --html mugs.html
    pvlr search --like cat.jpg --memory memory/
    pvlr search --memory memory/ --until 2026-01-31 --delete
    """
    import numpy as np

    from .._util.validation import few
    from ..cameras.events import rfc3339
    from ..cameras.memory import search as find
    from ..cameras.memory.store import Store
    from ..result.tags import sigmoid
    from .screen import note, print_json

    first = datetime(1970, 1, 2)  # earlier times have no timestamp in each time zone
    times = [None if time is None else max(time, first).timestamp() for time in (since, until)]
    store = Store(memory)
    if delete:
        if words or like or not any((camera, label, *times)):
            raise errors.OptionError(
                "--delete",
                "--camera, --label, --since or --until",
                "words or a picture" if words or like else "none of them",
                "To delete everything, delete the folder.",
            )
        print(f"{store.delete(camera, label, *times)} events and frames deleted")
        return
    if words and like:
        raise errors.OptionError(
            "--like", "a picture instead of words", "both", "Search for one of them."
        )
    only = find.chosen(camera, label, *times)
    if (
        words in {name for context in store.contexts().values() for name in context.names}
        and bank is None
    ):
        ranked: Sequence[tuple[Any, float | None]] = find.by_label(store, words or "", only, limit)
    elif words is None and like is None:
        newest = f"id IN (SELECT id FROM moments WHERE {only[0]} ORDER BY id DESC LIMIT {limit})"
        ranked = [
            (row, None)
            for row in sorted(store.rows(newest, only[1]), key=lambda row: -(row.time or 0))
        ]
    else:
        ranked = find.by_features(store, *_function(words, like, plan, bank), only, limit)
    if like is None:
        ranked = [
            (row, score if score is None else float(sigmoid(np.array(score))))
            for row, score in ranked
        ]
    lines = ["  ".join(filter(None, [clock(row.time), None if score is None else f"{score:.2f}", row.camera,
             row.region, row.label or row.kind, row.event and row.event[:8]])) for row, score in ranked]  # fmt: skip
    if not lines:
        cameras = [
            name for (name,) in store.query("SELECT DISTINCT camera FROM moments ORDER BY camera")
        ]
        note(f"nothing found; recorded cameras: {few(cameras) or 'none'}")
    pictures = (store.picture(row.id) for row, _ in ranked)
    write_gallery(html, words or str(like or "Newest"), zip(pictures, lines, strict=True))
    if as_json:
        print_json([{"event": row.event, "kind": row.kind, "score": score, "camera": row.camera,
                     "region": row.region, "label": row.label, "time": rfc3339(row.time)}
                    for row, score in ranked])  # fmt: skip
    else:
        print_lines(lines)


def _function(
    words: str | None, like: Path | None, plan: Path | None, bank: Path | None
) -> tuple[str, Any]:
    """What is searched: the name of the features, and a function of them."""
    from ..labels import Knowledge, LabelBank
    from ..labels.edit import LinearFunction, taught_function
    from ..tagger import Tagger

    if like is not None:
        with Tagger(plan) as tagger:
            features = tagger.predict(like).features
            space = tagger.info["features"]
        if features is None:
            raise errors.OptionError(
                "--plan", "an open plan", str(plan), "pvlr models lists open plans."
            )
        return space, LinearFunction(features.astype(float), 0.0)
    assert words is not None, "one of the two"
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


def why(
    memory: Memory,
    event: str = Argument(..., metavar="EVENT", help="The id of an event, its beginning, or last."),
    as_json: options.Json = False,
) -> None:
    """Show why an event was reported, and what came close in the day before.

    Shows the moving average of the score with both thresholds, when and why the
    event began and ended, other labels at its peak, and the near misses.

    \b
    [bold]Examples[/bold]
    pvlr why last --memory memory/
    pvlr why 3f2a91c0 --memory memory/ --json
    """
    from ..cameras.memory.reader import Reader
    from ..cameras.memory.why import explain, find_event
    from .screen import note, print_facts, print_json

    reader = Reader(memory)
    row = find_event(reader, event)
    explanation = explain(reader, row)
    on = row.began
    assert on is not None, "a row of an event"
    if as_json:
        hashes = {"plan": row.context.plan, "bank": row.context.bank}
        print_json(
            {
                **asdict(explanation),
                "near": [miss._asdict() for miss in explanation.near],
                "event": on.to_dict(),
                **hashes,
            }
        )
        return
    facts = [
        ("began", f"{clock(on.start)}, reported {clock(on.time)}: {explanation.began}"),
        ("ended", f"{clock(row.end)}  {explanation.ended}"),
        (
            "others",
            ", ".join(
                f"{name} {score:.2f} ({upper:.2f})" for name, score, upper in explanation.others
            ),
        ),
        ("plan", f"{row.context.plan[:12]}, label bank {row.context.bank[:12]}"),
    ]
    print_facts(" ".join(filter(None, [on.camera, on.region, on.label, on.id])), facts)
    grid = [[" "] * _WIDTH for _ in range(_HEIGHT + 1)]
    for value, mark in ((explanation.lower, "."), (explanation.upper, "-")):
        grid[round(value * _HEIGHT)] = [mark] * _WIDTH
    for time, _, average in explanation.curve:
        span = max(explanation.curve[-1][0] - explanation.curve[0][0], 1e-9)
        column = int((time - explanation.curve[0][0]) / span * (_WIDTH - 1))
        grid[round(average * _HEIGHT)][min(_WIDTH - 1, max(0, column))] = "*"
    print_lines(
        f"  {level / _HEIGHT:.1f} {''.join(grid[level])}".rstrip()
        for level in range(_HEIGHT, -1, -1)
    )
    print_lines(
        f"  near {clock(miss.start)}  {miss.label} {miss.peak:.2f} ({miss.threshold:.2f}): {miss.reason}"
        for miss in explanation.near[-_NEAR:]
    )
    if len(explanation.near) > _NEAR:
        note(f"the newest {_NEAR} of {len(explanation.near)} near misses; --json has all")


def replay(
    clip: Path | None = Argument(
        None, metavar="[CLIP]", help="A video, instead of a memory.", show_default=False
    ),
    memory: Path | None = Option(None, "--memory", "-m", metavar="DIR", help=_FOLDER),
    config: Path = Option(..., "--config", "-c", metavar="SITE.yaml", help="The other settings."),
    against: Path | None = Option(
        None,
        metavar="SITE.yaml",
        help="Compare with these settings.",
        show_default="the recorded settings",
    ),
    html: Html = None,
    as_json: options.Json = False,
) -> None:
    """Show which events other settings would have given: new, gone, longer, shorter.

    Thresholds, durations and labels of the site file, also of its regions, apply
    to the recorded scores. The scores of a clip are computed once for each plan,
    and kept; it stands for the camera that is named like it, else for the first.

    \b
    [bold]Examples[/bold]
    pvlr replay --memory memory/ --config new.yaml --html diff.html
    pvlr replay --memory memory/ --config new.yaml --against old.yaml --json
    pvlr replay clip.mp4 --config new.yaml --json
    """
    from ..cameras.events import place_of
    from ..cameras.memory.reader import Reader
    from ..cameras.memory.replay import SettingsFor, changes, events_of, inexact, recorded
    from ..cameras.site.config import load_config
    from ..cameras.site.factory import tagged_regions
    from ..cameras.site.footage import proven_in, record, settings_of
    from .screen import note, print_json

    if (clip is None) == (memory is None):
        raise errors.OptionError(
            "CLIP",
            "a clip or --memory",
            "both" if clip else "neither",
            "For example pvlr replay --memory memory/ --config new.yaml.",
        )
    site = load_config(config)
    reader = Reader(record(clip, site) if clip else memory or Path())
    wanted = settings_of(site, proven_in(reader, site))
    before: SettingsFor = recorded
    if against:
        site_before = load_config(against)
        before = settings_of(site_before, proven_in(reader, site_before))
    for reason in inexact(reader.recorded(), wanted):
        note(f"not exact: {reason}")
    places = reader.places()
    for camera in dict.fromkeys(place.camera for place in places):
        for region in tagged_regions(site.cameras[camera]) if camera in site.cameras else ():
            if (camera, region) not in places:
                note(
                    f"no scores were recorded of {place_of(camera, region)}, so that it has no events here"
                )
    after = events_of(reader, wanted)
    differences = changes(events_of(reader, before), after)
    count = len({event.id for event in after})
    lines = [_change_line(change) for change in differences]
    nearest = (
        reader.nearest(change.event.camera, change.event.peak_time) for change in differences
    )
    pictures = (None if number is None else reader.picture(number) for number in nearest)
    write_gallery(
        html, f"{len(differences)} changes by {config}", zip(pictures, lines, strict=True)
    )
    if as_json:
        rows = [
            {
                "change": change.kind,
                **change.event.to_dict(),
                "before": change.before and change.before.to_dict(),
            }
            for change in differences
        ]
        print_json({"events": count, "changes": rows})
    else:
        print_lines([*lines, f"{len(differences)} changes, {count} events"])


def _change_line(change: Change) -> str:
    from ..cameras.events import place_of

    event = change.event
    place = place_of(event.camera, event.region)
    spans = f"{_seconds(change.before)} -> {_seconds(change.after)}"
    return f"{change.kind:<7}  {clock(event.start)}  {spans}  {place}  {event.label}"


def write_gallery(
    path: Path | None, title: str, pictures: Iterable[tuple[bytes | None, str]]
) -> None:
    from .._util.files import write_files
    from ..labels.page import gallery

    if path is not None:
        write_files({path: gallery(title, pictures).encode()})


def print_lines(lines: Iterable[str]) -> None:
    from .._util.escape import terminal

    for line in lines:
        print(terminal(line))


def clock(seconds: float | None) -> str:
    return (
        ""
        if seconds is None
        else datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S.%f")[:-4]
    )


def _seconds(event: Event | None) -> str:
    if event is None or event.end is None:
        return f"{'on' if event else 'none':>9}"
    return f"{event.end - event.start:7.2f} s"
