"""Calls one function in a process that may crash."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from typing import Any

from ... import errors
from .process import IsolatedProcess, ProcessFailedError, cannot_start

_SERVE = "pvlr_sdk.frames.isolated.child:call_function"


def run_isolated(
    function: Callable[..., Any], *arguments: Any, memory_bytes: int = 2 * 2**30, seconds: float = 60.0
) -> Any:
    """Call a function in a new process, which can read files and start threads, but cannot write files, connect to
    anything, or start programs.

    Nothing is pickled: what comes back from a process that read untrusted bytes is JSON.

    Args:
        function: a function at the top level of an importable module.
        arguments: bytes, strings, numbers, booleans, None, and lists and dictionaries of all but bytes.
        memory_bytes: most memory of the process beyond what it needs to import the function's module.
        seconds: most time for the call.

    Returns:
        The function's result, which must be JSON of at most 64 KiB.

    Raises:
        PvlrError: the function raised it.
        IsolationError: the process cannot be started, crashed, took too long or too much memory, or the function raised
            another exception.
    """
    try:
        return call_isolated(function, *arguments, memory_bytes=memory_bytes, seconds=seconds)
    except ProcessFailedError as error:
        raise errors.IsolationError(
            function.__qualname__,
            expected="a result",
            got=str(error),
            hint="The input may be damaged or made to do harm: check where it is from.",
        ) from None


def call_isolated(function: Callable[..., Any], *arguments: Any, memory_bytes: int, seconds: float) -> Any:
    """:func:`run_isolated` for callers with an error of their own.

    Raises:
        PvlrError: the function raised it.
        IsolationError: the process cannot be started; the function was not called.
        ProcessFailedError: it crashed, took too long or too much memory, or the function raised another exception.
    """
    request = _packed(function, arguments, math.ceil(seconds) * (os.cpu_count() or 1) + 1)
    process = IsolatedProcess(_SERVE, memory_bytes)
    try:
        descriptor = os.memfd_create("pvlr-arguments", os.MFD_CLOEXEC)
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.write(request)
            os.lseek(descriptor, 0, os.SEEK_SET)
            process.send(b"call", [descriptor])
        finally:
            os.close(descriptor)
        process.wait_until_ready()
        answer = process.receive(seconds)
    except OSError as error:  # no memory or no descriptor for the arguments
        raise cannot_start(error.strerror or str(error)) from None
    finally:
        process.close()
    return _unpacked(answer)


def _packed(function: Callable[..., Any], arguments: tuple[Any, ...], cpu_seconds: int) -> bytes:
    """The request: the length of its JSON in 8 bytes, the JSON, and the bytes among its arguments."""
    blobs = [bytes(value) for value in arguments if isinstance(value, (bytes, bytearray, memoryview))]
    described = [
        ("bytes", len(value)) if isinstance(value, (bytes, bytearray, memoryview)) else ("json", value)
        for value in arguments
    ]
    request = {
        "module": function.__module__,
        "function": function.__qualname__,
        "arguments": described,
        "cpu_seconds": cpu_seconds,
    }
    text = json.dumps(request).encode()
    return b"".join([len(text).to_bytes(8, "little"), text, *blobs])


def _unpacked(message: bytes) -> Any:
    """The result, or the exception. The process may have sent anything."""
    try:
        answer = json.loads(message)
        if "result" in answer:
            return answer["result"]
        if "failure" in answer:
            raise ProcessFailedError(str(answer["failure"]))
        kind, *texts = map(str, answer["error"])
        argument, expected, got, hint = texts
    except (ValueError, TypeError, KeyError, RecursionError):
        raise ProcessFailedError("an answer that is not JSON") from None
    known = getattr(errors, kind, None)
    if not (isinstance(known, type) and issubclass(known, errors.PvlrError)):
        raise ProcessFailedError(kind)
    raise known(argument, expected=expected, got=got, hint=hint)
