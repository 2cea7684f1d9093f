"""Progress of a TensorRT build on the terminal: one bar per phase."""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING

from .screen import Progress

if TYPE_CHECKING:
    from rich.progress import TaskID


class Phases(Progress):
    """Nested progress bars of a build (a ``compile.builder.Watcher``); silent without a terminal."""

    def __init__(self) -> None:
        super().__init__()
        self._tasks: dict[str, tuple[TaskID, int]] = {}
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
