"""Translations from dictionaries of dictd, and ``pvlr names``."""

from __future__ import annotations

import gzip
import json
import string
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pvlr_sdk import errors
from pvlr_sdk.cli import app
from pvlr_sdk.labels.translation import translated
from pvlr_sdk.labels.tree import LabelTree

DIGITS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
ENTRIES = [
    ("dog", "dog /d/\nKlammhaken <masc>\n see: {dogs}\n"),
    ("dog", 'dog /d/\nHund <masc> [zool.]\n "train a dog" - einen Hund abrichten\n'),
    ("dog", 'dog /d/ <v>\nverfolgen <v, trans>\n "a" - b\n "c" - d\n'),
    ("mouse", "mouse /m/\nMaus <fem> [zool.]\n see: {mice}, {a}, {b}\n"),
    ("mouse", "mouse /m/\nComputermaus <fem> [comp.]\n Synonym: {computer mouse}\n"),
    ("sofa", "sofa /s/\nSofa <neut>\n"),
    ("car", "contractors' risk (CAR)\nVersicherung <fem>\n"),
    ("tie", "tie /t/\n [Br.] Binder <masc, veraltet> [ugs.] , Krawatte <fem>\n"),
]


def number(value: int) -> str:
    digits = ""
    while value or not digits:
        value, digit = divmod(value, 64)
        digits = DIGITS[digit] + digits
    return digits


@pytest.fixture(params=[".dict.dz", ".dict"])
def dictionary(request, tmp_path: Path) -> Path:
    text = b"x" * 5000
    lines = []
    for word, entry in ENTRIES:
        data = entry.encode()
        lines.append(f"{word}\t{number(len(text))}\t{number(len(data))}\n")
        text += data
    index = tmp_path / "eng-deu.index"
    index.write_text("".join(lines), "utf-8")
    packed = gzip.compress(text) if request.param == ".dict.dz" else text
    index.with_suffix(request.param).write_bytes(packed)
    return index


def test_the_meaning_of_the_label_is_translated(dictionary):
    labels = ["dog", "mouse", "couch", "car", "tie", "zebra"]
    assert translated(LabelTree.packaged(), labels, dictionary) == {
        "dog": "Hund",
        "mouse": "Computermaus",
        "couch": "Sofa",  # of its synonym
        "tie": "Krawatte",
    }


@pytest.mark.parametrize("damage", ["none", "no text", "cut", "no index", "other"])
def test_a_damaged_dictionary(dictionary, damage):
    text = next(path for path in dictionary.parent.iterdir() if ".dict" in path.suffixes)
    if damage == "none":
        dictionary.unlink()
    elif damage == "no text":
        text.unlink()
    elif damage == "cut":
        text.write_bytes(b"\x1f\x8b" + text.read_bytes()[2:40])
    elif damage == "no index":
        dictionary.write_text("dog\n")
    else:
        dictionary.write_text("dog\t!\t?\n")
    if damage == "cut" and text.suffix == ".dict":
        pytest.skip("a plain text that is cut has fewer entries")
    with pytest.raises(errors.OptionError, match="dictd dictionary"):
        translated(LabelTree.packaged(), ["dog"], dictionary)


def test_names_writes_a_file_that_other_commands_read(dictionary, tmp_path):
    own = tmp_path / "own.json"
    content = {"parents": {"dog": "pet", "pet": "animal"}, "names": {"de": {"cat": "Kater"}}}
    own.write_text(json.dumps(content))
    out = tmp_path / "names.json"
    done = CliRunner().invoke(
        app,
        [
            *("names", "--language", "de", "--dictionary", str(dictionary), "-o", str(out)),
            *("--names", str(own)),
        ],
    )
    assert done.exit_code == 0, done.output
    assert "names.json: 5 names," in done.output
    assert "zebra" in done.stderr
    written = json.loads(out.read_text("utf-8"))
    assert written["parents"] == content["parents"]
    assert written["names"]["de"]["cat"] == "Kater"
    tree = LabelTree.load(out)
    assert tree.levels("dog", "de") == ["animal", "pet", "Hund"]
    assert tree.name("zebra", "de") == "zebra"
