"""What a run tells: lines on the screen, a progress bar, ``log.jsonl`` and TensorBoard's files."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pvlr_sdk.errors import OutputError
from pvlr_sdk.files import write_files

_SECONDS_BETWEEN_POINTS = 5.0  # of TensorBoard's curves


class RunLog:
    """The log of a run in its folder: ``log.jsonl`` has a line an epoch, ``tensorboard/`` the curves.

    Args:
        quiet: write and print nothing, as all processes but the first do.
    """

    def __init__(self, folder: Path, console: Console, quiet: bool = False) -> None:
        self.folder = folder
        self.console = console
        self.quiet = quiet
        self._board: Any = None
        self._last_point = 0.0

    def open(self, finished: list[tuple[str, int]], step: int) -> None:
        """Begin at optimizer step ``step`` of the run: what an earlier, killed process logged after it is dropped.

        Args:
            finished: the stages and epochs whose lines stay.
        """
        if self.quiet:
            return
        path = self.folder / "log.jsonl"
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        kept = [line for line in lines if _epoch_of(line) in finished]
        write_files({path: "".join(kept).encode()})
        self._board = self._open_board(step)

    def epoch(self, row: dict[str, Any], step: int) -> None:
        """The figures of a finished epoch: stage, epoch, loss, seconds, lr, images_per_second and holdout_mAP."""
        if self.quiet:
            return
        row = {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in row.items()}
        path = self.folder / "log.jsonl"
        try:
            with path.open("a") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise OutputError(
                str(path), expected="a place to write to", got=str(error.strerror), hint="Free some space and --resume."
            ) from None
        self.say("  ".join(f"{key} {value}" for key, value in row.items()))
        self._points({"loss/epoch": row["loss"], "holdout_mAP": row.get("holdout_mAP")}, step)

    def step(self, values: dict[str, float], step: int) -> None:
        """A point of TensorBoard's curves, not at every step."""
        if self._board and time.monotonic() - self._last_point > _SECONDS_BETWEEN_POINTS:
            self._last_point = time.monotonic()
            self._points(values, step)

    def say(self, text: str) -> None:
        """A line on the screen."""
        if not self.quiet:
            self.console.print(text, highlight=False, markup=False, soft_wrap=True)

    def warn(self, text: str) -> None:
        """A line on the screen that should be seen."""
        if not self.quiet:
            self.console.print(text, style="yellow", highlight=False, markup=False, soft_wrap=True)

    @contextlib.contextmanager
    def bar(self, total: int, done: int = 0) -> Iterator[Bar]:
        """A progress bar over ``total`` photos; only a terminal shows it."""
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
            disable=self.quiet or not self.console.is_terminal,
        )
        with progress:
            yield Bar(progress, progress.add_task("", figures="", total=total, completed=done))

    def close(self) -> None:
        """Finish TensorBoard's file."""
        if self._board:
            with contextlib.suppress(OSError):
                self._board.close()
            self._board = None

    def _open_board(self, step: int) -> Any:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            self.warn('No TensorBoard curves: the package is missing. Install it: pip install "pvlr-sdk[train]".')
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
        except OSError as error:  # curves are no reason to stop a training
            self.warn(f"No more TensorBoard curves: {error}")
            self._board = None


class Bar:
    """A running progress bar."""

    def __init__(self, progress: Progress, task: Any) -> None:
        self._progress = progress
        self._task = task

    def update(self, photos: int, what: str, figures: str = "", total: int | None = None) -> None:
        """``photos`` more are done."""
        self._progress.update(self._task, advance=photos, description=what, figures=figures, total=total)


def _epoch_of(line: str) -> tuple[str, int] | None:
    try:
        row = json.loads(line)
        return row["stage"], row["epoch"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return None  # the half line of a process that was killed
