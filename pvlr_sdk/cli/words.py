"""``pvlr words``: senses, grades and classes of words."""

from __future__ import annotations

from typer import Argument

from . import options


def words(
    words: list[str] = Argument(..., metavar="WORD", help="Words or phrases."), as_json: options.Json = False
) -> None:
    """Show the senses, the grade and the classes of words as labels.

    A word is a mixture of ImageNet's classes. Its grade says how far the mixture
    can be trusted: exact, doubtful or unknown. Each sense of a word has a line of
    its own; the first is used unless --sense of [bold]pvlr bank make[/bold] names
    another.

    \b
    [bold]Examples[/bold]
    pvlr words espresso kite "golden retriever"
    pvlr words fork --json
    """
    from rich.table import Table

    from .._util.escape import terminal
    from ..labels.meaning import senses_of
    from .screen import console, print_json

    found = {word: senses_of(word) for word in words}
    if as_json:
        print_json([{"word": word, "senses": [one.provenance() for one in of]} for word, of in found.items()])
        return
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("Word", no_wrap=True)
    for heading in ("Grade", "A kind of", "Classes"):
        table.add_column(heading)
    for word, of in found.items():
        if not of:
            table.add_row(terminal(word), "unknown", "", "not in the dictionary")
        for one in of:
            table.add_row(terminal(word), one.grade, one.entry.senses[one.sense].kind, one.described())
    console().print(table)
