"""``pvlr batch``: tags of an archive, as a Parquet dataset."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from typer import Argument, Option

from ..errors import OptionError, check_choice
from . import options
from .xmp import write

if TYPE_CHECKING:
    from ..batch import Summary

_ENGINES = ("local", "ray")
_ray = partial(Option, rich_help_panel="Ray")
_machine = partial(Option, rich_help_panel="Machine")


def batch(
    source: str = Argument(
        ..., metavar="IN", help="A folder, pattern, Parquet file or tar; a path or URL."
    ),
    out: str = Option(
        ..., "--out", "-o", metavar="OUT", help="Folder of the dataset; a path or URL."
    ),
    plan: options.PlanOption = None,
    words: options.Words = None,
    bank: options.Bank = None,
    threshold: options.TagThreshold = None,
    operating_point: options.Point = "f1",
    top_k: options.TopK = None,
    tiles: options.Tiles = None,
    scores: bool = Option(False, "--scores", help="Write the scores of all labels too."),
    xmp: bool = Option(
        False, "--xmp", help="Also write the tags next to local photos (see pvlr xmp)."
    ),
    fast_jpeg: options.FastJpeg = False,
    isolate: options.Isolate = False,
    exclude: list[str] | None = Option(
        None, metavar="GLOB", help="Exclude paths, names or folders; repeatable."
    ),
    only_new: bool = Option(
        False, "--only-new", help="In changed folders, tag only images that have no row yet."
    ),
    retry_failed: bool = Option(False, "--retry-failed", help="Tag the rows with an error again."),
    id_column: str = Option("id", metavar="NAME", help="Column of ids in Parquet files."),
    image_column: str | None = Option(
        None,
        metavar="NAME",
        help="Column of URLs, paths or encoded bytes in Parquet files.",
        show_default="bytes, image, uri, url or path",
    ),
    shard_size: int = Option(
        500, metavar="N", min=1, help="Images of a folder per output file, on average."
    ),
    engine: str = Option(
        "local", help="local (this machine) or ray.", autocompletion=options.words(*_ENGINES)
    ),
    address: str | None = _ray(
        None, help="Address of the cluster.", show_default="$RAY_ADDRESS, else this machine"
    ),
    workers: int | None = _ray(
        None, metavar="N", min=1, help="Workers.", show_default="all CPUs or GPUs"
    ),
    device: options.Device = "auto",
    threads: options.Threads = None,
    memory: int | None = _machine(
        None,
        metavar="MB",
        min=64,
        help="Memory to read images ahead, per worker.",
        show_default="a quarter",
    ),
    precision: options.Precision = None,
    allow_unsigned: options.AllowUnsigned = False,  # sets the environment variable
    as_json: options.Json = False,
) -> None:
    """Tag an archive into a Parquet dataset, on this machine or on a Ray cluster.

    Writes one file per shard: some images of a folder, a Parquet file or a tar.
    Files appear only when they are complete, so the same command continues an
    interrupted run, with either engine. A failed image is a row with its error,
    and the exit status is 2. Needs the extra \\[batch].

    \b
    [bold]Examples[/bold]
    pvlr batch photos/ --out tags/
    pvlr batch photos/ --out tags/ --exclude thumbs --only-new
    pvlr batch 'shards/*.tar' --out tags/ --scores --json
    pvlr batch s3://bucket/photos --out s3://bucket/tags --engine ray
    """
    from ..batch.columns import Columns
    from ..batch.job import Job, here
    from ..batch.on_ray import on_ray
    from ..batch.shards import Input
    from ..frames.tiles import check_tiles
    from ..workshop.export.xmp import lxml_module
    from .screen import Screen, note

    check_choice("--engine", engine, _ENGINES)
    if xmp:
        lxml_module()
        if "://" in out:
            raise OptionError(
                "--xmp",
                "a local folder as --out",
                out,
                "Write the dataset to a folder of this machine, or copy it here and run pvlr xmp.",
            )
    # the default keeps a dataset's key
    point = {} if operating_point == "f1" else {"operating_point": operating_point}
    job = Job(
        Input(source, tuple(exclude or ()), shard_size, Columns(id_column, image_column)),
        out,
        plan,
        scores,
        only_new,
        retry_failed,
        {
            "words": options.split_words(words),
            "bank": bank and str(bank.absolute()),
            "threshold": threshold,
            "top_k": top_k,
            "tiles": check_tiles(tiles),
            "reduced_jpeg": fast_jpeg,
            "precision": precision,
            **point,
        },
        {
            "device": device,
            "isolate": isolate,
            "num_threads": threads,
            "memory": memory and memory << 20,
        },
    )
    chosen = on_ray(address, workers=workers, threads=threads or 1) if engine == "ray" else here
    # The shards are counted for the progress bar only, which a terminal shows.
    with Screen(job.count() if sys.stderr.isatty() else 0, "Tagging", "shards") as screen:
        try:
            with _logs_on_stderr() if engine == "ray" else nullcontext():
                summary = job.run(chosen, lambda _: screen.step())
        except KeyboardInterrupt:
            note("interrupted: each file in the dataset is complete; the same command continues.")
            raise typer.Exit(130) from None
    _show(summary, as_json)
    failed = bool(summary.failed or summary.unreadable)
    if xmp:
        from ..workshop.export.results import dataset_rows

        # a row may name any file
        images_found = {name for shard in job.input.shards(lambda _: None) for name in shard.images}
        rows = dataset_rows(Path(summary.dataset))
        failed |= (
            write((name, scores) for name, scores in rows if name in images_found)["failed"] > 0
        )
    if failed:
        raise typer.Exit(2)


@contextmanager
def _logs_on_stderr() -> Iterator[None]:
    """Ray writes to stdout, also from C++."""
    sys.stdout.flush()
    stdout = os.dup(1)
    os.dup2(2, 1)
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        os.dup2(stdout, 1)
        os.close(stdout)


def _show(summary: Summary, as_json: bool) -> None:
    from .screen import complain, note, print_facts, print_json

    for error in summary.unreadable.values():
        complain(error)
    for name, error in summary.examples.items():
        note(
            f"{type(error).__name__}: {name}: expected {error.expected}, got {error.got}. {error.hint}"
        )
    if summary.failed:
        note(
            "the column error of the dataset names all failed images; --retry-failed tags them again."
        )
    numbers = summary.to_dict()
    if as_json:
        print_json(numbers)
        return
    failed = ", ".join(f"{count} {name}" for name, count in numbers["failed"].items())
    rows = [
        ("images", f"{summary.images}, {numbers['images_per_second']} per second"),
        ("failed", failed or 0),
        ("shards", f"{summary.shards}, and {summary.present} that had results"),
        ("unreadable", len(summary.unreadable) or None),
        ("core hours", numbers["core_hours"]),
    ]
    print_facts(summary.dataset, rows)
