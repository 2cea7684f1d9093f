"""``pvlr`` on a terminal, in a pipe, and interrupted."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from rich import progress

from pvlr_sdk.cli.screen import _pace

PVLR = [sys.executable, "-c", "from pvlr_sdk.cli import main; main()"]


@pytest.mark.slow
def test_names_beyond_the_terminals_encoding_do_not_end_a_run(plan, folder):
    odd = folder / os.fsdecode(b"\xff\xfe \x1b[31m.jpg")
    shutil.copy(folder / "a.jpg", odd)
    for form in ([], ["--json"], ["--csv"]):
        done = subprocess.run(
            [*PVLR, "tag", str(folder), "--plan", str(plan), *form],
            capture_output=True,
            check=True,
            env={**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
        )
        assert done.stdout.count(b"[31m.jpg") >= 1
        assert done.stdout.count(b"sub/a.jpg") >= 1  # the one after it
        assert form == ["--csv"] or b"\x1b" not in done.stdout


def _on_a_terminal(
    command: list[str],
    *,
    stdout: bool,
    cwd: Path | None = None,
    columns: int = 80,
    interrupt_at: str | None = None,
) -> tuple[str, str, int]:
    """Run with stderr, and maybe stdout, on a pseudo-terminal; returns its output, the piped stdout and the status.

    ``interrupt_at``: send SIGINT when this text appears.
    """
    ours, theirs = pty.openpty()
    piped = tempfile.TemporaryFile()  # noqa: SIM115 - not a pipe, which would fill and stop the command
    process = subprocess.Popen(
        command,
        stdout=theirs if stdout else piped,
        stderr=theirs,
        cwd=cwd,
        env={**os.environ, "TERM": "xterm", "COLUMNS": str(columns)},
    )
    os.close(theirs)
    shown = bytearray()
    while select.select([ours], [], [], 60)[0]:
        try:
            shown += os.read(ours, 65536)
            if interrupt_at and interrupt_at in shown.decode(errors="replace"):
                process.send_signal(signal.SIGINT)
                interrupt_at = None
        except OSError:  # on Linux: the other side is closed
            break
    os.close(ours)
    process.wait(60)
    piped.seek(0)
    return shown.decode(), piped.read().decode(), process.returncode


@pytest.mark.slow
def test_a_terminal_shows_a_table_with_bars(plan, folder):
    path = folder / "[red]a.jpg"  # a name, not markup
    (folder / "a.jpg").rename(path)
    shown, _, code = _on_a_terminal(
        [*PVLR, "tag", path.name, "--plan", str(plan), "-t", "0.01"], stdout=True, cwd=folder
    )
    assert code == 0
    for words in (path.name, "512 x 512", "score", "threshold", "margin", "person", "━"):
        assert words in shown


@pytest.mark.parametrize(
    ("call", "line"),
    [
        (["info", "PLAN"], r"^ backend +openvino"),
        (["doctor", "PLAN"], r"^ result +no problems"),
        (["tag", "sub/../sub/../a.jpg", "-t", "1", "-p", "PLAN"], r"a.jpg  512 x 512, [0-9.]+ ms$"),
        (["models"], r"^pvlr-lite2-open-448 .*(checkout|absent)$"),
        pytest.param(
            ["bench", "PLAN", "--seconds", "0.1"],
            r"^ inference( +[0-9]+[.][0-9]{2}){7}$",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_80_columns_suffice(plan, folder, call, line):
    """No line is longer, and neither a title nor a row of numbers is wrapped. Messages stay whole."""
    command = [*PVLR, *(str(plan) if word == "PLAN" else word for word in call)]
    shown, _, code = _on_a_terminal(command, stdout=True, cwd=folder, columns=80)
    assert code == 0
    lines = [
        text.split("\r")[-1].rstrip()
        for text in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).split("\r\n")
    ]
    assert [text for text in lines if len(text) > 80 and not text.startswith("pvlr: ")] == []
    assert any(re.search(line, text) for text in lines), "\n".join(lines)


@pytest.mark.slow
def test_the_progress_bar_stays_out_of_the_data(plan, clip):
    command = [*PVLR, "tag", str(clip), "--plan", str(plan), "--json"]
    shown, piped, code = _on_a_terminal(command, stdout=False)
    assert code == 0
    assert [json.loads(line)["frame"] for line in piped.splitlines()] == list(range(20))
    assert "Tagging" in shown
    assert '"source"' not in shown
    together, _, code = _on_a_terminal(command, stdout=True)
    assert code == 0
    assert together.count('"source"') == 20


def test_the_rate_is_of_the_whole_run_and_starts_after_a_second():
    """The first results come almost at once, because several images are in flight."""
    clock = [0.0]
    bar = progress.Progress(get_time=lambda: clock[0])
    bar.add_task("", total=100)
    (task,), rate = bar.tasks, _pace("images")
    shown = []
    for now, done in ((0.5, 1), (0.5001, 8), (2.0, 40), (10.0, 90)):
        clock[0] = now
        bar.update(task.id, completed=done)
        shown.append(str(rate.render(task)))
    assert shown == ["", "", "20 images/s, 0:00:03 left", "9.0 images/s, 0:00:01 left"]


@pytest.mark.slow
def test_a_terminal_shows_speed_and_time_remaining_until_ctrl_c(plan, folder):
    for number in range(6000):
        os.link(folder / "a.jpg", folder / f"c{number:04}.jpg")
    command = [*PVLR, "tag", str(folder), "--plan", str(plan), "--json"]
    shown, piped, code = _on_a_terminal(command, stdout=False, interrupt_at=" left")
    assert code == 130
    plain = re.sub(r"\x1b\[[\d;?]*\w", "", shown)
    assert re.search(r"Tagging .* \d+/6003 [\d.]+ images/s, 0:0\d:\d\d left", plain)
    done = int(re.search(r"interrupted: (\d+) of 6003 images", shown)[1])
    assert "their lines are complete" in shown
    assert [json.loads(line)["frame"] for line in piped.splitlines()] == [None] * done
    assert "Traceback" not in shown


@pytest.mark.slow
def test_a_reader_that_leaves_early_is_no_error_message(plan, clip):
    process = subprocess.Popen(
        [*PVLR, "tag", str(clip), "--plan", str(plan), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    process.wait(30)
