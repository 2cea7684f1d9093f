"""A real RTSP camera: ``rtsp_server.py`` in a process of its own."""

from __future__ import annotations

import functools
import os
import signal
import socket
import subprocess
from pathlib import Path

SYSTEM_PYTHON = "/usr/bin/python3"
RTSP_SERVER = Path(__file__).with_name("rtsp_server.py")


@functools.cache
def has_rtsp_server() -> bool:
    code = "import gi, numpy; gi.require_version('GstRtspServer', '1.0'); "
    code += "from gi.repository import Gst, GstRtspServer; "
    code += "Gst.init(None); assert Gst.ElementFactory.find('x264enc')"
    try:
        return (
            subprocess.run([SYSTEM_PYTHON, "-c", code], capture_output=True, check=False).returncode
            == 0
        )
    except OSError:
        return False


class RtspCamera:
    """The server of ``rtsp_server.py`` at an address that stays the same when it is killed and started again."""

    def __init__(self, *arguments: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._process: subprocess.Popen[str] | None = None
        self.start(*arguments)

    def uri(self, credentials: str = "", scheme: str = "rtsp", host: str = "127.0.0.1") -> str:
        return f"{scheme}://{credentials}{host}:{self._port}/cam"

    def start(self, *arguments: str) -> None:
        command = [SYSTEM_PYTHON, str(RTSP_SERVER), "--port", str(self._port), *arguments]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def resize(self, size: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"size {size}\n")
        self._process.stdin.flush()

    def freeze(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None
