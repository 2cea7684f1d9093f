"""What systemd hears in this process; as a process of its own: test_watch.py."""

from __future__ import annotations

import socket

from pvlr_sdk.cameras.site.watchdog import watchdog


def test_a_systemd_that_is_away_for_a_moment_ends_nothing(tmp_path, monkeypatch):
    address = tmp_path / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(address))
    monkeypatch.setenv("WATCHDOG_USEC", "90000")
    with watchdog(lambda: True):  # READY=1 reaches nobody
        for _ in range(2):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.bind(str(address))
                channel.settimeout(10)
                assert [channel.recv(100) for _ in range(2)] == [b"WATCHDOG=1"] * 2
            address.unlink()
