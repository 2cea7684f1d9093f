"""``pvlr batch``: tags of an archive, as a Parquet dataset."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from ..errors import OptionError, check_choice
from . import option_groups, options
from .xmp import write

if TYPE_CHECKING:
    from ..batch import Summary
    from ..batch.job import Engine
    from ..batch.shards import Input

_ENGINES = ("local", "ray")
_ray = partial(Option, rich_help_panel="Ray")


@dataclass(frozen=True)
class Selection:
    """Which images of an archive are tagged, and how they become shards."""

    exclude: Annotated[
        list[str] | None,
        Option(metavar="GLOB", help="Exclude paths, names or folders; repeatable."),
    ] = None
    only_new: Annotated[
        bool,
        Option("--only-new", help="In changed folders, tag only images that have no row yet."),
    ] = False
    retry_failed: Annotated[
        bool, Option("--retry-failed", help="Tag the rows with an error again.")
    ] = False
    id_column: Annotated[str, Option(metavar="NAME", help="Column of ids in Parquet files.")] = "id"
    image_column: Annotated[
        str | None,
        Option(
            metavar="NAME",
            help="Column of URLs, paths or encoded bytes in Parquet files.",
            show_default="bytes, image, uri, url or path",
        ),
    ] = None
    shard_size: Annotated[
        int,
        Option(metavar="N", min=1, help="Images of a folder per output file, on average."),
    ] = 500


@dataclass(frozen=True)
class Cluster:
    """What runs the workers."""

    engine: Annotated[
        str,
        Option(help="local (this machine) or ray.", autocompletion=options.words(*_ENGINES)),
    ] = "local"
    address: Annotated[
        str | None,
        _ray(help="Address of the cluster.", show_default="$RAY_ADDRESS, else this machine"),
    ] = None
    workers: Annotated[
        int | None,
        _ray(metavar="N", min=1, help="Workers.", show_default="all CPUs or GPUs"),
    ] = None


def batch(
    source: str = Argument(
        ..., metavar="IN", help="A folder, pattern, Parquet file or tar; a path or URL."
    ),
    out: str = Option(
        ..., "--out", "-o", metavar="OUT", help="Folder of the dataset; a path or URL."
    ),
    *,
    model: option_groups.Model,
    tagging: option_groups.Tagging,
    scores: bool = Option(False, "--scores", help="Write the scores of all labels too."),
    spans: bool = Option(
        False, "--spans", help="Also tag local videos, by spans of their labels (see pvlr tag)."
    ),
    xmp: bool = Option(
        False, "--xmp", help="Also write the tags next to local photos (see pvlr xmp)."
    ),
    parents: options.Parents = False,
    naming: option_groups.Naming,
    selection: Selection,
    cluster: Cluster,
    machine: option_groups.Machine,
    read_ahead: int | None = options.machine(
        None,
        "--read-ahead",
        metavar="MB",
        min=64,
        help="Memory to read images ahead, per worker.",
        show_default="a quarter",
    ),
    memory: int | None = Option(None, "--memory", min=64, hidden=True),
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
    pvlr batch films/ --out tags/ --spans --xmp
    pvlr batch 'shards/*.tar' --out tags/ --scores --json
    pvlr batch s3://bucket/photos --out s3://bucket/tags --engine ray
    """
    from ..batch.columns import Columns
    from ..batch.job import Job, here
    from ..batch.on_ray import on_ray
    from ..batch.shards import Input
    from ..cameras.stream.video import tag_video
    from ..workshop.export.xmp import lxml_module
    from .screen import Screen, note

    check_choice("--engine", cluster.engine, _ENGINES)
    if memory is not None:
        note("--memory of pvlr batch is --read-ahead now; 0.4 removes the old name")
        read_ahead = read_ahead or memory
    if xmp:
        lxml_module()
        if "://" in out:
            raise OptionError(
                "--xmp",
                "a local folder as --out",
                out,
                "Write the dataset to a folder of this machine, or copy it here and run pvlr xmp.",
            )
    tree = naming.tree()
    columns = Columns(selection.id_column, selection.image_column)
    job = Job(
        Input(source, tuple(selection.exclude or ()), selection.shard_size, columns),
        out,
        model.plan,
        scores,
        selection.only_new,
        selection.retry_failed,
        _settings(model, tagging, machine, parents and (naming.names or True)),
        {
            "device": machine.device,
            "isolate": tagging.isolate,
            "num_threads": machine.threads,
            "memory": read_ahead and read_ahead << 20,
        },
        tag_video if spans else None,
    )
    on_cluster = cluster.engine == "ray"
    run: Engine = here
    if on_cluster:
        run = on_ray(cluster.address, workers=cluster.workers, threads=machine.threads or 1)
    # The shards are counted for the progress bar only, which a terminal shows.
    with Screen(job.count() if sys.stderr.isatty() else 0, "Tagging", "shards") as screen:
        try:
            with _logs_on_stderr() if on_cluster else nullcontext():
                summary = job.run(run, lambda _: screen.step())
        except KeyboardInterrupt:
            note("interrupted: each file in the dataset is complete; the same command continues.")
            raise typer.Exit(130) from None
    _show(summary, as_json)
    failed = bool(summary.failed or summary.unreadable)
    if xmp:
        failed |= _write_xmp(summary, job.input, tree=tree, language=naming.language or "")
    if failed:
        raise typer.Exit(2)


def _settings(
    model: option_groups.Model,
    tagging: option_groups.Tagging,
    machine: option_groups.Machine,
    parents: Path | bool,
) -> dict[str, Any]:
    """What decides the tags of an image, and is part of a dataset's key."""
    from ..frames.tiles import check_tiles

    settings: dict[str, Any] = {
        "words": model.words_list,
        "bank": model.bank and str(model.bank.absolute()),
        "threshold": tagging.threshold,
        "top_k": tagging.top_k,
        "tiles": check_tiles(tagging.tiles),
        "reduced_jpeg": tagging.fast_jpeg,
        "precision": machine.precision,
    }
    if tagging.operating_point != "f1":  # the default keeps a dataset's key
        settings["operating_point"] = tagging.operating_point
    if parents:
        settings["parents"] = parents if parents is True else str(parents.absolute())
    return settings


def _write_xmp(summary: Summary, archive: Input, **how: Any) -> bool:
    """Write the tags of a dataset next to the photos of its input, and whether that failed for some."""
    from ..workshop.export.results import dataset_rows

    shards = archive.shards(lambda _: None)
    photos = {name for shard in shards for name in shard.images}  # a row may name any file
    rows = dataset_rows(Path(summary.dataset))
    results = ((name, scores) for name, scores in rows if name in photos)
    return write(results, **how)["failed"] > 0


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
