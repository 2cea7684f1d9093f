"""Functions in a process of their own: what they return, and what they cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import errors
from pvlr_sdk.frames.isolated import run_isolated
from pvlr_sdk.frames.isolated.process import ProcessFailedError


def test_arguments_and_results(functions: Any) -> None:
    given = [None, True, 1.5, "text \u20ac", [1, {"a": "b"}]]
    assert run_isolated(functions.echo, b"\0" * 5_000_000, *given, b"") == ["5000000 bytes", *given, "0 bytes"]


def test_arguments_of_any_size(functions: Any) -> None:
    text, numbers = "x" * 300_000, list(range(50_000))
    assert run_isolated(functions.sizes, text, b"\0" * 5, numbers) == [300_000, 5, 50_000]


def test_what_is_not_permitted(functions: Any, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    actions = [
        "connect", "write", "append", "change", "remove", "rename", "folder", "link", "program", "fork", "kill",
    ]  # fmt: skip
    assert run_isolated(functions.attempt_all, actions, str(tmp_path)) == dict.fromkeys(actions, "PermissionError")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("old", "old")]


def test_what_is_permitted(functions: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PVLR_TOKEN", "secret")
    (tmp_path / "old").write_text("old")
    done = run_isolated(functions.attempt_all, ["read", "thread", "environment"], str(tmp_path))
    assert (done["read"], done["thread"]) == ("old", None)
    assert "PVLR_TOKEN" not in done["environment"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "limits", "reason"),
    [
        ("memory", {"memory_bytes": 2**29}, "MemoryError"),
        ("crash", {}, "crashed"),
        ("forever", {"seconds": 0.5}, "took more than 0.5 s"),
        ("nothing JSON", {}, "status 1"),
    ],
)
def test_failures(functions: Any, action: str, limits: dict[str, Any], reason: str) -> None:
    with pytest.raises(errors.IsolationError, match=reason):
        run_isolated(functions.attempt, action, "/nowhere", **limits)


def test_typed_errors_come_through(functions: Any) -> None:
    with pytest.raises(errors.ModelError, match=r"plan: expected a, got b\. c"):
        run_isolated(functions.attempt, "error", "/nowhere")


@pytest.mark.parametrize(
    "message",
    [b"\xff", b"[]", b"{}", b'{"error": []}', b'{"error": ["install_hint", "", "", "", ""]}', b"[" * 60_000],
)
def test_any_answer_is_a_result_or_a_failure(message: bytes) -> None:
    from pvlr_sdk.frames.isolated import calls

    with pytest.raises(ProcessFailedError):
        calls._unpacked(message)


def test_a_network_runs_within_the_limits(functions: Any, exported: Any) -> None:
    shapes = run_isolated(functions.inference, exported.onnx.read_bytes(), 2)
    assert [shape[0] for shape in shapes] == [1, 1]
