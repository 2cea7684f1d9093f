"""Events as calls of a Python function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class CallbackSink(Generic[T]):
    """Calls a function with each item. What it raises is logged and counted; the next item comes all the same."""

    def __init__(self, callback: Callable[[T], object]) -> None:
        self.name = f"callback {getattr(callback, '__qualname__', type(callback).__name__)}"
        self._callback = callback

    def write(self, item: T) -> None:
        """Call the function. An OSError that it raises makes it be called again with the same item."""
        self._callback(item)

    def close(self) -> None:
        """Nothing to do."""
