"""TensorRT's progress, passed on; and the way to stop a build."""

from __future__ import annotations

from threading import Event
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import tensorrt as trt


class Watcher(Protocol):
    """Who is told how far a build is. Called from TensorRT's threads, one call at a time for each phase."""

    def begin(self, phase: str, parent: str | None, steps: int) -> None:
        """A phase of so many steps begins, inside another one or on its own."""

    def step(self, phase: str, done: int) -> None:
        """So many of its steps are done."""

    def end(self, phase: str) -> None:
        """It is over, perhaps early."""


class Nobody:
    """A watcher that looks away."""

    def begin(self, phase: str, parent: str | None, steps: int) -> None:
        pass

    def step(self, phase: str, done: int) -> None:
        pass

    def end(self, phase: str) -> None:
        pass


def monitor(watcher: Watcher, cancelled: Event) -> trt.IProgressMonitor:
    """TensorRT's interface round a watcher; once ``cancelled`` is set, the build ends at its next step."""
    import tensorrt as trt

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            watcher.begin(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            watcher.step(phase_name, step + 1)
            return not cancelled.is_set()

        def phase_finish(self, phase_name: str) -> None:
            watcher.end(phase_name)

    return Monitor()
