"""Runs ``pvlr serve`` for minutes with a good camera and all hostile ones, with the good one alone first.

    python -m tests.pvlr_sdk.cameras.stream.soak --minutes 10 --clients --full-disk

Prints what the good camera, the watchdog and ``/healthz`` did in each case, and every minute what the process uses.
``--clients`` adds hostile clients of the server; ``--full-disk`` fills the disk with the site file and the events at
random, and changes a threshold, so that each change that is acknowledged is an event (it mounts a tmpfs as root). Exit
status 1: the good camera, the watchdog or ``/healthz`` was affected.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from random import Random

import numpy as np

from .hostile import PAUSE, Serve, drip, flood, hang, hostile, jpeg, reset, served, then


def clients() -> list[Serve]:
    """What hostile clients of the server do."""
    post = b"POST /v1/tag HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\n"
    upgrade = (
        b"GET /v1/live HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    length = b"Content-Length: 100000\r\n\r\n"
    return [
        hang,
        reset,
        lambda connection: hang(connection, os.urandom(1000)),
        partial(drip, first=b"GET / HTTP/1.1\r\nX: ", again=b"y"),
        partial(flood, first=b"GET / HTTP/1.1\r\n", again=b"X: y\r\n"),
        partial(drip, first=post + length, again=b"0"),
        partial(reset, data=post + length + jpeg()),
        partial(
            flood, first=post + b"Transfer-Encoding: chunked\r\n\r\n", again=b"8\r\n01234567\r\n"
        ),
        partial(hang, data=post + b"Content-Length: %d\r\n\r\n" % len(jpeg()) + jpeg()),
        then(upgrade, lambda _: time.sleep(20)),  # a viewer that does not read
        partial(flood, first=upgrade, again=b"\x81\x84" + bytes(8)),
    ]


def attack(port: int, serve: Serve, over: threading.Event) -> None:
    """Connect again and again, from an address of its own."""
    while not over.wait(PAUSE):
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", port), 60, ("127.0.0.2", 0)) as connection,
        ):
            serve(connection)


def fill(disk: Path, port: int, over: threading.Event, answers: list[int]) -> None:
    """Fill the disk and free it at random, and change the threshold, so that an event begins or ends."""
    random, ballast, present = Random(7), disk / "ballast", True
    while not over.wait(random.uniform(5, 10)):
        if random.random() < 0.5:
            ballast.unlink(missing_ok=True)
        else:
            with suppress(OSError), ballast.open("ab") as file:
                while True:
                    file.write(bytes(4096))
                    file.flush()
        body = json.dumps({"thresholds": {"person": int(present)}}).encode()
        head = {"Content-Type": "application/json"}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/settings", body, head, method="PUT"
        )
        try:
            answers.append(urllib.request.urlopen(request, timeout=60).status)
            present = not present
        except urllib.error.HTTPError as error:
            answers.append(error.code)
    ballast.unlink(missing_ok=True)


def listen(channel: socket.socket, over: threading.Event, pings: list[float]) -> None:
    """Note when each ping of the watchdog arrives."""
    while not over.is_set():
        if channel.recv(100) == b"WATCHDOG=1":
            pings.append(time.monotonic())


def used(pid: int) -> dict[str, int]:
    """What a process uses."""
    memory = int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096 // 2**20
    counts = {
        name: len(os.listdir(f"/proc/{pid}/{folder}"))
        for name, folder in (("threads", "task"), ("files", "fd"))
    }
    return {"memory MB": memory, **counts}


def watch(
    cameras: dict[str, str], seconds: float, attacks: list[Serve], *, full: bool = False
) -> dict[str, object]:
    """Runs ``pvlr serve`` as systemd would, and reports the good camera, the pings and the states."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        channel = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        if full:
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=64m", "pvlr-test", folder], check=True
            )
            stack.callback(subprocess.run, ["umount", "-l", folder], check=True)
        channel.bind(f"{folder}/notify")
        channel.settimeout(60)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        entries = {
            name: {"uri": uri, "timeout": 2, "insecure": uri.startswith("https")}
            for name, uri in cameras.items()
        }
        events = {"thresholds": {"person": 0}, "labels": ["person"]}
        raw = {
            "cameras": entries,
            "events": events,
            "sinks": [{"kind": "jsonl", "path": f"{folder}/events"}],
        }
        Path(folder, "site.yaml").write_text(json.dumps(raw))
        environment = {
            **os.environ,
            "NOTIFY_SOCKET": f"{folder}/notify",
            "WATCHDOG_USEC": "3000000",
        }
        command = ["pvlr", "serve", "--config", f"{folder}/site.yaml", "--port", str(port)]
        process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        stack.callback(process.kill)
        while channel.recvfrom(100)[0] != b"READY=1":
            pass
        over, answers, pings = threading.Event(), [], []
        threads = [
            threading.Thread(target=attack, args=(port, serve, over), daemon=True)
            for serve in 2 * attacks
        ]
        threads += [threading.Thread(target=listen, args=(channel, over, pings), daemon=True)]
        threads += (
            [threading.Thread(target=fill, args=(Path(folder), port, over, answers))]
            if full
            else []
        )
        for thread in threads:
            thread.start()
        began, failing, states, slowest, minutes = time.monotonic(), 0, {}, 0.0, [used(process.pid)]
        while not over.wait(1) and time.monotonic() < began + seconds:
            asked = time.monotonic()
            health = ask(port, "/healthz")
            slowest = max(slowest, time.monotonic() - asked)
            failing += health is None or health["status"] != "ok"
            for name, state in (health or {}).get("cameras", {}).items():
                states.setdefault(name, set()).add(state)
            if time.monotonic() > began + 60 * len(minutes) and process.poll() is None:
                minutes.append(used(process.pid))
                told = len(minutes) - 1, minutes[-1], len(pings), failing, slowest, Counter(answers)
                print(*told, file=sys.stderr, flush=True)
        over.set()
        if full:
            threads[-1].join()
        found = None
        # where other programs have the cores, it takes a while
        while found is None and process.poll() is None:
            found = ask(port, "/v1/cameras")
        stats = {camera["name"]: camera for camera in found["cameras"]}
        minutes.append(used(process.pid))
        ended = process.poll()
        process.terminate()
        process.wait(10)
        lines = [json.loads(line) for line in Path(folder, "events").read_text().splitlines()]
        shown = (
            "state",
            "captured",
            "tagged",
            "dropped",
            "late",
            "reconnects",
            "age_p50",
            "age_p99",
        )
        return {
            "pings": len(pings),
            "longest pause of pings": round(max(np.diff(pings)), 2),
            "/healthz failing": failing,
            "/healthz slowest": round(slowest, 2),
            "ended": ended,
            "used at the start, after 10 minutes, half of the time and all": [
                minutes[at] for at in (0, min(10, len(minutes) - 1), len(minutes) // 2, -1)
            ],
            "settings by status": dict(Counter(answers)),
            "good": {key: stats["good"][key] for key in shown},
            "events of good": [line["event"] for line in lines if line["camera"] == "good"],
            "never lost": sorted(set(cameras) - set(states)),
            "frames": {name: one["captured"] for name, one in stats.items()},
        }


def ask(port: int, path: str) -> dict | None:
    with suppress(OSError):
        return json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10))
    return None


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--clients", action="store_true")
    parser.add_argument("--full-disk", action="store_true")
    options = parser.parse_args()
    seconds, attacks = 60 * options.minutes, clients() if options.clients else []
    good = {"good": "test://?fps=4&size=320x240"}
    with served(hostile()) as uris:
        alone, beside = (
            watch(good, min(60, seconds), []),
            watch(good | uris, seconds, attacks, full=options.full_disk),
        )
    for name, result in (("alone", alone), ("beside hostile cameras", beside)):
        print(f"{name}:", *(f"  {key}: {value}" for key, value in result.items()), sep="\n")
    bad = (
        beside["/healthz failing"]
        or beside["ended"] is not None
        or beside["longest pause of pings"] > 3
    )
    changes = 1 + beside["settings by status"].get(200, 0)
    expected = [("on", "off")[number % 2] for number in range(changes + changes % 2)]
    return int(
        bool(bad)
        or beside["events of good"] != expected
        or beside["never lost"] != ["flood", "good"]
    )


if __name__ == "__main__":
    sys.exit(main())
