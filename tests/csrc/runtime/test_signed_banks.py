"""libpvlr and LabelBank.load ask for the same signatures of label banks that are no part of a bundle."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import LabelBank, Tagger, errors
from tests.pvlr_sdk.labels.tiny_open import random_bank

from .conftest import Runtime
from .test_bundles import INVALID, OK, opener
from .test_open_labels import BANKS, python_refuses

pytestmark = pytest.mark.slow

NOT_SIGNED = 10
Change = Callable[[Path, Any, Any], object]
SIGNED: dict[str, tuple[Change, int]] = {
    "signed": (lambda bank, keys, sign: sign(bank, keys.make("me")), OK),
    "not signed": (lambda bank, keys, sign: keys.make("me"), NOT_SIGNED),
    "by another key": (
        lambda bank, keys, sign: (keys.make("me"), sign(bank, keys.make("x", trusted=False))),
        12,
    ),
    "changed": (
        lambda bank, keys, sign: (sign(bank, keys.make("me")), random_bank(3, 9).save(bank)),
        14,
    ),
    "damaged": (
        lambda bank, keys, sign: (
            sign(bank, keys.make("me")),
            bank.with_name(f"{bank.name}.sig").write_bytes(b"x"),
        ),
        11,
    ),
}


@pytest.mark.parametrize("name", SIGNED)
def test_trusted_keys(
    name: str, open_plan: Path, runtime: Runtime, bank_path: Path, keys: Any, sign: Any,
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
) -> None:  # fmt: skip
    """As LabelBank.load does."""
    change, expected = SIGNED[name]
    change(bank_path, keys, sign)
    plan = shutil.copytree(open_plan.parent, tmp_path / "own") / "engine.plan"
    sign(plan, keys.folder / "me.pem")
    environment = {"PVLR_TRUST": str(keys.trusted), "PVLR_STATE": str(tmp_path / "versions.json")}
    with opener(runtime, plan, **environment) as set_labels:
        status, message = set_labels(bank_path)
        assert status == expected, message
        # The bank of a bundle has the signature of the bundle.
        assert set_labels(plan.with_suffix(".labels.safetensors")) == (OK, "")
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    if expected == OK:
        assert LabelBank.load(bank_path).signature is not None
    else:
        with pytest.raises(errors.SignatureError):
            LabelBank.load(bank_path)


def test_the_version_of_a_signed_bank_is_recorded(
    open_plan: Path, runtime: Runtime, bank_path: Path, keys: Any, sign: Any, tmp_path: Path
) -> None:
    plan, state = (
        shutil.copytree(open_plan.parent, tmp_path / "own") / "engine.plan",
        tmp_path / "versions.json",
    )
    key = keys.make("me")
    sign(plan, key)
    with opener(runtime, plan, PVLR_TRUST=str(keys.trusted), PVLR_STATE=str(state)) as set_labels:
        sign(bank_path, key, version=3)
        assert set_labels(bank_path) == (OK, "")
        assert json.loads(state.read_text())[bank_path.name] == 3
        sign(bank_path, key, version=2)
        assert set_labels(bank_path)[0] == 15
        bank_path.write_bytes(BANKS["another space"][0])  # one that does not work is not recorded
        sign(bank_path, key, version=4)
        assert set_labels(bank_path)[0] == INVALID
        assert json.loads(state.read_text())[bank_path.name] == 3


@pytest.mark.parametrize("mode", [0o700, 0o720, 0o702])
def test_a_bank_of_this_user_in_the_state_folder_needs_no_signature(
    mode: int,
    open_plan: Path,
    runtime: Runtime,
    keys: Any,
    sign: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plan, state = (
        shutil.copytree(open_plan.parent, tmp_path / "own") / "engine.plan",
        tmp_path / "state",
    )
    sign(plan, keys.make("me"))
    (state / "banks").mkdir(parents=True)
    bank = state / "banks/bank.safetensors"
    random_bank(3, 0).save(bank)
    (state / "banks").chmod(mode)
    outside = tmp_path / "link.safetensors"
    outside.symlink_to(bank)
    environment = {
        "PVLR_TRUST": str(keys.trusted),
        "PVLR_STATE": "",
        "STATE_DIRECTORY": f"{state}:/none",
    }
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    with opener(runtime, plan, **environment) as set_labels, Tagger(plan) as tagger:
        for path in (bank, outside, state / "../state/banks/bank.safetensors"):
            assert (
                (set_labels(path)[0] == OK) == (mode == 0o700) == (not python_refuses(tagger, path))
            )
        (state / "../other").mkdir()
        shutil.copy(bank, state / "../other")
        assert set_labels(state / "../other/bank.safetensors")[0] == NOT_SIGNED
