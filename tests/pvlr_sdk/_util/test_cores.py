"""Cores and memory: affinity and cgroup limits, read from a made-up cgroup tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pvlr_sdk._util.cores import available_cores, memory_limit


def cores(tmp_path: Path, group: str | None, limits: dict[str, str]) -> int:
    membership = tmp_path / "membership"
    if group is not None:
        membership.write_text(f"1:name=old:/x\n0::{group}\n")
    root = tmp_path / "cgroup"
    for name, text in limits.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        (root / name / "cpu.max").write_text(text)
    return available_cores(root, membership)


@pytest.mark.parametrize(
    ("group", "limits", "expected"),
    [
        (None, {}, 8),
        ("/", {}, 8),
        ("/a/b", {"a/b": "max 100000\n"}, 8),
        ("/a/b", {"a/b": "200000 100000\n"}, 2),
        ("/a/b", {"a": "300000 100000\n", "a/b": "max 100000\n"}, 3),
        ("/a/b", {"a": "300000 100000\n", "a/b": "600000 100000\n"}, 3),
        ("/", {".": "250000 100000\n"}, 2),
        ("/a", {"a": "50000 100000\n"}, 1),
        ("/a", {"a": "nonsense\n"}, 8),
        ("/a", {"a": "100000 0\n"}, 8),
        ("/a", {"a": "6400000 100000\n"}, 8),
        ("/../../elsewhere", {"a": "100000 100000\n"}, 8),
    ],
)
def test_quota(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    group: str | None,
    limits: dict[str, str],
    expected: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert cores(tmp_path, group, limits) == expected


def test_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3, 5}, raising=False)
    assert available_cores() <= 2
    monkeypatch.undo()
    assert 1 <= available_cores() <= (os.cpu_count() or 1)


@pytest.mark.parametrize(
    ("groups", "limits", "expected"),
    [
        ("", {}, None),
        ("0::/a/b\n", {"a/b/memory.max": "max\n"}, None),
        ("0::/a/b\n", {"a/b/memory.max": "4096\n", "memory.max": "max\n"}, 4096),
        ("0::/a/b\n", {"a/b/memory.max": "4096\n", "a/memory.max": "2048\n"}, 2048),
        ("0::/a\n", {"b/memory.max": "4096\n"}, None),
        ("5:cpu,memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "1024\n"}, 1024),
        (
            "5:memory:/of/the/host\n",
            {"memory/memory.limit_in_bytes": "1024\n"},
            1024,
        ),  # in a container
    ],
)
def test_memory(tmp_path: Path, groups: str, limits: dict[str, str], expected: int | None) -> None:
    root, membership = tmp_path / "cgroup", tmp_path / "membership"
    membership.write_text(groups)
    for name, text in limits.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    assert memory_limit(root, membership) == expected
