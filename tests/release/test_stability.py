"""What a release promises: public names stay, or the changelog says so, and files of earlier versions load."""

from __future__ import annotations

import importlib.util
import json
import logging
import re
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pvlr_sdk import LabelBank, Tagger, errors
from pvlr_sdk.cameras.site import load_config

ROOT = Path(__file__).parents[2]
LAST = Path(__file__).parent / "names-0.2.0.txt"
"""The list of the last release: a release copies docs/names.txt."""
VERSION = LAST.stem.removeprefix("names-")
EARLIER = Path(__file__).parent / "earlier"
"""Files that 0.1 (b72c464d) and 0.2 (7bde3fe) wrote, and the scores of 0.2's plan then."""
CHANGELOG = (ROOT / "CHANGELOG.md").read_text()


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("names", ROOT / "docs/names.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _path(line: str) -> list[str]:
    """``site cameras.*.url: string`` -> ``[site, cameras, url]``: the scopes of a name, and the name."""
    name = re.sub(r"\{\w+\}", "NAME", line.partition(": ")[0])
    kind, *words = name.split()
    dotted = [word if "/" in word else re.split(r"[.(]", word) for word in words]
    parts = [part for word in dotted for part in ([word] if isinstance(word, str) else word)]
    return [kind, *(part.strip("[])*") for part in parts if re.search("[a-zA-Z]", part))]


def _entries(changelog: str, version: str) -> list[set[str]]:
    """The words in the code spans of each entry since a version, dotted names also in parts."""
    newer = changelog.partition(f"\n## [{version}]")[0]
    entries = re.split(r"^(?:- |#+ )", newer, flags=re.M)
    words = (
        re.findall(r"[\w/.-]+", " ".join(re.findall(r"`([^`]+)`", entry))) for entry in entries
    )
    return [{part for word in entry for part in (word, *re.split(r"\.", word))} for entry in words]


def unannounced(last: list[str], now: list[str], changelog: str, version: str) -> list[str]:
    """The lines that are gone or changed although no entry names them, or the whole that they belonged to.

    An entry names what is gone in code, with what it belongs to: a field with its route, an option with its command.
    """
    kept = {tuple(path[:end]) for path in map(_path, now) for end in range(1, len(path) + 1)}
    entries = _entries(changelog, version)

    def announced(line: str) -> bool:
        path = _path(line)
        lengths = [end for end in range(2, len(path)) if tuple(path[:end]) not in kept]
        for end in (*lengths, len(path)):
            needed = {path[end - 1], *path[max(end - 2, 1) : end - 1]}
            if any(needed <= entry for entry in entries):
                return True
        return False

    return [line for line in sorted(set(last) - set(now)) if not announced(line)]


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_no_public_name_is_gone_or_changed_without_an_entry_in_the_changelog():
    assert unannounced(_lines(LAST), _lines(ROOT / "docs/names.txt"), CHANGELOG, VERSION) == []


@pytest.mark.slow
def test_the_list_is_that_of_this_version(script):
    assert script.names() == _lines(ROOT / "docs/names.txt"), (
        "python docs/names.py > docs/names.txt"
    )


def _planted(now: list[str], kind: str, lines: list[str]) -> list[str]:
    """What the check says if these are the lines of a kind."""
    others = [line for line in now if not line.startswith(f"{kind} ")]
    return unannounced(now, others + lines, "# Changelog\n\n## [Unreleased]\n", VERSION)


def test_a_removed_option_fails(script, monkeypatch):
    from typer.main import get_command

    def without_plan(app):
        command = get_command(app)
        tag = command.commands["tag"]
        tag.params = [parameter for parameter in tag.params if parameter.name != "plan"]
        return command

    now = _lines(ROOT / "docs/names.txt")
    assert _planted(now, "command", list(script._commands())) == []
    monkeypatch.setattr("typer.main.get_command", without_plan)
    gone = _planted(now, "command", list(script._commands()))
    assert gone == ["command pvlr tag --plan", "command pvlr tag -p"]
    entry = "# Changelog\n\n- Removed `--plan` (`-p`) of `pvlr tag`.\n\n## [0.2.0]\n"
    kept = [line for line in now if line not in gone]
    assert unannounced(now, kept, entry, VERSION) == []
    assert unannounced(now, kept, entry.replace("pvlr tag", "pvlr batch"), VERSION) == gone


def test_a_renamed_field_fails(script):
    from pvlr_sdk.cameras.serve.api.schemas import SettingsModel

    now = [f"http {key}" for key in _keys(script, SettingsModel.model_json_schema())]
    assert "http labels[].threshold: number, required" in now
    schema = json.loads(
        json.dumps(SettingsModel.model_json_schema()).replace('"threshold"', '"minimum"')
    )
    gone = _planted(now, "http", [f"http {key}" for key in _keys(script, schema)])
    assert gone == ["http labels[].threshold: number, required"]


def _keys(script, schema):
    return list(script._keys(schema, schema["$defs"]))


@pytest.mark.parametrize(
    ("member", "changed", "gone"),
    [
        ("int32_t width;\n", "int64_t width;\n", ["width: 4, int32_t width"]),
        ("int32_t width;\n  int32_t height;\n", "int32_t height;\n  int32_t width;\n",
         ["height: 5, int32_t height", "width: 4, int32_t width"]),
        ("  void* stream;", "  void* stream;\n  int32_t more;", []),
    ],
    ids=["another type", "another order", "grown at its end"],
)  # fmt: skip
def test_a_changed_struct_fails(script, monkeypatch, tmp_path, member, changed, gone):
    text = (ROOT / "csrc/include/pvlr/pvlr.h").read_text()
    before, frame, after = text.partition("typedef struct pvlr_frame {")
    header = tmp_path / "csrc/include/pvlr/pvlr.h"
    header.parent.mkdir(parents=True)
    header.write_text(before + frame + after.replace(member, changed, 1))
    monkeypatch.setattr(script, "ROOT", tmp_path)
    now = _lines(ROOT / "docs/names.txt")
    assert _planted(now, "c", list(script._header())) == [f"c pvlr_frame {name}" for name in gone]


@pytest.mark.parametrize("version", ["0.1", "0.2", "0.2-open"])
def test_plans_of_earlier_versions_give_their_scores(version):
    """0.2's open plan with a label bank that was taught then."""
    folder = EARLIER / version
    expected = json.loads((folder / "scores.json").read_text())
    taught = folder / "taught.labels.safetensors"
    frame = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    with Tagger(
        folder / "engine.plan", precision="fp32", bank=taught if taught.exists() else None
    ) as tagger:
        scores = dict(zip(tagger.labels, tagger.predict(frame).scores, strict=True))
    assert scores == pytest.approx(expected, abs=1e-5)


def test_a_signature_of_0_2_is_refused_by_an_error_that_says_what_to_do():
    with pytest.raises(errors.SignatureInvalidError, match=r"signed with 0\.2: then sign it again"):
        Tagger(EARLIER / "0.2/engine.plan", trust=EARLIER / "0.2/signer.pem")


def test_taught_labels_of_0_2_keep_their_provenance():
    bank = LabelBank.load(EARLIER / "0.2-open/taught.labels.safetensors")
    assert bank.taught["mark"]["positives"] == 10


@pytest.mark.parametrize(
    ("version", "ignored"),
    [
        ("0.1", ["stream.window"]),
        ("0.2", ["stream.window", "metrics.otlp", "metrics.interval", "deploy.max_slowdown",
                 "deploy.min_agreement", "deploy.sequential"]),
    ],
)  # fmt: skip
def test_site_files_of_earlier_versions_are_read(version, ignored, monkeypatch, caplog):
    """They have every key of their version; tests/pvlr_sdk/cameras/memory has a memory of version 4."""
    path = EARLIER / version / "site.yaml"
    for name in re.findall(r"\$([A-Z_]+)", path.read_text()):
        monkeypatch.setenv(name, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    with caplog.at_level(logging.WARNING):
        config = load_config(path)
    assert set(config.cameras) == {"door", "yard"}
    warned = [re.search(r"yaml: (\S+) has no effect", message)[1] for message in caplog.messages]
    assert warned == ignored
