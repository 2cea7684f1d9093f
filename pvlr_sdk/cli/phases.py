"""TensorRT's progress on the terminal: a bar for each phase that it is in."""

from __future__ import annotations

import sys
from threading import Lock
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Phases:
    """A :class:`pvlr_sdk.tensorrt.progress.Watcher` with bars, nested as the phases are; silent without a terminal."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[str, tuple[TaskID, int]] = {}
        """Each phase's bar, and how deep it is nested."""
        self._lock = Lock()
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            self._bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=False,
            )

    def __enter__(self) -> Phases:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

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
