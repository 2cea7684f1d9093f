"""Starts a process of this package for untrusted input, and exchanges messages with it."""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import suppress

from ... import errors

MAX_MESSAGE = 65536
"""Most bytes of a message; a larger one is cut."""
_LOG = logging.getLogger(__name__)
_START_SECONDS = 60.0
_ADD_SEALS = 1033
_SEALS = 0x1 | 0x2 | 0x4
"""F_SEAL_SEAL, F_SEAL_SHRINK and F_SEAL_GROW of linux/fcntl.h."""
_CODE = (
    "import os, sys; sys.path[:] = sys.argv[5:]; os.environ.update(OMP_NUM_THREADS='1', OPENBLAS_NUM_THREADS='1');"
    "from pvlr_sdk.frames.isolated.child import main; main(*sys.argv[1:5])"
)


class ProcessFailedError(Exception):
    """The process ended, did not answer in time, or failed. The message says how."""


def available() -> bool:
    """Whether this system can isolate processes: only Linux can, and not in a frozen program, which has no Python
    interpreter to start."""
    return (
        hasattr(os, "memfd_create") and bool(sys.executable) and not getattr(sys, "frozen", False)
    )


class IsolatedProcess:
    """A process that runs ``serve``, the name of a function as ``module:function``, see :mod:`.child`.

    It ends when this object is closed, and when this process ends for whatever reason: the kernel kills it.

    Raises:
        IsolationError: this system cannot start it.
    """

    def __init__(self, serve: str, memory_bytes: int) -> None:
        if not available():
            raise cannot_start("a frozen program" if hasattr(os, "memfd_create") else sys.platform)
        try:
            self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        except OSError as error:
            raise cannot_start(error.strerror or str(error)) from None
        # -I: neither the current folder nor the environment decides which code the process loads.
        command = [
            sys.executable,
            "-I",
            "-c",
            _CODE,
            serve,
            str(theirs.fileno()),
            str(memory_bytes),
            str(os.getpid()),
        ]
        started: Future[subprocess.Popen[bytes]] = Future()
        arguments = (
            [*command, *(entry or os.getcwd() for entry in sys.path)],
            theirs.fileno(),
            started,
        )
        try:
            with theirs:
                threading.Thread(target=_run, args=arguments, daemon=True).start()
                self._process = started.result()
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread can be started
            self._channel.close()
            raise cannot_start(getattr(error, "strerror", None) or str(error)) from None
        self.waited = 0.0
        """Seconds that its answers took in all: at least its processor time, as it has one thread."""
        self.filtered: bool | None = None
        """Whether its system calls are filtered; None until it is ready."""

    def wait_until_ready(self) -> None:
        """Wait until it has loaded its libraries and restricted itself.

        Raises:
            IsolationError: it failed to; it is closed.
        """
        if self.filtered is None:
            try:
                self.filtered = self.receive(_START_SECONDS) == b"filtered"
            except ProcessFailedError as error:
                self.close()
                raise cannot_start(str(error)) from None
            if not self.filtered:
                _LOG.warning(
                    "isolated processes run without a filter of system calls: this kernel has none"
                )

    def send(self, message: bytes, descriptors: Sequence[int]) -> bool:
        """Send a message with open files; False if the process has ended."""
        try:
            socket.send_fds(self._channel, [message], descriptors)
        except OSError:
            return False
        return True

    def receive(self, seconds: float) -> bytes:
        """The next message.

        Raises:
            ProcessFailedError: the process ended, or the time is over; close it.
        """
        began = time.monotonic()
        try:
            self._channel.settimeout(seconds)
            message = self._channel.recv(MAX_MESSAGE)
        except TimeoutError:
            raise ProcessFailedError(f"a process that took more than {seconds:g} s") from None
        except OSError as error:
            raise ProcessFailedError(error.strerror or str(error)) from None
        finally:
            self.waited += time.monotonic() - began
        if not message:
            raise ProcessFailedError(self._end())
        return message

    def _end(self) -> str:
        try:
            code = self._process.wait(1.0)
        except subprocess.TimeoutExpired:  # it closed its channel only
            return "a process that does not answer"
        if code >= 0:
            return f"a process that ended with status {code}"
        names = {number.value: number.name for number in signal.Signals}
        return f"a process that crashed ({names.get(-code, f'signal {-code}')})"

    def close(self) -> None:
        """End it at once."""
        self._channel.close()
        self._process.kill()
        self._process.wait()


def _run(command: Sequence[str], descriptor: int, started: Future[subprocess.Popen[bytes]]) -> None:
    """Start a process and wait for its end: the kernel kills it when the thread that started it ends."""
    try:
        process = subprocess.Popen(
            command,
            pass_fds=[descriptor],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Others may hold passwords. The interpreter and OpenVINO may need this one to start.
            env={name: value for name, value in os.environ.items() if name == "LD_LIBRARY_PATH"},
            start_new_session=True,  # Ctrl-C is for this process
        )
        started.set_result(process)
    except BaseException as error:
        started.set_exception(error)
        return
    with suppress(ChildProcessError):  # close() was faster
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)


def shared_memory(size: int) -> tuple[mmap.mmap, int]:
    """Memory without a name, and its descriptor. Its size is fixed: the other process cannot pull it away.

    Raises:
        OSError: there is too little memory, or no descriptor.
    """
    descriptor = os.memfd_create("pvlr-shared", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, _ADD_SEALS, _SEALS)
        return mmap.mmap(descriptor, size), descriptor
    except BaseException:
        os.close(descriptor)
        raise


def cannot_start(got: str) -> errors.IsolationError:
    """The error where no process can be started."""
    return errors.IsolationError(
        "isolation", "an isolated process", got, "It needs Linux and free memory and processes."
    )
