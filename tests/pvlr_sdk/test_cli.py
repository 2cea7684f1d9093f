"""The command line as a user meets it: what it prints where, and how it ends."""

from __future__ import annotations

import csv
import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest

from pvlr_sdk import Tagger, __version__
from pvlr_sdk.cli import main

PVLR = [sys.executable, "-c", "from pvlr_sdk.cli import main; main()"]
COMMANDS = ("tag", "watch", "build", "info", "labels", "eval", "calibrate", "doctor", "train", "export")


class Done(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def pvlr(monkeypatch, capfd):
    def run(*arguments: Any) -> Done:
        monkeypatch.setattr(sys, "argv", ["pvlr", *map(str, arguments)])
        capfd.readouterr()
        try:
            main()
            code = 0
        except SystemExit as stop:
            code = int(stop.code or 0)
        return Done(code, *capfd.readouterr())

    return run


@pytest.fixture
def folder(tmp_path, photo) -> Path:
    folder = tmp_path / "photos"
    (folder / "sub").mkdir(parents=True)
    cv2.imwrite(str(folder / "a.jpg"), photo)
    cv2.imwrite(str(folder / "b.png"), photo[100:300:2, ::2])
    cv2.imwrite(str(folder / "sub/a.jpg"), photo[::-1])
    return folder


@pytest.fixture
def clip(tmp_path) -> Path:
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for index in range(20):
        writer.write(np.full((48, 64, 3), 12 * index, np.uint8))
    writer.release()
    return path


# -- help and errors in the call itself -----------------------------------------------------------------------------


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


@pytest.mark.parametrize("call", [["tag", "x.jpg", "--no-such-option"], ["nothing"], ["eval", "x.plan"]])
def test_a_wrong_call_exits_2(pvlr, call):
    done = pvlr(*call)
    assert done.code == 2
    assert done.out == ""
    assert "Traceback" not in done.err


# -- tag --------------------------------------------------------------------------------------------------------------


def test_json_lines_say_exactly_what_predict_says(pvlr, plan, folder):
    done = pvlr("tag", folder, "--plan", plan, "--json")
    assert (done.code, done.err) == (0, "")
    lines = [json.loads(line) for line in done.out.splitlines()]
    assert [line["source"] for line in lines] == [str(folder / name) for name in ("a.jpg", "b.png", "sub/a.jpg")]
    with Tagger(plan) as tagger:
        for line in lines:
            assert list(line) == ["source", "frame", "tags", "timing_ms"]
            assert line["frame"] is None
            assert line["tags"] == [
                {"label": tag.label, "score": tag.score, "threshold": tag.threshold}
                for tag in tagger.predict(line["source"])
            ]
            assert set(line["timing_ms"]) == {"decode", "preprocess", "inference", "head", "total"}


def test_threshold_and_top_k(pvlr, plan, folder):
    everything = json.loads(pvlr("tag", folder / "a.jpg", "--plan", plan, "--json", "--threshold", 0).out)
    with Tagger(plan) as tagger:
        assert {tag["label"] for tag in everything["tags"]} == set(tagger.labels)
    two = json.loads(pvlr("tag", folder / "a.jpg", "--plan", plan, "--json", "-t", 0, "-k", 2).out)
    assert two["tags"] == everything["tags"][:2]
    for wrong in (("--threshold", 1.5), ("--threshold", "nan"), ("--top-k", 0), ("--threads", 0)):
        done = pvlr("tag", folder / "a.jpg", "--plan", plan, *wrong)
        assert (done.code, done.out) == (2, "")
        assert "OptionError" in done.err


def test_csv(pvlr, plan, folder, clip):
    done = pvlr("tag", folder / "a.jpg", clip, "--every", 10, "--plan", plan, "--csv", "--threshold", 0)
    assert (done.code, done.err) == (0, "")
    rows = list(csv.DictReader(done.out.splitlines()))
    assert list(rows[0]) == ["source", "frame", "label", "score", "threshold"]
    assert [row["frame"] for row in rows[::5]] == ["", "0", "10"]
    with Tagger(plan, threshold=0) as tagger:
        assert [row["label"] for row in rows[:5]] == [tag.label for tag in tagger.predict(folder / "a.jpg")]
    none = pvlr("tag", folder / "a.jpg", "--plan", plan, "--csv", "--threshold", 1)
    assert none.out.splitlines()[1] == f"{folder / 'a.jpg'},,,,"


def test_a_video_is_tagged_frame_by_frame(pvlr, plan, clip):
    def frames(*pace: Any) -> list[int]:
        done = pvlr("tag", clip, "--plan", plan, "--json", *pace)
        assert (done.code, done.err) == (0, "")
        return [json.loads(line)["frame"] for line in done.out.splitlines()]

    assert frames() == list(range(20))
    assert frames("--every", 8) == [0, 8, 16]
    assert frames("--fps", 2) == [0, 5, 10, 15]
    assert pvlr("tag", clip, "--plan", plan, "--fps", 2, "--every", 2).code == 2


@pytest.mark.parametrize("form", [[], ["--json"], ["--csv"]])
def test_bad_files_in_a_folder_are_reported_and_all_others_tagged(pvlr, plan, folder, form):
    (folder / "aa.jpg").write_text("no picture at all")
    whole = (folder / "a.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    done = pvlr("tag", folder, folder / "gone.jpg", str(folder / "*.bmp"), "--plan", plan, *form)
    assert done.code == 2
    for name in ("a.jpg", "b.png", "sub/a.jpg"):
        assert str(folder / name) in done.out
    for name, error in (
        ("aa.jpg", "ImageDecodeError"),
        ("cut.jpg", "ImageDecodeError"),
        ("gone.jpg", "ImageNotFoundError"),
        ("*.bmp", "ImageNotFoundError"),
    ):
        assert name not in done.out
        assert any(name in line and error in line for line in done.err.splitlines())
    assert "4 of the inputs" in done.err.splitlines()[-1]
    assert "Traceback" not in done.err


def test_one_bad_file_is_one_message(pvlr, plan, tmp_path):
    path = tmp_path / "note.jpg"
    path.write_text("no picture at all")
    done = pvlr("tag", path, "--plan", plan)
    assert (done.code, done.out) == (2, "")
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith("pvlr: ImageDecodeError: ")


def test_draw_writes_one_annotated_copy_of_each_picture_and_touches_no_source(pvlr, plan, folder, clip):
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    done = pvlr("tag", folder, clip, "--every", 10, "--plan", plan, "--threshold", 0, "--draw", folder)
    assert (done.code, done.err) == (0, "")
    assert {path: path.read_bytes() for path in before} == before
    drawn = sorted(path.name for path in folder.rglob("*-tags.jpg"))
    assert drawn == ["a-2-tags.jpg", "a-tags.jpg", "b-tags.jpg", "clip-000000-tags.jpg", "clip-000010-tags.jpg"]
    assert np.abs(cv2.imread(str(folder / "a-tags.jpg")).astype(int) - cv2.imread(str(folder / "a.jpg"))).max() > 50


def test_draw_into_a_place_that_is_no_folder(pvlr, plan, folder):
    done = pvlr("tag", folder, "--plan", plan, "--draw", folder / "a.jpg")
    assert done.code == 2
    assert "OutputError" in done.err


def test_json_and_csv_exclude_each_other(pvlr, plan, folder):
    done = pvlr("tag", folder, "--plan", plan, "--json", "--csv")
    assert (done.code, done.out) == (2, "")
    assert "both" in done.err


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


# -- bundles ----------------------------------------------------------------------------------------------------------


def _cut(plan: Path) -> None:
    plan.write_bytes(plan.read_bytes()[:-1])


def _flip(plan: Path) -> None:
    data = bytearray(plan.read_bytes())
    data[len(data) // 2] ^= 1
    plan.write_bytes(bytes(data))


def _newer(plan: Path) -> None:
    manifest = json.loads(plan.with_suffix(".json").read_text())
    plan.with_suffix(".json").write_text(json.dumps({**manifest, "format": 99}))


def _garbage(plan: Path) -> None:
    plan.with_suffix(".json").write_text("{")


@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda plan: plan.unlink(), "PlanNotFoundError"),
        (_cut, "FileSizeError"),
        (_flip, "FileHashError"),
        (lambda plan: plan.with_suffix(".json").unlink(), "ManifestNotFoundError"),
        (_garbage, "ManifestError"),
        (_newer, "ManifestVersionError"),
        (lambda plan: plan.with_suffix(".labels.safetensors").unlink(), "LabelBankError"),
    ],
)
def test_a_damaged_bundle_gives_its_error_in_every_command(pvlr, own_plan, folder, damage, error):
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


