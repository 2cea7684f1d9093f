"""Who changed or tried what: a log of JSON lines, and messages that no client can flood."""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .... import errors
from ...._util.files import system_errors

if TYPE_CHECKING:
    from starlette.types import Scope

_log = logging.getLogger(__name__)

_INTERVAL = 60.0
"""Seconds between two messages of the same kind."""
_ATTEMPTS = 5
"""Attempts to guess a token per minute from one address; further ones are refused."""
_DETAIL = 200
"""Characters of each detail of a failed action."""
_REMEMBERED = 1024
"""Number of addresses whose attempts are counted."""


class Audit:
    """Writes one JSON object per line: ``time``, ``who`` (the token's name), ``address``, ``action``, ``result``.

    Args:
        path: the file, created readable by its owner only; it is opened for each line, so that it can be rotated at any
            time. None: the log alone.

    Raises:
        OptionError: the file cannot be written. Later, this is only reported in the log.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        expected = f"that {path} can be written"
        hint = "Create its folder, or choose another file."
        with system_errors(errors.OptionError, "audit_log", expected=expected, hint=hint):
            self._append(b"")
        self._refusals = RepeatFilter()

    def record(self, action: str, result: str, scope: Scope | None = None, **details: Any) -> None:
        """Record an action; ``scope`` is the request's scope. A file that cannot be written is reported in the log."""
        entry = {
            "time": datetime.now(timezone.utc)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "who": who(scope) if scope else None,
            "address": address_of(scope) if scope else None,
            "action": action,
            "result": result,
            **details,
        }
        _log.info(
            "%s: %s%s",
            action,
            result,
            f" ({entry['who'] or 'no token'}, {entry['address']})" if scope else "",
        )
        try:
            self._append(json.dumps(entry).encode() + b"\n")
        except OSError as error:
            _log.warning("the audit log cannot be written: %s", error.strerror)

    def _append(self, line: bytes) -> None:
        if self._path is not None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            with os.fdopen(os.open(self._path, flags, 0o600), "ab") as file:
                file.write(line)  # one write: lines of two processes do not mix

    @contextmanager
    def recorded(self, action: str, scope: Scope, **details: Any) -> Iterator[None]:
        """Record an action with its result: ``ok``, or the class of the exception that it raises.

        Failures do not fill the disk: at most one line per minute for each class and token, with their number since
        the last, and long details are cut.
        """
        try:
            yield
        except Exception as error:
            result = type(error).__name__
            if count := self._refusals.count(f"{action}: {result} ({who(scope)})"):
                short = {name: _shortened(value) for name, value in details.items()}
                self.record(action, result, scope, **{**short, "count": count})
            raise
        self.record(action, "ok", scope, **details)

    def refused(self, scope: Scope, action: str = "request", result: str = "refused") -> None:
        """Record what anybody can do without a token: at most one line per minute, with the number since the last."""
        count = self._refusals.count(action)
        if count:
            self.record(action, result, scope, count=count)


def _shortened(value: Any) -> Any:
    text = json.dumps(value)
    return value if len(text) <= _DETAIL else f"{text[:_DETAIL]}..."


class RepeatFilter(logging.Filter):
    """Lets one message of each kind through per minute, which states how many were left out since the last."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def count(self, kind: str) -> int:
        """The number of occurrences to report now, including this one; 0: report none."""
        now = time.monotonic()
        self._counts[kind] = self._counts.get(kind, 0) + 1
        if now - self._last.get(kind, -_INTERVAL) < _INTERVAL:
            return 0
        self._last[kind] = now
        return self._counts.pop(kind)

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.exc_info, tuple):
            is_stop = isinstance(record.exc_info[1], asyncio.CancelledError)
            # of a WebSocket, closed with 1007
            return not is_stop and "Invalid UTF-8" not in str(record.msg)
        if record.levelno < logging.WARNING:
            return True
        count = self.count(str(record.msg))
        if count > 1:
            record.msg = f"{record.msg} ({count} times since the last such message)"
        return count > 0


class Attempts:
    """Counts attempts to guess a token per address within a minute."""

    def __init__(self) -> None:
        self._times: dict[str, dict[object, float]] = {}

    def add(self, address: str, guess: object) -> int:
        """Count an attempt; returns the seconds until this address may try again, 0: now.

        The same ``guess`` again is not counted: a program with an old token is not guessing.
        """
        now = time.monotonic()
        times = {
            key: at for key, at in self._times.pop(address, {}).items() if at + _INTERVAL > now
        }
        self._times[address] = times
        while len(self._times) > _REMEMBERED:
            del self._times[next(iter(self._times))]
        if guess in times or len(times) < _ATTEMPTS:
            times.setdefault(guess, now)
            return 0
        return math.ceil(min(times.values()) + _INTERVAL - now)

    def forget(self, address: str) -> None:
        """Begin again: an attempt succeeded."""
        self._times.pop(address, None)


def who(scope: Scope) -> str | None:
    """The name of the token of a request; None: it has none."""
    name: str | None = scope.get("state", {}).get("who")
    return name


def address_of(scope: Scope) -> str | None:
    """The address of a request's sender, or of the last proxy."""
    return scope["client"][0] if scope.get("client") else None
