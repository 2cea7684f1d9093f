"""The command ``pvlr teach``: what it prints and writes, and options that do not fit."""

from __future__ import annotations

import json
import re

import pytest
from typer.testing import CliRunner

from pvlr_sdk import LabelBank, Tagger, errors
from pvlr_sdk.cli import app


def run(*arguments):
    return CliRunner().invoke(app, ["teach", *map(str, arguments)])


@pytest.mark.slow
def test_the_command(open_plan, folders, tmp_path):
    out = tmp_path / "bank.safetensors"
    first = [
        "--label",
        "mug",
        "--positives",
        folders / "is",
        "--negatives",
        folders / "not",
        "-o",
        out,
    ]
    done = run(open_plan, *first)
    assert done.exit_code == 0, done.output
    assert "mug: 6 photos show it, 18 do not" in done.stdout
    assert re.search(
        r"precision +\d+\.\d+ \(\d+\.\d to \d+\.\d\)\n.*\n.*25\.0 of 100 photos show it",
        done.stdout,
    )
    assert "mug: Add examples that" in done.stderr
    assert done.stdout.endswith(f"{tmp_path / 'bank.html'}\n{out}\n")
    bank = LabelBank.load(out)
    assert bank.names[-1] == "mug"
    with pytest.raises(errors.OptionError, match=r"--out: expected a new file.*add --bank"):
        app(["teach", *map(str, [open_plan, *first])], standalone_mode=False)
    report = (tmp_path / "bank.html").read_bytes()
    third = [
        "--label",
        "my/../tub",
        "--positives",
        folders / "is",
        "--negatives",
        folders / "not",
        "--bank",
        out,
    ]
    done = run(open_plan, *third, "-o", out)
    assert done.stdout.endswith(f"{tmp_path / 'bank.html'}\n{out}\n")
    both = (tmp_path / "bank.html").read_text()
    section = re.search(r"<section data-label=.mug.>.*?</section>", report.decode(), re.DOTALL)
    assert section[0] in both  # a page of all labels, with the photos of the first
    for name in ("mug", "my/../tub"):
        assert both.count(f"<tr><td>{name}</td><td>6 show it, 18 do not</td><td>25.0</td>") == 1
    run(open_plan, "--bank", out, "--forget", "my/../tub", "-o", out)
    assert (tmp_path / "bank.html").read_bytes() == report
    (tmp_path / "is").mkdir()
    (tmp_path / "is" / "broken.png").write_bytes(b"no image")
    second = [
        "--label",
        "pen",
        "--positives",
        folders / "not" / "0.png",
        "--positives",
        tmp_path / "is",
    ]
    second += [
        "--negatives",
        folders / "is",
        "--bank",
        out,
        "-o",
        out,
        "--report",
        tmp_path / "pen.html",
        "--json",
    ]
    done = run(open_plan, *second)
    assert done.exit_code == 2
    report = json.loads(done.stdout)
    assert [label["label"] for label in report["labels"]] == ["pen"]
    assert LabelBank.load(out).names == [*bank.names, "pen"]
    done = run(open_plan, "--bank", out, "--forget", "pen", "-o", out)
    assert done.exit_code == 0, done.output
    assert out.read_bytes() == bank.to_bytes()


def test_a_label_is_learned_with_its_words_unless_they_are_not_wanted(open_plan, folders, tmp_path):
    examples = ["-l", "cat", "--positives", folders / "is", "--negatives", folders / "not"]
    for name, *option in (("words",), ("photos", "--no-words")):
        done = run(
            open_plan,
            *examples,
            "-o",
            tmp_path / f"{name}.safetensors",
            "--json",
            "--replace",
            *option,
        )
        assert done.exit_code == 0, done.output
        [label] = json.loads(done.stdout)["labels"]
        assert label["words"] == (name == "words")


