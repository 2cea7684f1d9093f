"""Write the tables and charts of the pages in docs/ that show benchmarks/results.

python -m benchmarks.pages [performance] [accuracy] [heads] ...
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Annotated

import typer

from ..common import DOCS, RESULTS, run

PAGES = {
    "performance": ("performance.md", "benchmarks.pages.performance"),
    "accuracy": ("accuracy.md", "benchmarks.pages.accuracy"),
    "accuracy_and_time": ("accuracy_and_time.md", "benchmarks.pages.accuracy"),
    "heads": ("heads.md", "benchmarks.pages.accuracy"),
    "open_labels": ("open_labels.md", "benchmarks.pages.accuracy"),
}
"""By name: the file and its generator, a module with ``page(results, path of the file)``."""


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(PAGES)}. Default: all.")] = None,
    results: Annotated[Path, typer.Option(help="Folder of the results.")] = RESULTS,
    docs: Annotated[Path, typer.Option(help="Folder of the pages.")] = DOCS,
) -> None:
    """Write pages from the results."""
    for name in names or PAGES:
        if name not in PAGES:
            raise typer.BadParameter(f"unknown page {name}; the pages are {', '.join(PAGES)}")
        file, generator = PAGES[name]
        (docs / file).write_text(importlib.import_module(generator).page(results, docs / file))
        print(f"wrote {docs / file}")


if __name__ == "__main__":
    run(main)
