"""Runs a command on a network that has no way out and records every attempt to use one.

``python silent_network.py COMMAND...`` inside ``unshare -rnm``: a new network namespace with only a loopback, and a
name server there that records each query and knows no name. strace, if it is installed, is the second witness: it sees
every ``connect`` and ``sendto``, also those to an address without a query. Prints JSON: status, queries, addresses.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

_ADDRESS = re.compile(r'inet_addr\("([\d.]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
_OWN = ("127.", "::1", "::ffff:127.", "0.0.0.0")


def name_in(query: bytes) -> str:
    """The name that a DNS query asks for."""
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode(errors="replace"))
        at += 1 + query[at]
    return ".".join(labels)


def serve_names(server: socket.socket, queries: list[str]) -> None:
    while True:
        query, client = server.recvfrom(4096)
        queries.append(name_in(query))
        # no such name
        server.sendto(query[:2] + b"\x81\x83" + query[4:6] + bytes(6) + query[12:], client)


def main(command: list[str]) -> None:
    folder = Path(tempfile.mkdtemp())
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    (folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
    subprocess.run(["mount", "--bind", str(folder / "resolv.conf"), "/etc/resolv.conf"], check=True)
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    queries: list[str] = []
    threading.Thread(target=serve_names, args=(server, queries), daemon=True).start()
    trace = folder / "trace"
    strace = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o"]
    if (
        shutil.which("strace")
        and subprocess.run([*strace, "/dev/null", "true"], check=False).returncode == 0
    ):
        command = [*strace, str(trace), *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seen = _ADDRESS.findall(trace.read_text(errors="replace")) if trace.exists() else None
    addresses = (
        None if seen is None else sorted({a or b for a, b in seen if not (a or b).startswith(_OWN)})
    )
    output = (done.stdout + done.stderr)[-3000:]
    print(
        json.dumps(
            {
                "status": done.returncode,
                "queries": queries,
                "addresses": addresses,
                "output": output,
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