def test_build_info_and_labels(pvlr, exported, tmp_path):
    plan = tmp_path / "new" / "my.plan"
    built = pvlr("build", exported.onnx, "--out", plan, "--precision", "fp32", "--json")
    assert (built.code, built.err) == (0, "")
    facts = json.loads(pvlr("info", plan, "--json").out)
    assert json.loads(built.out) == facts
    assert (facts["name"], facts["precision"], facts["plan"]) == ("tiny", "fp32", str(plan))
    with Tagger(plan) as tagger:
        assert tagger.info["precision"] == "fp32"
        labels = json.loads(pvlr("labels", plan, "--json").out)
        assert [label["label"] for label in labels] == tagger.labels
        assert [line.split("\t")[0] for line in pvlr("labels", plan).out.splitlines()] == tagger.labels
    text = pvlr("info", plan).out
    assert "tiny" in text
    assert "verified" in text


def test_build_from_what_is_no_network(pvlr, tmp_path, exported):
    (tmp_path / "model.onnx").write_text("no network")
    done = pvlr("build", tmp_path / "model.onnx", "--labels", exported.onnx.with_suffix(".labels.safetensors"))
    assert (done.code, done.out) == (2, "")
    assert "ModelError" in done.err
    assert not (tmp_path / "engine.plan").exists()


