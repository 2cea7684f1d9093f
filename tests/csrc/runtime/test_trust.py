"""libpvlr and Python accept and refuse the same signatures, for the same reason, and share the state file."""

from __future__ import annotations

import fcntl
import json
import threading
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk.bundle.bundle import labels_path

from .conftest import Runtime
from .test_bundles import flip, opener

pytest.importorskip("cryptography")
from tests.pvlr_sdk.trust.cases import (
    CASES,
    FILE,
    INVALID,
    OK,
    ROLLBACK,
    UNTRUSTED,
    Case,
    python_code,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", CASES)
def test_both_decide_the_same(
    name: str, case: Case, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, expected = CASES[name]
    change(case)
    monkeypatch.setenv("PVLR_TRUST", str(case.trust))
    assert python_code(case.plan) == expected
    with opener(runtime, PVLR_TRUST=str(case.trust), PVLR_STATE=str(case.state)) as open_plan:
        status, message = open_plan(case.plan)
    assert status == expected, message


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_every_byte_of_the_signature_and_of_the_bank(
    kind: str, case: Case, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PVLR_TRUST", str(case.trust))
    case.sign(case.plan, case.keys.make("me", kind), version=2)
    with opener(runtime, PVLR_TRUST=str(case.trust), PVLR_STATE="") as open_plan:
        assert open_plan(case.plan) == (OK, "")
        for path in (case.path, labels_path(case.plan)):
            data = path.read_bytes()
            for position in range(len(data)):
                path.write_bytes(flip(data, position, position % 8))
                status, message = open_plan(case.plan)
                assert status in ((INVALID, UNTRUSTED) if path == case.path else (FILE,)), message
                assert python_code(case.plan) == status
            path.write_bytes(data)
        assert open_plan(case.plan) == (OK, "")


@pytest.mark.parametrize("kind", ["p256", "ed25519"])
def test_the_state_file_is_the_one_of_python(
    kind: str, case: Case, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PVLR_TRUST", str(case.trust))
    case.sign(case.plan, case.keys.make("me", kind), version=7)
    case.state.write_text('{"other": 1, "\\u00e4": 2}')
    left = case.state.with_name(".versions.tmp")  # by a process that was killed
    left.touch(0o600)
    left.write_text("x" * 1000)
    with opener(runtime, PVLR_TRUST=str(case.trust), PVLR_STATE=str(case.state)) as open_plan:
        assert open_plan(case.plan) == (OK, "")
        assert case.state.read_text() == '{\n "other": 1,\n "tiny": 7,\n "\\u00e4": 2\n}\n'
        assert not left.exists()
        assert case.state.stat().st_mode & 0o777 == 0o600
        case.sign(case.plan, case.keys.folder / "me.pem", version=6)
        assert open_plan(case.plan)[0] == python_code(case.plan) == ROLLBACK


def test_where_the_state_file_is(case: Case, runtime: Runtime, tmp_path: Path) -> None:
    """As in Python: the folder of the service, else that of the user; a bundle that does not work is not recorded."""
    places = {
        "STATE_DIRECTORY": f"{tmp_path}/service:/none",
        "XDG_STATE_HOME": str(tmp_path / "xdg"),
        "HOME": str(tmp_path),
    }
    found = [tmp_path / name for name in ("service", "xdg/pvlr_sdk", ".local/state/pvlr_sdk")]
    while places:
        assert not found[0].exists()
        with opener(
            runtime, **{"PVLR_TRUST": str(case.trust), "XDG_STATE_HOME": "", **places}
        ) as open_plan:
            assert open_plan(case.plan) == (OK, "")
        assert json.loads((found.pop(0) / "versions.json").read_text()) == {"tiny": 2}
        places.pop(next(iter(places)))


def test_a_lock_is_waited_for(case: Case, runtime: Runtime) -> None:
    """While another process records a newer version, none is overwritten."""
    lock = case.state.with_suffix(".lock")
    with (
        opener(runtime, PVLR_TRUST=str(case.trust), PVLR_STATE=str(case.state)) as open_plan,
        lock.open("w") as file,
    ):
        fcntl.flock(file, fcntl.LOCK_EX)
        opened: list[Any] = []
        thread = threading.Thread(target=lambda: opened.append(open_plan(case.plan)))
        thread.start()
        inode = f":{lock.stat().st_ino} "
        while not any(
            "->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines()
        ):
            assert thread.is_alive()
        case.state.write_text('{"tiny": 5}')
        fcntl.flock(file, fcntl.LOCK_UN)
        thread.join()
    assert opened == [(OK, "")]
    assert json.loads(case.state.read_text()) == {"tiny": 5}
