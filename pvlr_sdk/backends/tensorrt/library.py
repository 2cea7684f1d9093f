"""NVIDIA's Python package ``tensorrt``: importing it on demand, its version and its log."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from ... import errors

if TYPE_CHECKING:
    import tensorrt as trt

Made = TypeVar("Made")

_OLDEST = (10, 3)


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

    def add(self, severity: str, text: str) -> None:
        """Add a message."""
        self.lines.append(f"[{severity}] {text}")
        if severity in ("ERROR", "INTERNAL_ERROR"):
            self._errors.append(text)

    def reason(self, otherwise: str) -> str:
        """The first error since the last call, on one line: later ones are mostly its consequences."""
        found, self._errors = self._errors, deque(maxlen=self._errors.maxlen)
        return " ".join(found[0].split()) if found else otherwise

    def text(self) -> str:
        """The log as text."""
        return "".join(f"{line}\n" for line in self.lines)


def logger(messages: Messages, *, verbose: bool = False) -> trt.ILogger:
    """A TensorRT logger that writes to ``messages``; keep it alive as long as anything created with it."""
    import tensorrt as trt

    least = trt.ILogger.VERBOSE if verbose else trt.ILogger.INFO

    class Log(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            if severity.value <= least.value:
                messages.add(severity.name, msg)

    return Log()


def start(make: Callable[[trt.ILogger], Made], log: trt.ILogger, messages: Messages) -> Made:
    """Create a ``trt.Builder`` or ``trt.Runtime`` with a logger.

    Raises:
        BackendError: TensorRT does not support this GPU or driver.
    """
    try:
        return make(log)
    except (TypeError, RuntimeError) as error:  # what the bindings raise if the factory fails
        raise errors.BackendError(
            "tensorrt",
            expected=f"a GPU and a driver that TensorRT {version()} supports",
            got=messages.reason(str(error)),
            hint="See pvlr doctor and NVIDIA's support matrix; another version of TensorRT may know this GPU.",
        ) from error


def _missing(got: str) -> errors.MissingPartError:
    hint = (
        "On a Jetson it comes with JetPack (create the environment with --system-site-packages); elsewhere: "
        + errors.install_hint("tensorrt", "--extra-index-url https://pypi.nvidia.com")
    )
    return errors.MissingPartError("tensorrt", expected="TensorRT 10.3 or newer", got=got, hint=hint)
