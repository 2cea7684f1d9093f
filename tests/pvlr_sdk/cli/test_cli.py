"""The command line: help, wrong calls, damaged bundles, ``pvlr doctor``, and commands that need training."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.main import get_command

from pvlr_sdk import __version__
from pvlr_sdk.cli import app
from pvlr_sdk.cli.commands import flattened

COMMANDS = (
    *(
        "tag",
        "watch",
        "serve",
        "build",
        "info",
        "labels",
        "eval",
        "verify",
        "thresholds",
        "bench",
        "doctor",
    ),
    *("train", "export", "report", "models", "sign", "verify-signature"),
    *("search", "why", "replay", "precision", "mine"),
)


@pytest.mark.slow
def test_help_lists_every_command_and_each_has_examples(pvlr):
    done = pvlr("--help")
    assert done.code == 0
    for command in COMMANDS:
        assert command in done.out
        page = pvlr(command, "--help")
        assert page.code == 0
        assert f"pvlr {command}" in page.out.split("Examples")[1]
    assert pvlr("--version").out.strip() == f"pvlr {__version__}"


def test_help_loads_nothing_heavy():
    code = (
        "import sys; from pvlr_sdk.cli import main; sys.argv = ['pvlr', '--help']\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([name for name in ('numpy', 'cv2', 'openvino', 'pydantic', 'torch') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "call", [["tag", "x.jpg", "--no-such-option"], ["nothing"], ["eval", "x.plan"]]
)
def test_a_wrong_call_exits_2(pvlr, call):
    done = pvlr(*call)
    assert done.code == 2
    assert done.out == ""
    assert "Traceback" not in done.err


@pytest.mark.parametrize("memory", [["--memory", ""], ["--memory="], ["-m", ""]])
def test_an_empty_path_is_not_the_current_folder(pvlr, tmp_path, monkeypatch, memory):
    monkeypatch.chdir(tmp_path)
    done = pvlr("watch", "none.mp4", *memory)
    name = memory[0].rstrip("=")
    assert (done.code, f"{name}: expected a value, got an empty string" in done.err) == (2, True)
    assert not list(tmp_path.iterdir())
    # a word like the name of its argument
    assert "none.mp4: expected" in pvlr("search", "words", "-m", "none.mp4").err


@pytest.mark.parametrize("name", ["watch", "serve"])
def test_a_first_try_needs_few_options(name):
    """Everything else is a key of the site file."""
    command = get_command(app).commands[name]
    assert len([param for param in command.params if param.name != "help"]) <= 20


@pytest.mark.slow
@pytest.mark.parametrize("command", [*COMMANDS, "models fetch", ""])
def test_help_fits_80_columns_and_gives_flags_no_type(monkeypatch, pvlr, command):
    def page(columns: int) -> str:
        monkeypatch.setenv("COLUMNS", str(columns))
        return pvlr(*command.split(), "--help").out

    def text(page: str) -> list[str]:
        """The description and the examples."""
        return [line.strip() for line in page.split("╭")[0].splitlines() if "Usage:" not in line]

    assert max(map(len, page(80).splitlines())) <= 80
    assert text(page(80)) == text(page(200))  # no line is wrapped
    assert "<bool>" not in page(80)


@dataclass(frozen=True)
class Engine:
    weights: Annotated[str, typer.Option(help="Needs a value.")]
    threads: Annotated[int, typer.Option("--threads", "-t")] = 2


def test_the_fields_of_a_dataclass_are_options() -> None:
    """In its place among the others, with their own types and defaults; what has none is required."""
    calls: list[tuple[str, Engine, bool]] = []

    def command(name: str, *, engine: Engine, fast: bool = typer.Option(False, "--fast")) -> None:
        calls.append((name, engine, fast))

    program = typer.Typer()
    program.command()(flattened(command))
    options = [param.name for param in get_command(program).params]
    assert options[:4] == ["name", "weights", "threads", "fast"]

    def run(*arguments: str) -> int:
        return int(get_command(program).main(arguments, standalone_mode=False) or 0)

    run("a", "--weights", "w", "-t", "3", "--fast")
    run("b", "--weights", "w")
    assert calls == [("a", Engine("w", 3), True), ("b", Engine("w", 2), False)]
    with pytest.raises(Exception, match="weights"):
        run("c")


def _flip(plan: Path) -> None:
    data = bytearray(plan.read_bytes())
    data[len(data) // 2] ^= 1
    plan.write_bytes(bytes(data))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "error"),
    [(lambda plan: plan.unlink(), "PlanNotFoundError"), (_flip, "FileHashError")],
)
def test_a_damaged_bundle_gives_its_error_in_every_command(pvlr, own_plan, folder, damage, error):
    """Of two kinds; test_bundle.py has all."""
    damage(own_plan)
    labels = folder / "labels.csv"
    labels.write_text("file,person\na.jpg,1\n")
    for call in (
        ["tag", folder / "a.jpg", "--plan", own_plan],
        ["tag", folder / "a.jpg", "--plan", own_plan, "--json"],
        ["info", own_plan],
        ["labels", own_plan, "--json"],
        ["eval", own_plan, "--images", folder, "--labels", labels, "--json"],
    ):
        done = pvlr(*call)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"pvlr: {error}: ")
        assert len(done.err.splitlines()) == 1
    doctor = pvlr("doctor", own_plan, "--json")
    assert doctor.code == 2
    assert error in json.loads(doctor.out)["plan"]["why"]


@pytest.mark.slow
def test_doctor_json(pvlr, plan):
    done = pvlr("doctor", plan, "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["problems"] == []
    assert "no problems" in pvlr("doctor", plan).out


@pytest.mark.parametrize("call", [["train", "config.yaml"], ["export", "checkpoint.safetensors"]])
def test_without_the_training_part(pvlr, monkeypatch, call):
    monkeypatch.setitem(sys.modules, "pvlr_training", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, f"pvlr_training.{call[0]}", raising=False)
    done = pvlr(*call)
    assert (done.code, done.out) == (2, "")
    assert "MissingPartError" in done.err
    assert "[train]" in done.err
