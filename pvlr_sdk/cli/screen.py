"""Output of the command line: data on stdout, messages on stderr, and a progress bar on a terminal."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any

from .. import errors
from .._util.escape import terminal

if TYPE_CHECKING:
    import rich.progress
    from rich.console import Console, RenderableType
    from typing_extensions import Self


_SETTLED = 1.0
"""Seconds before a rate is shown."""


def complain(error: errors.PvlrError) -> None:
    """Print an error on stderr: its class (a section of ``docs/errors.md``), what is wrong and how to fix it."""
    # several for a configuration with several errors
    for line in f"{type(error).__name__}: {error}".splitlines():
        note(line)


def note(message: str) -> None:
    """Print one line on stderr."""
    print(f"pvlr: {terminal(message)}", file=sys.stderr, flush=True)


def print_json(value: Any, *, indent: int | None = 1) -> None:
    """Print one JSON document on stdout, in ASCII, which every encoding can carry."""
    print(json.dumps(value, indent=indent))


def print_facts(title: str, rows: Iterable[tuple[str, Any]]) -> None:
    """Print two aligned columns; rows whose value is None are left out."""
    facts = [(terminal(name), terminal(str(value))) for name, value in rows if value is not None]
    if not sys.stdout.isatty():
        width = max((len(name) for name, _ in facts), default=0)
        print(
            "\n".join([terminal(title), *(f"  {name:<{width}}  {value}" for name, value in facts)])
        )
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False, box=None)
    table.add_column(style="cyan", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(Text(name), Text(value))
    console().print(Text(terminal(title), "bold"), table, sep="\n")


def report_failed(failed: Sequence[dict[str, str]], total: int) -> bool:
    """Print which of ``total`` images failed, if any; returns whether there were any."""
    for image in failed:
        note(f"{image['error']}: {image['message']}")
    if failed:
        note(f"{len(failed)} of {total} images failed; the results do not include them.")
    return bool(failed)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Delay Ctrl-C to the end of the block, which leaves nothing half-written; a second one ends it at once."""
    interrupted = False

    def remember(*_: object) -> None:
        nonlocal interrupted
        if interrupted:
            raise KeyboardInterrupt
        interrupted = True

    # ignored, as in a background job
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if interrupted:
        raise KeyboardInterrupt


def decimal(value: float | None) -> str:
    """A number with two decimals; ``-`` for None."""
    return "-" if value is None else f"{value:.2f}"


def interval(value: tuple[float, float] | None) -> str:
    """The 95 % interval of a measure in percent."""
    return f" ({value[0]:.1f} to {value[1]:.1f})" if value else ""


def with_intervals(expected: Mapping[str, tuple[float, float, float] | None]) -> str:
    """The mAP and the overall precision and recall of an EvalReport, each with its 95 % interval."""
    named = {"mAP": "mAP", "precision": "OP", "recall": "OR"}
    shown = ((name, expected[key]) for name, key in named.items())
    return ", ".join(
        f"{name} {value[0]:.1f}{interval(value[1:])}" if value else "-" for name, value in shown
    )


def shares(percentages: Mapping[str, float]) -> str:
    """How frequent labels are, from shares in percent."""
    shown = [f"{label} {share:.1f} %" for label, share in list(percentages.items())[:8]]
    return ", ".join(shown) + (f" and {len(percentages) - 8} more" if len(percentages) > 8 else "")


def console() -> Console:
    """A rich console on stdout. In a pipe it never wraps, so that grep sees whole lines."""
    from rich.console import Console

    return (
        Console(highlight=False) if sys.stdout.isatty() else Console(highlight=False, width=10_000)
    )


