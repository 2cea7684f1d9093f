"""False events and missed appearances of ``pvlr watch`` on labelled footage of fixed cameras.

    python -m benchmarks.accuracy.cameras $PVLR_DATA/sequences
    python -m benchmarks.accuracy.cameras benchmarks/accuracy/cameras/clips --tiles 3x2

Each sequence is the camera of a site with the defaults of ``pvlr watch``. Every frame is tagged and has its own time,
so the results do not depend on the speed of the machine. Ten sequences (1,330 frames) with 2 x 2 tiles take a minute.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pvlr_sdk import Tagger
from pvlr_sdk.cameras.site import SiteConfig
from pvlr_sdk.cameras.site.factory import make_tagger
from pvlr_sdk.cameras.site.yaml_file import read_yaml
from pvlr_sdk.frames.tiles import check_tiles
from pvlr_sdk.models.find import find_plan

from ...common import Json, conditions, run, save
from ..data import Plan, Threads, check_outputs
from .recording import Recorder
from .report import LEGEND, summary, tables
from .score import Score, score
from .sequences import Footage, check_labels, read_sequences


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of the sequences.", show_default=False)],
    plan: Plan = None,
    tiles: Annotated[
        str | None,
        typer.Option(help="Tiles of each frame, such as 2x2; 1x1: none. [default: auto]"),
    ] = None,
    operating_point: Annotated[
        str | None, typer.Option(help="Thresholds of the plan: precise, as pvlr watch, or f1.")
    ] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", "-l", help="Only this label; repeatable.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="Site file with other settings; its cameras are ignored.")
    ] = None,
    threads: Threads = None,
    out: Json = None,
) -> None:
    """Compare the events and tags of pvlr watch with what is visible in labelled footage."""
    check_outputs(out)
    check_tiles(tiles)
    settings = make_settings(
        config, plan=plan, operating_point=operating_point, labels=label, threads=threads
    )
    footage = read_sequences(folder)
    with make_tagger(settings) as tagger:
        if not label:
            check_labels(footage, tagger.labels)
        scores = {}
        for sequence in footage:
            print(f"{sequence.name} ...", flush=True)
            scores[sequence.name] = judge(settings, tagger, sequence, tiles)
        model = {key: tagger.info[key] for key in ("name", "sha256", "precision")}
    report = {
        "model": model,
        "operating_point": settings.operating_point,
        "tiles": tiles,
        "events": settings.events.model_dump(mode="json", exclude_defaults=True),
        **summary(footage, scores),
    }
    for table in tables(report):
        table.print(width=80)
    print(LEGEND)
    save(out, {**report, "conditions": conditions(threads)})


def make_settings(
    config: Path | None,
    *,
    plan: str | None = None,
    operating_point: str | None = None,
    labels: Sequence[str] | None = None,
    threads: int | None = None,
) -> SiteConfig:
    """The defaults of a site, or the settings of a site file, with the options instead; it has no cameras.

    Raises:
        ConfigError, MissingPartError: the file or an option is invalid.
        BundleError: there is no such plan.
    """
    raw = read_yaml(config) if config else {}
    source = str(config or "options")
    folder = config.parent if config else None
    SiteConfig.parse(raw, source=source, folder=folder)
    options = {
        "plan": plan and str(find_plan(plan).absolute()),
        "operating_point": operating_point,
        "threads": threads,
    }
    raw |= {key: value for key, value in options.items() if value is not None}
    raw |= {"cameras": {}, "sinks": [], "memory": None, "health": False}
    raw["stream"] = {**(raw.get("stream") or {}), "every_frame": True}
    if labels:
        raw["events"] = {**(raw.get("events") or {}), "labels": list(labels)}
    return SiteConfig.parse(raw, source=source, folder=folder)


def judge(settings: SiteConfig, tagger: Tagger, footage: Footage, tiles: str | None) -> Score:
    """The score of a sequence with these settings.

    Raises:
        SourceOpenError, LabelsFileError: its frames cannot be read, or its labels do not fit them.
        UnknownLabelError, OptionError: a setting does not fit the plan.
    """
    camera = {"uri": str(footage.uri.absolute()), **({"tiles": tiles} if tiles else {})}
    cameras = SiteConfig.parse({"cameras": {"camera": camera}}, source=footage.name).cameras
    recorder = Recorder(settings.model_copy(update={"cameras": cameras}), tagger)
    times, tags, spans = recorder.run()
    truth = footage.annotation.values(times, recorder.labels)
    return score(footage.name, recorder.labels, times, truth, tags, spans)


if __name__ == "__main__":
    run(main)
