"""Where the command line writes: data to stdout, messages to stderr, and a progress bar in nobody's way."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .. import errors

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress


def complain(error: errors.PvlrError) -> None:
    """One message on stderr: the class (its section in ``docs/errors.md``), what is wrong and what to do."""
    note(f"{type(error).__name__}: {error}")


def note(message: str) -> None:
    """One line on stderr."""
    print(f"pvlr: {printable(message)}", file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """The text without control characters: a file's name must not command the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def print_json(value: Any, *, indent: int | None = 1) -> None:
    """One JSON document on stdout, ASCII only, so that any pipe and any encoding carries it."""
    print(json.dumps(value, indent=indent))


def print_facts(title: str, rows: Iterable[tuple[str, Any]]) -> None:
    """Two columns for people; rows whose value is None are left out."""
    facts = [(name, printable(str(value))) for name, value in rows if value is not None]
    if not sys.stdout.isatty():
        width = max((len(name) for name, _ in facts), default=0)
        print("\n".join([printable(title), *(f"  {name:<{width}}  {value}" for name, value in facts)]))
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(printable(title), "bold"), title_justify="left", show_header=False, box=None)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(Text(name), Text(value))
    console().print(table)


def console() -> Console:
    """A rich console on stdout. In a pipe it never wraps: lines are for grep there."""
    from rich.console import Console

    return Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=10_000)


class Screen:
    """Output of a long run: lines of data, complaints, and a progress bar while a terminal watches.

    Args:
        total: how many steps there are; one step needs no bar.
        what: the bar's label.
    """

    def __init__(self, total: int, what: str) -> None:
        self._bar: Progress | None = None
        if total > 1 and sys.stderr.isatty():
            self._bar = _progress(sys.stdout.isatty())
            self._task = self._bar.add_task(what, total=total)

    def __enter__(self) -> Screen:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def write(self, line: str) -> None:
        """One line of data."""
        if self._bar and sys.stdout.isatty():
            self._bar.console.out(line, highlight=False)  # above the bar
        else:
            print(line)

    def show(self, renderable: RenderableType) -> None:
        """Something for people to look at."""
        (self._bar.console if self._bar and sys.stdout.isatty() else console()).print(renderable)

    def step(self, done: int | None = None) -> None:
        """One step further, or ``done`` steps in all."""
        if self._bar:
            self._bar.update(self._task, completed=done) if done is not None else self._bar.advance(self._task)


def _progress(on_stdout: bool) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=not on_stdout),
        transient=True,
        redirect_stdout=False,  # stdout may be a file: its lines belong there and not on the bar's terminal
    )