class Progress:
    """Progress bars on stderr, or on stdout if that is a terminal too; none unless stderr is a terminal.

    They end with the time elapsed; with ``unit``, rather with the units per second and the time remaining.
    """

    def __init__(
        self, shown: bool = True, *, on_stdout: bool = False, unit: str | None = None
    ) -> None:
        self._bars: rich.progress.Progress | None = None
        if shown and sys.stderr.isatty():
            from rich import progress
            from rich.console import Console

            self._bars = progress.Progress(
                progress.TextColumn("{task.description}", markup=False),
                progress.BarColumn(24),
                progress.MofNCompleteColumn(),
                _pace(unit) if unit else progress.TimeElapsedColumn(),
                console=Console(stderr=not on_stdout),
                transient=True,
                redirect_stdout=False,  # stdout may be a file: its lines must not appear on the bar's terminal
            )

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bars:
            self._bars.stop()


def _pace(unit: str) -> rich.progress.ProgressColumn:
    """A column such as ``113 images/s, 0:02:39 left``."""
    from rich.progress import ProgressColumn
    from rich.text import Text

    class Pace(ProgressColumn):
        max_refresh = 0.5

        def render(self, task: rich.progress.Task) -> Text:
            elapsed = task.elapsed or 0.0
            if elapsed < _SETTLED or not task.completed or task.total is None:
                return Text()
            # Of the whole run: several images are in flight, so that the first results come almost at once.
            speed = task.completed / elapsed
            left = timedelta(seconds=int((task.total - task.completed) / speed))
            return Text(f"{speed:.{0 if speed >= 10 else 1}f} {unit}/s, {left} left")

    return Pace()


class Screen(Progress):
    """Output of a long run: lines of data, and a progress bar on a terminal.

    Args:
        total: the number of steps; a single step gets no bar.
        what: the label of the bar.
        unit: the plural of what a step handles.
    """

    def __init__(self, total: int, what: str, unit: str = "images") -> None:
        super().__init__(total > 1, on_stdout=sys.stdout.isatty(), unit=unit)
        if self._bars:
            self._task = self._bars.add_task(what, total=total)

    def write(self, *lines: str) -> None:
        for line in lines:
            if not sys.stdout.isatty():
                # at once: print() writes the end of a long line separately
                sys.stdout.write(f"{line}\n")
            elif self._bars:
                self._bars.console.out(terminal(line), highlight=False)  # above the bar
            else:
                print(terminal(line))

    def show(self, renderable: RenderableType) -> None:
        (self._bars.console if self._bars and sys.stdout.isatty() else console()).print(renderable)

    def step(self, done: int | None = None) -> None:
        """Advance by one step, or to ``done`` steps."""
        if self._bars:
            self._bars.update(
                self._task, completed=done
            ) if done is not None else self._bars.advance(self._task)


class Phases(Progress):
    """Nested progress bars of a build (a ``compile.builder.Watcher``); silent without a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: dict[str, tuple[rich.progress.TaskID, int]] = {}
        """The bar of each phase and its nesting depth."""
        self._lock = Lock()

    def begin(self, phase: str, parent: str | None, steps: int) -> None:
        if self._bars:
            with self._lock:
                depth = self._tasks[parent][1] + 1 if parent in self._tasks else 0
                task = self._bars.add_task("  " * depth + phase, total=steps)
                self._tasks[phase] = task, depth

    def step(self, phase: str, done: int) -> None:
        with self._lock:
            if self._bars and phase in self._tasks:
                self._bars.update(self._tasks[phase][0], completed=done)

    def end(self, phase: str) -> None:
        with self._lock:
            if self._bars and phase in self._tasks:
                self._bars.remove_task(self._tasks.pop(phase)[0])


def precision_row(measured: dict[str, Any]) -> str:
    """The time of a precision and, if the accuracy gate ran, what it costs."""
    text = f"{measured['inference_ms']:.2f} ms"
    if "tag_sets" in measured:
        share = f"{100 * measured['tag_sets']:.1f} % of {measured['photos']} images"
        text += f", same tags as the exported network on {share}"
    if "mAP" in measured:
        text += f", mAP {measured['mAP']:.2f}"
    return text + (f" (fp32 {measured['mAP_fp32']:.2f})" if "mAP_fp32" in measured else "")
