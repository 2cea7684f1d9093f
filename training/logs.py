"""The log of a run: screen output, progress bar, ``log.jsonl`` and TensorBoard files."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pvlr_sdk._util.files import write_files
from pvlr_sdk.errors import OutputError, install_hint

_SECONDS_BETWEEN_POINTS = 5.0  # of the TensorBoard curves


class RunLog:
    """The log of a run in its folder: ``log.jsonl`` with one line per epoch, ``tensorboard/`` with the curves.

    Args:
        quiet: write and print nothing, for all processes but the first.
    """

    def __init__(self, folder: Path, console: Console, quiet: bool = False) -> None:
        self.folder = folder
        self.console = console
        self.quiet = quiet
        self._board: Any = None
        self._last_point = 0.0

    def open(self, finished: list[tuple[str, int]], step: int) -> None:
        """Start at optimizer step ``step`` of the run; later entries of a killed process are dropped.

        Args:
            finished: the stages and epochs whose lines are kept.
        """
        if self.quiet:
            return
        path = self.folder / "log.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if _epoch_of(line) in finished]
        write_files({path: "".join(kept).encode()})
        self._board = self._open_board(step)

    def epoch(self, row: dict[str, Any], step: int, epochs: int) -> None:
        """Log a finished epoch of ``epochs``: stage, epoch, loss, seconds, lr, images_per_second and holdout_mAP."""
        if self.quiet:
            return
        row = {
            key: None if isinstance(value, float) and math.isnan(value) else value
            for key, value in row.items()
        }
        path = self.folder / "log.jsonl"
        try:
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise OutputError(
                str(path),
                "a writable file",
                str(error.strerror),
                "Free some space and add --resume.",
            ) from None
        shown = [
            f"{row['stage']} {row['epoch']}/{epochs}",
            f"loss {row['loss']}",
            duration(row["seconds"]),
        ]
        shown += [
            f"{row[key]} {unit}" for key, unit in (("images_per_second", "images/s"),) if key in row
        ]
        shown += (
            [f"held-out mAP {row['holdout_mAP']}"] if row.get("holdout_mAP") is not None else []
        )
        self.say("  ".join(shown))
        self._points({"loss/epoch": row["loss"], "holdout_mAP": row.get("holdout_mAP")}, step)

    def step(self, values: dict[str, float], step: int) -> None:
        """Add a point to the TensorBoard curves, at most every few seconds."""
        if self._board and time.monotonic() - self._last_point > _SECONDS_BETWEEN_POINTS:
            self._last_point = time.monotonic()
            self._points(values, step)

    def say(self, text: str, style: str | None = None) -> None:
        """Print a line."""
        if not self.quiet:
            plain = not self.console.is_terminal  # a pipe gets whole lines
            self.console.print(text, style=style, highlight=False, markup=False, soft_wrap=plain)

    def warn(self, text: str) -> None:
        """Print a warning."""
        self.say(text, "yellow")

    @contextlib.contextmanager
    def bar(self, total: int, done: int = 0) -> Iterator[Callable[..., None]]:
        """A progress bar over ``total`` images, on terminals only: a function that advances it.

        Its arguments are a number of images, what is done with them, and optionally ``details`` and another ``total``.
        """
        with open_progress(self.console, self.quiet) as progress:
            task = progress.add_task("", details="", total=total, completed=done)

            def advance(
                images: int, what: str, details: str = "", total: int | None = None
            ) -> None:
                progress.update(
                    task, advance=images, description=what, details=details, total=total
                )

            yield advance

    def close(self) -> None:
        """Close the TensorBoard file."""
        if self._board:
            with contextlib.suppress(OSError):
                self._board.close()
            self._board = None

    def _open_board(self, step: int) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.warn(
                f"No TensorBoard curves: tensorboard is not installed. {install_hint('train')}"
            )
            return None
        try:
            return SummaryWriter(str(self.folder / "tensorboard"), purge_step=step + 1)
        except OSError as error:
            self.warn(f"No TensorBoard curves: {error}")
            return None

    def _points(self, values: dict[str, Any], step: int) -> None:
        if not self._board:
            return
        try:
            for name, value in values.items():
                if value is not None:
                    self._board.add_scalar(name, value, step)
            self._board.flush()
        except OSError as error:  # not a reason to stop training
            self.warn(f"No more TensorBoard curves: {error}")
            self._board = None


def open_progress(console: Console, quiet: bool = False) -> Progress:
    """A progress display for tasks with the field ``details``."""
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=16),  # fits into 80 columns
        MofNCompleteColumn(),
        TextColumn("{task.fields[details]}"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=quiet or not console.is_terminal,
    )


def duration(seconds: float) -> str:
    """A duration for people."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} minutes"


def _epoch_of(line: str) -> tuple[str, int] | None:
    try:
        row = json.loads(line)
        return row["stage"], row["epoch"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return None  # cut off when a process was killed
