"""Words as labels: ``pvlr words``, ``--words``, and banks of words that are made, shown and joined."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pvlr_sdk import LabelBank
from pvlr_sdk.bundle.bundle import knowledge_path
from tests.pvlr_sdk.labels.tiny_everyday import make_knowledge

COFFEE = Path(__file__).parents[3] / "docs/images/coffee.jpg"


def test_the_command_shows_senses_as_json(pvlr):
    (found,) = json.loads(pvlr("words", "kite", "--json").out)
    assert found["word"] == "kite"
    assert {sense["sense"] for sense in found["senses"]} >= {"hawk", "plaything"}


def test_the_table_has_every_sense_and_words_that_are_not_in_the_dictionary(pvlr):
    lines = pvlr("words", "kite", "asdfgh").out.splitlines()
    starts = ["Word Grade A", "kite doubtful hawk", "kite doubtful plaything", "asdfgh unknown not"]
    assert [" ".join(line.split()[:3]) for line in lines] == starts


def test_words_that_were_learned_from_captions(pvlr, tmp_path):
    path = knowledge_path(tmp_path / "engine.plan")
    make_knowledge().save(path)
    arguments = ("words", "guy", "espresso", "asdfgh", "--plan", path)
    lines = [line.split() for line in pvlr(*arguments).out.splitlines()]
    assert ["guy", "caption", "learned"] in [line[:3] for line in lines]
    assert ["espresso", "class"] in [line[:2] for line in lines]
    shown = json.loads(pvlr(*arguments, "--json").out)
    assert [bool(word["everyday"]) for word in shown] == [True, False, False]
    assert shown[0]["everyday"]["expected"]["f1"]["right"] == [60, 50, 69]


@pytest.mark.slow
def test_tags_name_the_concepts_of_doubtful_words(pvlr, caplog):
    done = pvlr("tag", str(COFFEE), "--words", "espresso, cashier")
    assert "espresso" in done.out
    assert caplog.text.count("cashier (banker): doubtful, tags what resembles cash machine") == 1


@pytest.mark.slow
def test_a_bank_is_made_shown_and_joined(pvlr, tmp_path):
    first, second, both = (tmp_path / f"{name}.safetensors" for name in ("first", "second", "both"))
    assert (
        pvlr("bank", "make", "-w", "sofa, kite", "--sense", "kite=plaything", "-o", first).out
        == f"{first}\n"
    )
    assert (
        pvlr(
            "bank",
            "make",
            "-w",
            "kite, espresso, bulldozer",
            "--sense",
            "kite=2",
            "--force",
            "-o",
            second,
        ).code
        == 0
    )
    assert pvlr("bank", "join", first, second, "-o", both, "--labels", "sofa, bulldozer").code == 0
    shown = json.loads(pvlr("info", both, "--json").out)["labels"]
    grades = [(row["name"], row["taught"] and row["taught"]["grade"]) for row in shown]
    assert grades == [("sofa", None), ("bulldozer", "unknown")]
    (line,) = (line for line in pvlr("info", first).out.splitlines() if "label: kite" in line)
    assert "grade doubtful" in line
    assert "kite" in line.partition("concepts ")[2]


@pytest.mark.slow
def test_banks_with_other_values_for_a_label(pvlr, tmp_path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    out = tmp_path / "out.safetensors"
    pvlr("bank", "make", "-w", "castle, espresso, pizza", "-o", first)
    bank = LabelBank.load(first).select(["castle", "espresso"])
    changed = LabelBank(bank.names, text=bank.text, **{**bank.arrays(), "biases": bank.biases - 1})
    changed.join(LabelBank.load(first).select(["pizza"])).save(second)
    done = pvlr("bank", "join", first, second, "-o", out)
    assert done.code == 2
    error = " ".join(done.err.split())
    assert f"{second}: expected the same values" in error
    assert (
        "got other values of 'castle', 'espresso'. Leave them out of one (select), or add --keep-first"
        in error
    )
    assert not out.exists()
    for banks in ((first, second), (second, first)):
        assert pvlr("bank", "join", *banks, "--keep-first", "-o", out).code == 0
        assert LabelBank.load(out).to_bytes() == LabelBank.load(banks[0]).to_bytes()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["bank", "make", "-w", "kite", "--sense", "kite", "-o", "x"],
            "--sense: expected WORD=SENSE, got 'kite'",
        ),
        (["bank", "make", "-w", " , ", "-o", "x"], "expected at least one word"),
        (
            ["bank", "make", "-w", "castle", "-p", "PLAN", "-o", "x"],
            "a knowledge file beside it",
        ),
        (["tag", COFFEE, "--words", "bulldozer"], "whose nearest concepts are bull mastiff"),
    ],
)
def test_words_that_are_refused(pvlr, plan, arguments, message):
    done = pvlr(*(plan if argument == "PLAN" else argument for argument in arguments))
    assert (done.code, done.out) == (2, "")
    assert message in " ".join(done.err.split())
    assert not Path("x").exists()