def test_banks_of_sites_are_joined_and_signed(
    open_plan, folders, tmp_path, keys, sign, monkeypatch
):
    sites = {site: tmp_path / f"{site}.safetensors" for site in ("door", "yard")}
    for (site, bank), shows in zip(sites.items(), ("is", "not"), strict=True):
        other = folders / ("not" if shows == "is" else "is")
        assert (
            run(
                open_plan,
                "-l",
                site,
                "--positives",
                folders / shows,
                "--negatives",
                other,
                "-o",
                bank,
            ).exit_code
            == 0
        )
    both = tmp_path / "both.safetensors"
    command = ["bank", "join", *map(str, sites.values()), "-o", str(both)]
    assert CliRunner().invoke(app, command).exit_code == 0
    joined = LabelBank.load(both)
    assert list(joined.taught) == ["door", "yard"]
    assert not any(
        part in both.read_bytes() for part in (b".png", b"PNG", b"JFIF", str(folders).encode())
    )
    sign(both, keys.make("me"))
    monkeypatch.setenv("PVLR_TRUST", str(keys.trusted))
    monkeypatch.setenv("PVLR_STATE", str(tmp_path / "versions.json"))
    assert LabelBank.load(both).signature is not None
    with pytest.raises(errors.SignatureError):
        LabelBank.load(sites["door"])


def test_photos_are_tagged_with_the_bank_that_is_given(open_plan, folders, tmp_path):
    photo, bank = folders / "is" / "0.png", tmp_path / "bank.safetensors"
    with Tagger(open_plan) as tagger:
        tagger.label_bank.select(tagger.labels[1:3]).save(bank)
        names = tagger.labels[1:3]
    command = [
        "tag",
        str(photo),
        "--plan",
        str(open_plan),
        "--bank",
        str(bank),
        "--threshold",
        "0",
        "--json",
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    assert sorted(tag["label"] for tag in json.loads(done.stdout)["tags"]) == sorted(names)
    bank.write_bytes(b"no bank")
    with pytest.raises(errors.LabelBankError, match=r"bank\.safetensors"):
        app(command, standalone_mode=False)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            [],
            "--positives: expected one --label with --positives and --negatives, or .* got neither",
        ),
        (["--label", "mug", "--positives", "."], "got --label, --positives"),
        (["--positives", ".", "--negatives", "."], "got --positives, --negatives"),
        (
            ["--label", "a", "--label", "b", "--positives", ".", "--negatives", "."],
            "one --label with",
        ),
        (["--labels", "l.csv"], "or --labels with --images, got --labels"),
        (["--labels", "l.csv", "--images", ".", "--negatives", "."], "or --labels with --images"),
        (["--forget", "mug"], "--forget: expected --bank, and nothing to teach, got no --bank"),
    ],
)
def test_options_that_do_not_fit(open_plan, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(errors.OptionError, match=message):
        app(["teach", str(open_plan), "-o", "bank.safetensors", *arguments], standalone_mode=False)
    assert not list(tmp_path.iterdir())


def test_nothing_is_written_after_an_error(open_plan, folders, tmp_path):
    out = tmp_path / "new" / "bank.safetensors"
    arguments = [
        "--label",
        "mug",
        "--positives",
        str(folders / "is"),
        "--negatives",
        str(tmp_path),
        "-o",
        str(out),
    ]
    with pytest.raises(errors.OptionError, match="negatives"):
        app(["teach", str(open_plan), *arguments], standalone_mode=False)
    arguments[5], arguments[6:] = str(folders / "not"), ["-o", str(out), "--report", str(tmp_path)]
    with pytest.raises(errors.OutputError):
        app(["teach", str(open_plan), *arguments], standalone_mode=False)
    assert not out.exists()


@pytest.mark.slow
def test_the_command_works_without_pytorch(without_pytorch, open_plan, folders, tmp_path):
    photos = ["--positives", folders / "is", "--negatives", folders / "not"]
    without_pytorch("teach", open_plan, "--label", "mug", "-o", "bank.safetensors", *photos)
    assert LabelBank.load(tmp_path / "bank.safetensors").taught
