"""``pvlr why`` and ``replay``: what a site remembers of its events; and what all commands about a memory share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from typer import Argument, Option

from .. import errors
from . import options

if TYPE_CHECKING:
    from ..cameras.events import Event
    from ..cameras.memory.reader import Reader
    from ..cameras.memory.replay import Change
    from ..cameras.memory.why import Explanation
    from ..cameras.site.config import SiteConfig

_FOLDER = "The folder of the memory: that of pvlr watch --memory DIR."
Memory = Annotated[Path, Option("--memory", "-m", metavar="DIR", help=_FOLDER)]
Html = Annotated[
    Path | None, Option("--html", metavar="FILE", help="Write a page with the pictures.")
]
_WIDTH = 72
_HEIGHT = 10
"""Of a curve, in characters."""
_NEAR = 10
"""Near misses that are printed."""


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
    if explanation.curve:
        print_lines(_chart(explanation))
    else:
        note(
            "no scores of this event are on the disk: a site writes those of each minute at its end"
        )
    print_lines(
        f"  near {clock(miss.start)}  {miss.label} {miss.peak:.2f} ({miss.threshold:.2f}): {miss.reason}"
        for miss in explanation.near[-_NEAR:]
    )
    if len(explanation.near) > _NEAR:
        note(f"the newest {_NEAR} of {len(explanation.near)} near misses; --json has all")


def _chart(explanation: Explanation) -> Iterator[str]:
    """The moving average over time, and both thresholds."""
    first = explanation.curve[0][0]
    span = max(explanation.curve[-1][0] - first, 1e-9)
    grid = [[" "] * _WIDTH for _ in range(_HEIGHT + 1)]
    for value, mark in ((explanation.lower, "."), (explanation.upper, "-")):
        grid[round(value * _HEIGHT)] = [mark] * _WIDTH
    for time, _, average in explanation.curve:
        column = int((time - first) / span * (_WIDTH - 1))
        grid[round(average * _HEIGHT)][min(_WIDTH - 1, max(0, column))] = "*"
    for level in range(_HEIGHT, -1, -1):
        yield f"  {level / _HEIGHT:.1f} {''.join(grid[level])}".rstrip()


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
    from ..cameras.memory.reader import Reader
    from ..cameras.memory.replay import SettingsFor, changes, events_of, inexact, recorded
    from ..cameras.site.config import load_config
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
    for place in _unrecorded(reader, site):
        note(f"no scores were recorded of {place}, so that it has no events here")
    after = events_of(reader, wanted)
    differences = changes(events_of(reader, before), after)
    count = len({event.id for event in after})
    lines = [_change_line(change) for change in differences]
    pictures = (_picture(reader, change.event) for change in differences)
    title = f"{len(differences)} changes by {config}"
    write_gallery(html, title, zip(pictures, lines, strict=True))
    if as_json:
        print_json({"events": count, "changes": [_change_row(change) for change in differences]})
    else:
        print_lines([*lines, f"{len(differences)} changes, {count} events"])


def _unrecorded(reader: Reader, site: SiteConfig) -> Iterator[str]:
    """The regions of recorded cameras that the site watches and the memory has no scores of."""
    from ..cameras.events import place_of
    from ..cameras.site.factory import tagged_regions

    places = reader.places()
    for camera in dict.fromkeys(place.camera for place in places):
        for region in tagged_regions(site.cameras[camera]) if camera in site.cameras else ():
            if (camera, region) not in places:
                yield place_of(camera, region)


def _picture(reader: Reader, event: Event) -> bytes | None:
    """The recorded picture nearest to the peak of an event."""
    number = reader.nearest(event.camera, event.peak_time)
    return None if number is None else reader.picture(number)


def _change_row(change: Change) -> dict[str, Any]:
    before = change.before and change.before.to_dict()
    return {"change": change.kind, **change.event.to_dict(), "before": before}


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
