"""``pvlr report``: an HTML page about trained runs."""

from __future__ import annotations

from pathlib import Path

from typer import Argument, Option

from . import options
from .commands import training_module


def report(
    runs: list[Path] = Argument(..., metavar="RUN", help="Folders that `pvlr train` wrote."),
    out: Path = Option(Path("report.html"), "--out", "-o", metavar="HTML", help="The page to write."),
    images: Path | None = Option(None, metavar="DIR", help="Folder of the images to measure on; needs --labels."),
    labels: Path | None = Option(None, metavar="CSV", help="Labels of each image; needs --images."),
    split: str | None = Option(
        None, metavar="NAME", help="Measure on this split, of the CSV or of the run's own data."
    ),
    mistakes: int = Option(12, metavar="N", help="Images to show per kind of mistake; 0 shows no images."),
    as_json: options.Json = False,
) -> None:
    """Write an HTML report about trained runs.

    Shows accuracy per label, precision-recall and learning curves, confusions and
    the worst mistakes. Each run is measured on the images held out of its
    training. The page is self-contained. Needs the extra \\[train].

    \b
    [bold]Examples[/bold]
    pvlr report runs/my-photos
    pvlr report runs/a runs/b -o compared.html
    pvlr report runs/my-photos --mistakes 0 --json > report.json
    """
    module = training_module("report", "report")
    page = module.report(runs, out, images=images, labels=labels, split=split, mistakes=mistakes)
    if as_json:
        from .screen import print_json

        print_json(page)
    else:
        print(out)