# -- eval, doctor, train ----------------------------------------------------------------------------------------------


def test_eval_json(pvlr, plan, folder):
    labels = folder / "labels.csv"
    labels.write_text("file,split,human,photographer\na.jpg,val,1,0\nb.png,val,0,1\nsub/a.jpg,train,1,0\n")
    mapping = folder / "voc=tiny.json"
    mapping.write_text('{"human": "person"}')
    call = ["eval", plan, "--images", folder, "--labels", labels, "--split", "val", "--map", mapping]
    done = pvlr(*call, "--json")
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    assert list(report)[:4] == ["mAP", "mAP_11pt", "images", "per_class"]
    assert report["images"] == 2
    assert report["mAP"] == report["per_class"]["person"]
    assert report["mAP"] in (50.0, 100.0)
    assert set(report["missing_labels"]) == {"cat", "coffee cup", "rocket", "dining table"}
    assert report["extra_columns"] == ["photographer"]
    text = pvlr(*call)
    assert text.code == 0
    assert f"{report['mAP']:.2f}" in text.out
    assert "photographer" in text.out


def test_eval_says_what_is_wrong(pvlr, plan, folder):
    labels, mapping = folder / "labels.csv", folder / "map.json"
    labels.write_text("file,split,person\na.jpg,val,1\ngone.jpg,val,0\n")
    mapping.write_text('{"person": "persom"}')
    call = ["eval", plan, "--images", folder, "--labels", labels, "--json"]
    for extra, error in (
        (["--map", mapping], "UnknownLabelError"),
        (["--map", folder / "none.json"], "LabelsFileError"),
        (["--split", "test"], "LabelsFileError"),
        (["--images", folder / "nowhere"], "ImageNotFoundError"),
    ):
        done = pvlr(*call, *extra)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"pvlr: {error}: ")
    done = pvlr(*call)
    assert done.code == 2  # one photo is not there: the measures are printed, and the status says they lack one
    assert json.loads(done.out)["images"] == 1
    assert "gone.jpg" in done.err


def test_calibrate(pvlr, own_plan, folder):
    labels = folder / "labels.csv"
    labels.write_text("file,split,human,cat\na.jpg,val,1,0\nb.png,val,1,0\nsub/a.jpg,train,0,1\n")
    call = ["calibrate", own_plan, "--images", folder, "--labels", labels, "--split", "val", "--map", "human=person"]
    old = json.loads(pvlr("labels", own_plan, "--json").out)
    done = pvlr(*call, "--objective", "recall=1", "--dry-run", "--json")
    assert (done.code, done.err) == (0, "")
    report = json.loads(done.out)
    assert (report["objective"], report["images"], report["written"]) == ("recall=1", 2, False)
    assert json.loads(pvlr("labels", own_plan, "--json").out) == old
    text = pvlr(*call, "--objective", "recall=1")
    assert (text.code, text.err) == (0, "")
    assert "person" in text.out
    assert "without photos  cat, coffee cup, rocket, dining table" in text.out
    new = json.loads(pvlr("labels", own_plan, "--json").out)
    assert [row["threshold"] for row in new] == [row["after"] for row in report["labels"]]
    assert new[0] != old[0]
    assert new[1:] == old[1:]
    tags = [json.loads(line)["tags"] for line in pvlr("tag", folder, "--plan", own_plan, "--json").out.splitlines()]
    assert all("person" in {tag["label"] for tag in of_photo} for of_photo in tags[:2])


