"""Events on clips: the detector of pvlr watch, with its defaults, compared with what is visible, and when.

    python -m benchmarks.accuracy.clips --plan pvlr-lite0-open --data $PVLR_DATA

The clips are those of the YAML files in this folder. Every frame is tagged and has its time in the clip, so the results
do not depend on the speed of the machine. Takes a minute, with --tiles as many times longer as there are tiles.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from pvlr_sdk import Camera, Stream, Tagger, errors
from pvlr_sdk.cameras.events import Event, EventDetector
from pvlr_sdk.cameras.stream import Observation
from pvlr_sdk.result import TagResult

from ...common import Json, Table, conditions, run, save
from ..data import Data, Plan, Threads, check_outputs, data_folder
from .score import LAG, ClipScore, score
from .truth import FOLDER, Truth, read_truth

Tagged = Iterable[tuple[float, TagResult]]
"""Seconds from the first frame of a clip, and the result of that frame."""


def main(
    plan: Plan = None,
    data: Data = None,
    tiles: Annotated[str | None, typer.Option(help="Tiles of each frame, such as 3x2.")] = None,
    refresh: Annotated[
        float | None, typer.Option(help="Seconds for which still tiles keep their scores.")
    ] = None,
    threads: Threads = None,
    out: Json = None,
) -> None:
    """Compare the events of each clip with what is visible in it."""
    check_outputs(out)
    folder = data_folder(data)
    point = {"operating_point": "precise"}  # as `pvlr watch`
    with Tagger(plan, num_threads=threads, tiles=tiles, **point) as tagger:
        clips: dict[str, dict[str, Any]] = {}
        scores = []
        for name, truth in {
            path.stem: read_truth(path) for path in sorted(FOLDER.glob("*.yaml"))
        }.items():
            print(f"{name} ...", flush=True)
            measured, clips[name] = judge(
                tagger, name, tag_file(tagger, folder / truth.file, refresh), truth
            )
            scores.append(measured)
        model = {key: tagger.info[key] for key in ("name", "sha256", "precision")}
    how = {"lag": LAG, "tiles": tiles, "refresh": refresh}
    result = {"model": model, **how, "all": ClipScore.total(scores).to_dict(), "clips": clips}
    whole = table([result])
    Table(
        f"{whole.title}, {whole.rows[0][0]}", whole.columns[1:], [row[1:] for row in whole.rows]
    ).print(width=80)
    save(out, {**result, "conditions": conditions(threads)})


def judge(
    tagger: Tagger, name: str, frames: Tagged, truth: Truth
) -> tuple[ClipScore, dict[str, Any]]:
    """The score of a clip, and it as JSON values with its events.

    Raises:
        OptionError: the truth has an interval after the end of the clip.
    """
    events, seconds = detect(EventDetector(name, tagger.labels, tagger.thresholds), frames)
    known = set(tagger.labels)
    truth = Truth(
        truth.file, {a: b for a, b in truth.present.items() if a in known}, truth.optional
    )
    latest = max((b[-1].end for b in truth.present.values() if b), default=0.0)
    if latest > seconds + LAG:
        raise errors.OptionError(
            name,
            f"a clip of {latest:g} s, as in its intervals",
            f"{seconds:.1f} s",
            "The file is another one or damaged, or its intervals are wrong.",
        )
    measured, events_json = score(events, truth, seconds)
    return measured, {**measured.to_dict(), "events": events_json}


def detect(detector: EventDetector, frames: Tagged) -> tuple[list[Event], float]:
    """All events of a clip, with times in seconds from its first frame, and the time of its last frame."""
    events: list[Event] = []
    seconds = 0.0
    for seconds, result in frames:
        events += detector.update(seconds, seconds, result.scores, thresholds=result.thresholds)
    return [*events, *detector.close(seconds, "camera ended")], seconds


def tag_file(tagger: Tagger, path: Path, refresh: float | None = None) -> Tagged:
    """Every frame of a video, through the stream of ``pvlr watch --every-frame``. Raises SourceOpenError."""
    count = 0
    reason = ""
    with Stream(
        tagger, [Camera(path.stem, str(path), refresh=refresh)], every_frame=True
    ) as stream:
        for item in stream:
            if isinstance(item, Observation):
                count += 1
                yield item.frame.source_time or 0.0, item.result
            else:
                reason = item.reason
        stats = stream.stats()[path.stem]
    if refresh and stats.tiles:
        print(f"{path.stem}: {100 * stats.computed / stats.tiles:.0f} % of the tiles are computed")
    if not count:
        raise errors.SourceOpenError(str(path), "a video", reason, "Check --data.")


def table(reports: Iterable[dict[str, Any]]) -> Table:
    """A line per report and clip, and one per report for all its clips."""
    columns = [
        "Model",
        "Clip",
        "True",
        "False",
        "Repeats",
        "Precision",
        "Recall",
        "False/h",
        "False labels",
    ]
    cells = [
        [
            report["model"]["name"] + (f", {report['tiles']}" if report.get("tiles") else ""),
            name,
            *(str(row[key]) for key in ("intervals", "false", "repeated")),
            *(
                "-" if row[key] is None else f"{row[key]:.1f}"
                for key in ("precision", "recall", "false_per_hour")
            ),
            ", ".join(f"{label} {count}" for label, count in row["false_labels"].items()),
        ]
        for report in reports
        for name, row in {**report["clips"], "all": report["all"]}.items()
    ]
    return Table("Events on clips", columns, cells)


if __name__ == "__main__":
    run(main)
