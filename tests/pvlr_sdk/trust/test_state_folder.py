"""Label banks in the state folder need no signature, if only this user can write there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pvlr_sdk import LabelBank, errors
from pvlr_sdk._util.files import own_file
from pvlr_sdk.trust import verify
from tests.pvlr_sdk.labels import tiny_open

pytest.importorskip("cryptography")


def test_a_bank_in_the_state_folder_needs_no_signature(trusted: Path, state: Path) -> None:
    assert LabelBank.load(state / "bank.safetensors").signature is None


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
@pytest.mark.parametrize("what", ["bank.safetensors", ".", ".."])
def test_others_must_not_write_the_state(trusted: Path, state: Path, what: str, mode: int) -> None:
    (state / what).chmod(mode)
    try:
        with pytest.raises(errors.NotSignedError):
            LabelBank.load(state / "bank.safetensors")
    finally:
        (state / what).chmod(0o700)


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files away")
@pytest.mark.parametrize("what", ["bank.safetensors", "."])
def test_another_user_must_not_own_the_state(trusted: Path, state: Path, what: str) -> None:
    os.chown(state / what, 12345, -1)
    with pytest.raises(errors.NotSignedError):
        LabelBank.load(state / "bank.safetensors")


def test_links_out_of_the_state(trusted: Path, state: Path, tmp_path: Path) -> None:
    (state / "bank.safetensors").rename(tmp_path / "bank.safetensors")
    (state / "bank.safetensors").symlink_to(tmp_path / "bank.safetensors")
    for path in (state / "bank.safetensors", state / "../bank.safetensors"):
        with pytest.raises(errors.NotSignedError):
            LabelBank.load(path)


def test_a_link_that_is_replaced_after_it_was_checked(
    trusted: Path, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link, other = tmp_path / "bank.safetensors", tmp_path / "other.safetensors"
    link.symlink_to(state / "bank.safetensors")
    tiny_open.make_bank().select(["cat"]).save(other)
    monkeypatch.setattr(
        verify, "own_file", lambda path: [own_file(path), os.replace(other, link)][0]
    )
    assert LabelBank.load(link).names == tiny_open.make_bank().names