def test_calibrate_says_what_is_wrong(pvlr, own_plan, folder):
    labels = folder / "labels.csv"
    labels.write_text("file,person\na.jpg,1\ngone.jpg,1\nb.png,0\n")
    call = ["calibrate", own_plan, "--images", folder, "--labels", labels, "--json"]
    for extra, error in (
        (["--objective", "accuracy"], "OptionError"),
        (["--images", folder / "nowhere"], "ImageNotFoundError"),
        (["--split", "test"], "LabelsFileError"),
    ):
        done = pvlr(*call, *extra)
        assert (done.code, done.out) == (2, "")
        assert done.err.startswith(f"pvlr: {error}: ")
    done = pvlr(*call)
    assert done.code == 2  # calibrated on the others; the status says that one photo is missing
    assert json.loads(done.out)["images"] == 2
    assert "gone.jpg" in done.err
    assert pvlr("calibrate", "--images", folder, "--labels", labels).code == 2  # never the packaged model by default


def test_doctor_json(pvlr, plan):
    done = pvlr("doctor", plan, "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["problems"] == []
    assert "all well" in pvlr("doctor", plan).out


@pytest.mark.parametrize("call", [["train", "config.yaml"], ["export", "checkpoint.safetensors"]])
def test_without_the_training_part(pvlr, monkeypatch, call):
    monkeypatch.setitem(sys.modules, "pvlr_training", None)  # what an import finds where it is not installed
    monkeypatch.delitem(sys.modules, f"pvlr_training.{call[0]}", raising=False)
    done = pvlr(*call)
    assert (done.code, done.out) == (2, "")
    assert "MissingPartError" in done.err
    assert "[train]" in done.err


# -- terminals, pipes and signals -------------------------------------------------------------------------------------


def _on_a_terminal(command: list[str], *, stdout: bool, cwd: Path | None = None) -> tuple[str, str, int]:
    """Runs with stderr, and stdout if wanted, on a pseudo-terminal: what that shows, the piped stdout, the status."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command,
        stdout=theirs if stdout else subprocess.PIPE,
        stderr=theirs,
        cwd=cwd,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(theirs)
    shown = bytearray()
    while select.select([ours], [], [], 60)[0]:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # Linux says so when the other side is closed
            break
    os.close(ours)
    piped = process.communicate(timeout=60)[0]
    return shown.decode(), (piped or b"").decode(), process.returncode


def test_a_terminal_shows_a_table_with_bars(plan, folder):
    path = folder / "[red]a.jpg"  # no markup: a name
    (folder / "a.jpg").rename(path)
    shown, _, code = _on_a_terminal(
        [*PVLR, "tag", path.name, "--plan", str(plan), "-t", "0.01"], stdout=True, cwd=folder
    )
    assert code == 0
    for words in (path.name, "512 x 512", "score", "threshold", "margin", "person", "━"):
        assert words in shown


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


def test_ctrl_c_ends_with_130(plan, folder, tmp_path):
    endless = tmp_path / "endless.jpg"
    os.mkfifo(endless)  # reading it waits for a writer that never comes
    process = subprocess.Popen(
        [*PVLR, "tag", str(folder / "a.jpg"), str(endless), "--plan", str(plan), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["source"].endswith("a.jpg")  # each line is printed when it is known
    process.send_signal(signal.SIGINT)
    _, messages = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "Traceback" not in messages


def test_a_reader_that_leaves_early_is_no_error_message(plan, clip):
    process = subprocess.Popen(
        [*PVLR, "tag", str(clip), "--plan", str(plan), "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert b"Traceback" not in process.stderr.read()
    process.wait(30)
