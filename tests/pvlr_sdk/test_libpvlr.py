"""Where libpvlr is, or why it is not there; tests/release runs what a wheel contains."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from pvlr_sdk import errors, libpvlr


def test_an_installation_without_it(tmp_path: Path) -> None:
    with pytest.raises(
        errors.MissingPartError, match=r"expected an installation that contains it.*docs/cpp\.md"
    ):
        libpvlr.prefix(tmp_path)


def test_a_library_that_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib/libpvlr.so").write_bytes(b"not a library")
    with pytest.raises(
        errors.MissingPartError, match=r"the version of OpenVINO that .* got .*libpvlr\.so.*\[cpp\]"
    ):
        libpvlr.prefix(tmp_path)


@pytest.mark.parametrize(
    ("command", "call"), [("pvlr-tag", "pvlr_tag"), ("pvlr_sdk.libpvlr", "print_prefix")]
)
def test_the_commands_say_what_is_missing(
    command: str, call: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> Path:
        raise errors.MissingPartError("libpvlr", expected="it", got="none", hint="Install it.")

    monkeypatch.setattr(libpvlr, "prefix", missing)
    with pytest.raises(SystemExit, match="2"):
        getattr(libpvlr, call)()
    assert capsys.readouterr().err == f"{command}: libpvlr: expected it, got none. Install it.\n"


def test_the_command_becomes_the_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "bin/pvlr-tag"
    ran: list[tuple[str, list[str]]] = []
    monkeypatch.setattr(libpvlr, "prefix", lambda: tmp_path)
    monkeypatch.setattr(libpvlr.os, "execv", lambda *arguments: ran.append(arguments))
    monkeypatch.setattr(sys, "argv", ["/venv/bin/pvlr-tag", "--help"])
    libpvlr.pvlr_tag()
    assert ran == [(str(program), [str(program), "--help"])]
