"""``pvlr tag --out FILE --resume``: what a file keeps, what is tagged again, and what is refused."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import pytest

from pvlr_sdk import errors
from pvlr_sdk.cli.output_file import HEADER, OutputFile
from pvlr_sdk.frames.find import InputFrame

NAMES = ["=1+1.jpg", 'say "a".jpg', "two\nlines.jpg", "plain,comma.jpg"]


@pytest.fixture
def odd(folder: Path) -> Path:
    """Images whose names a CSV must quote or mark, and one that is damaged."""
    (folder / "damaged.jpg").write_bytes(b"not an image")
    for name in NAMES:
        shutil.copy(folder / "a.jpg", folder / name)
    return folder


def sources(path: Path, as_csv: bool) -> list[str]:
    if not as_csv:
        return [json.loads(line)["source"] for line in path.read_text().splitlines()]
    with path.open(newline="") as file:
        rows = list(csv.reader(file))[1:]
    return list(dict.fromkeys(row[0] for row in rows))


@pytest.mark.parametrize("form", [(), ("--csv",)])
def test_only_the_last_image_is_tagged_again(pvlr, plan, odd, tmp_path, monkeypatch, form):
    monkeypatch.chdir(odd)
    out = tmp_path / "tags"
    run = ("tag", ".", "--plan", plan, "--threshold", 0, "--out", out, *form)
    assert pvlr(*run).code == 2
    first = out.read_bytes()
    done = pvlr(*run, "--resume")
    assert (done.code, done.out) == (2, "")  # a failed image is tried again
    names = sources(out, bool(form))
    assert len(names) == len(set(names)) == len(list(odd.rglob("*.*"))) - 1
    size = first.rstrip(b"\n").rfind(b"\n") + 1 if not form else first.find(names[-1].encode())
    assert out.read_bytes()[:size] == first[:size]


@pytest.mark.parametrize("form", [(), ("--csv",)])
@pytest.mark.parametrize("cut", [1, 30, 150])
def test_a_line_that_was_cut_off_is_written_again(pvlr, plan, odd, tmp_path, form, cut):
    out = tmp_path / "new/tags"
    run = ("tag", *(odd / name for name in NAMES), "--plan", plan, "--threshold", 0, "--out", out, *form)
    assert pvlr(*run).code == 0
    whole = sources(out, bool(form))
    out.write_bytes(out.read_bytes()[:-cut])
    assert pvlr(*run, "--resume").code == 0
    assert sources(out, bool(form)) == whole


def test_frames_of_a_video_count_by_themselves(pvlr, plan, tmp_path, clip):
    out = tmp_path / "tags"
    run = ("tag", clip, "--plan", plan, "--every", 5, "--out", out)
    assert pvlr(*run).code == 0
    lines = out.read_text().splitlines()
    assert len(lines) > 2
    out.write_text("\n".join([*lines[:2], ""]))
    assert pvlr(*run, "--resume").code == 0
    assert [json.loads(line)["frame"] for line in out.read_text().splitlines()] == list(range(0, 5 * len(lines), 5))


@pytest.mark.parametrize(
    ("contents", "arguments", "message"),
    [
        (b"mine", ("--out", "FILE"), "--out: expected a new file, got .*, 4 bytes"),
        (b"mine", ("--out", "FILE", "--resume"), "--resume: expected results of pvlr tag as JSON lines"),
        (b"mine\n", ("--out", "FILE", "--resume"), "--resume: expected results of pvlr tag as JSON lines"),
        (b"[]\n", ("--out", "FILE", "--resume"), "--resume: expected results of pvlr tag as JSON lines"),
        (b"[" * 100_000 + b"\n", ("--out", "FILE", "--resume"), "--resume: expected results"),
        (HEADER.encode() + b"\nx\n", ("--out", "FILE", "--resume", "--csv"), "--resume: expected results .* as CSV"),
        (b'{"source": "a", "frame": null}\n', ("--out", "FILE", "--resume", "--csv"), "--resume: expected .* as CSV"),
        (None, ("--out", "/dev/null"), "--out: expected a file, got /dev/null"),
        (None, ("--out", "."), r"--out: expected a file, got \."),
        (None, ("--resume",), "--resume: expected --out FILE with it"),
    ],
)
def test_a_file_of_somebody_else_stays_as_it_is(pvlr, plan, folder, tmp_path, contents, arguments, message):
    path = tmp_path / "tags"
    if contents is not None:
        path.write_bytes(contents)
    done = pvlr("tag", folder / "a.jpg", "--plan", plan, *(path if one == "FILE" else one for one in arguments))
    assert done.code == 2
    assert re.search(f"OptionError: {message}", done.err), done.err
    assert contents is None or path.read_bytes() == contents


def test_a_full_disk_leaves_whole_images(tmp_path, monkeypatch):
    out = OutputFile(tmp_path / "tags", as_csv=False, resume=False)
    out.write('{"source": "a", "frame": null}')
    monkeypatch.setattr("os.write", lambda descriptor, data: len(data) - 3)
    with pytest.raises(errors.OutputError, match="No space left"):
        out.write('{"source": "b", "frame": null}')
    monkeypatch.undo()
    assert (tmp_path / "tags").read_text() == '{"source": "a", "frame": null}\n'
    again = OutputFile(tmp_path / "tags", as_csv=False, resume=True)
    assert not again.has(InputFrame("a", None, Path("a")))  # the last one is tagged again
    assert (tmp_path / "tags").read_bytes() == b""
