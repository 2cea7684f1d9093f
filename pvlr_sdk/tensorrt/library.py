"""NVIDIA's Python package ``tensorrt``: found when it is needed, its version, and what it has to say."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from .. import errors

if TYPE_CHECKING:
    import tensorrt as trt

Made = TypeVar("Made")

HOW_TO_INSTALL = (
    "On a Jetson it comes with JetPack (make the environment with --system-site-packages); elsewhere "
    'pip install --extra-index-url https://pypi.nvidia.com "pvlr-sdk[tensorrt]".'
)
_OLDEST = (10, 3)


def require() -> None:
    """Import ``tensorrt``; afterwards ``import tensorrt`` works anywhere.

    Raises:
        MissingPartError: it is not installed, its libraries can't be loaded, or it is older than 10.3.
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
    """``10.13.0.35`` -> (10, 13, 0, 35); what is no number ends it."""
    numbers: list[int] = []
    for part in text.split("."):
        if not part.isdigit():
            break
        numbers.append(int(part))
    return tuple(numbers)


class Messages:
    """What TensorRT logged: its lines, and the last error for messages of our own.

    Args:
        most: keep only the newest so many; None: all. An engine that fails at every frame logs for days.
    """

    def __init__(self, most: int | None = None) -> None:
        self.lines: deque[str] = deque(maxlen=most)
        self._errors: deque[str] = deque(maxlen=most)

    def add(self, severity: str, text: str) -> None:
        """Keep one message."""
        self.lines.append(f"[{severity}] {text}")
        if severity in ("ERROR", "INTERNAL_ERROR"):
            self._errors.append(text)

    def reason(self, otherwise: str) -> str:
        """The first error since the last call, on one line: what follows it is mostly its consequence."""
        found, self._errors = self._errors, deque(maxlen=self._errors.maxlen)
        return " ".join(found[0].split()) if found else otherwise

    def text(self) -> str:
        """The lines, each with its end."""
        return "".join(f"{line}\n" for line in self.lines)


def logger(messages: Messages, *, verbose: bool = False) -> trt.ILogger:
    """A TensorRT logger that writes into ``messages``; keep it as long as anything made with it."""
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
    """A ``trt.Builder`` or ``trt.Runtime`` with this logger.

    Raises:
        BackendError: TensorRT does not work here, as on a GPU that it is too new for.
    """
    try:
        return make(log)
    except (TypeError, RuntimeError) as error:  # the bindings' words for a factory that gave nothing
        raise errors.BackendError(
            "tensorrt",
            expected=f"a GPU and a driver that TensorRT {version()} works with",
            got=messages.reason(str(error)),
            hint="See pvlr doctor and NVIDIA's support matrix; another version of TensorRT may know this GPU.",
        ) from error


def _missing(got: str) -> errors.MissingPartError:
    return errors.MissingPartError("tensorrt", expected="TensorRT 10.3 or newer", got=got, hint=HOW_TO_INSTALL)
