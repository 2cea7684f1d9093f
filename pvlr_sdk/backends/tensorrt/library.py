"""NVIDIA's Python package ``tensorrt``: importing it on demand, its version and its log."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any, TypeVar

from ... import errors

if TYPE_CHECKING:
    import tensorrt as trt

Made = TypeVar("Made")

_OLDEST = (10, 3)
_ERRORS = ("ERROR", "INTERNAL_ERROR")
_log = logging.getLogger(__name__)
_collectors: dict[int, list[tuple[Messages, bool]]] = {}
"""What each thread collects with; the last counts. The flag is for detailed messages."""
_collecting = RLock()
"""Of ``_collectors``. Reentrant: collecting garbage may destroy an engine, which logs."""


def require() -> None:
    """Check that ``import tensorrt`` works.

    Raises:
        MissingPartError: it is not installed, its libraries cannot be loaded, or it is older than 10.3.
    """
    try:
        import tensorrt
    except (ImportError, OSError) as error:
        raise _missing(str(error)) from error
    # Type stubs alone leave a folder that imports as an empty namespace package.
    if not hasattr(tensorrt, "Runtime"):
        raise _missing("type stubs alone")
    if parse_version(version()) < _OLDEST:
        raise _missing(f"version {version()}")


def version() -> str:
    """The installed version, for example ``10.3.0``."""
    import tensorrt

    return str(tensorrt.__version__)


def parse_version(text: str) -> tuple[int, ...]:
    """``10.13.0.35`` -> (10, 13, 0, 35); stops at the first part that is not a number."""
    numbers: list[int] = []
    for part in text.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


class Messages:
    """TensorRT's log, and its errors as reasons for error messages.

    Args:
        limit: keep only this many of the newest lines; None: all. An engine that fails at every frame logs for days.
    """

    def __init__(self, limit: int | None = None) -> None:
        self.lines: deque[str] = deque(maxlen=limit)
        self._errors: deque[str] = deque(maxlen=limit)

    @contextmanager
    def collect(self, *, verbose: bool = False) -> Iterator[None]:
        """Receive what TensorRT logs in this thread, and in threads that collect nothing, such as its own."""
        with _collecting:
            _collectors.setdefault(get_ident(), []).append((self, verbose))
        try:
            yield
        finally:
            with _collecting:
                stack = _collectors[get_ident()]
                stack.pop()
                if not stack:
                    del _collectors[get_ident()]

    def add(self, severity: str, text: str) -> None:
        """Add a message."""
        self.lines.append(f"[{severity}] {text}")
        if severity in _ERRORS:
            self._errors.append(text)

    def reason(self, otherwise: str) -> str:
        """The first error since the last call, on one line: later ones are mostly its consequences."""
        messages = self._errors
        self._errors = deque(maxlen=self._errors.maxlen)
        return " ".join(messages[0].split()) if messages else otherwise

    def text(self) -> str:
        """The log as text."""
        return "".join(f"{line}\n" for line in self.lines)


@cache
def logger() -> trt.ILogger:
    """The logger of this process, for everything that takes one.

    TensorRT keeps the first logger for the CUDA errors and the plugin registry of all engines, so there is no second
    one. It hands each message to the :meth:`Messages.collect` that concerns it.
    """
    import tensorrt as trt

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            _hand_on(severity.name, msg)

    return Log()


def start(make: Callable[[trt.ILogger], Made], messages: Messages) -> Made:
    """Create a ``trt.Builder`` or ``trt.Runtime``; ``messages`` has the reason for a failure.

    Raises:
        BackendError: TensorRT does not support this GPU or driver.
    """
    try:
        return make(logger())
    except (TypeError, RuntimeError) as error:  # what the bindings raise if the factory fails
        raise errors.BackendError(
            "tensorrt",
            f"a GPU and a driver that TensorRT {version()} supports",
            messages.reason(str(error)),
            "See pvlr doctor and NVIDIA's support matrix; another version of TensorRT may support this GPU.",
        ) from error


def _hand_on(severity: str, text: str) -> None:
    with _collecting:
        mine = _collectors.get(get_ident())
        collectors = [mine[-1]] if mine else [stack[-1] for stack in _collectors.values()]
    for messages, verbose in collectors:
        if verbose or severity != "VERBOSE":
            messages.add(severity, text)
    if not collectors and severity in _ERRORS:
        _log.error("TensorRT: %s", text)


def _missing(got: str) -> errors.MissingPartError:
    return errors.MissingPartError(
        "tensorrt",
        "TensorRT 10.3 or newer",
        got,
        "On a Jetson it comes with JetPack (create the environment with --system-site-packages); elsewhere: "
        + errors.install_hint("tensorrt", "--extra-index-url https://pypi.nvidia.com"),
    )
