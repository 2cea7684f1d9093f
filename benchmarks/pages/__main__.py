"""Write the tables and charts of the pages in docs/ that show benchmarks/results.

    python -m benchmarks.pages [performance] [accuracy] [open_labels]

A page is edited by hand; only what is between ``<!-- results: NAME -->`` and ``<!-- end of results -->`` is written.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from ..common import DOCS, RESULTS, run

PAGES = ("performance", "accuracy", "open_labels")
_PART = re.compile(r"(<!-- results: (\w+) -->\n\n).*?(\n\n<!-- end of results -->)", re.DOTALL)


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Of {', '.join(PAGES)}. Default: all.")] = None,
    results: Annotated[Path, typer.Option(help="Folder of the results.")] = RESULTS,
    docs: Annotated[Path, typer.Option(help="Folder of the pages.")] = DOCS,
) -> None:
    """Write pages from the results."""
    for name in names or PAGES:
        if name not in PAGES:
            raise typer.BadParameter(f"unknown page {name}; the pages are {', '.join(PAGES)}")
        file = docs / f"{name}.md"
        file.write_text(page(file, results))
        print(f"wrote {file}")


def page(file: Path, results: Path) -> str:
    """The text of a page with the results in a folder; charts are written next to the page, to images/."""
    from . import accuracy, performance  # they need matplotlib

    images = file.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    parts = {**performance.PARTS, **accuracy.PARTS}
    return _PART.sub(lambda part: part[1] + parts[part[2]](results, images) + part[3], file.read_text())


if __name__ == "__main__":
    run(main)
