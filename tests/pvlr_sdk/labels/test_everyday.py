"""Everyday words: what a knowledge file has learned from captions stands for them, with what was measured."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pvlr_sdk import LabelBank, errors
from pvlr_sdk.bundle.bundle import labels_path
from pvlr_sdk.bundle.tensors import from_safetensors, to_safetensors
from pvlr_sdk.cameras.serve.api.schemas import WordModel
from pvlr_sdk.labels.everyday import Everyday, share_of
from pvlr_sdk.labels.knowledge import Knowledge
from tests.pvlr_sdk.labels.tiny_everyday import COUNTS, make_knowledge


@pytest.fixture
def knowledge() -> Knowledge:
    return make_knowledge()


@pytest.fixture
def everyday(knowledge: Knowledge) -> Everyday:
    assert knowledge.everyday
    return knowledge.everyday


def test_a_word_is_what_captions_taught(knowledge, everyday):
    bank = knowledge.bank(["night", "espresso", "guy"])
    assert bank.names == ["night", "espresso", "guy"]
    for label, row in ((0, 1), (2, 0)):
        np.testing.assert_array_equal(bank.weights[label], everyday.weights[row])
        assert bank.biases[label] == everyday.values[row, 0]
        assert bank.thresholds[label] == everyday.values[row, 1]
        assert bank.precise_thresholds[label] == everyday.values[row, 2]
    taught = bank.taught["guy"]
    assert (taught["grade"], taught["entry"], taught["mentions"]) == ("caption", "man", 200)
    assert taught["positives"] == 0  # teaching starts from it
    assert taught["expected"]["f1"] == {"right": [60, 50, 69], "found": [30, 24, 37]}
    assert taught["expected"]["precise"]["found"][0] == 10
    assert bank.taught["night"]["grade"] == "doubtful"
    assert bank.taught["espresso"]["grade"] == "class"


@pytest.mark.parametrize("word", ["Man", "men", "GUY", " man"])
def test_plurals_and_other_forms(everyday, word):
    assert everyday.find(word) == 0


def test_other_words_are_none_of_them(everyday):
    assert [everyday.find(word) for word in ("woman", "man on horse", "nigh")] == [None] * 3


def test_a_sense_asks_for_the_dictionary(knowledge):
    bank = knowledge.bank(["kite"], senses={"kite": "plaything"})
    assert bank.taught["kite"]["sense"] == "plaything"
    assert knowledge.bank(["kite"]).taught["kite"]["sense"] == ""


def test_a_label_of_the_plan_is_that_label(knowledge, open_plan):
    base = LabelBank.load(labels_path(open_plan)).select(["cat"]).renamed(["night"])
    bank = knowledge.bank(["night", "man"], base=base)
    np.testing.assert_array_equal(bank.embeddings[0], base.embeddings[0])
    assert list(bank.taught) == ["man"]


def test_without_the_part_the_word_is_refused(knowledge):
    assert knowledge.knows("men")
    before = replace(knowledge, everyday=None)
    assert before.knows("kite")
    assert before.bank(["kite"]).taught["kite"]["sense"] != ""


def test_what_to_expect_is_in_the_log(knowledge, caplog):
    knowledge.bank(["guy"])
    assert "guy: caption, learned from 200 captions of 4000 photos; at f1 right 60 %" in caplog.text


def test_a_file_is_the_same_again(knowledge, tmp_path):
    path = tmp_path / "k.safetensors"
    knowledge.save(path)
    again = Knowledge.load(path)
    assert again.to_bytes() == knowledge.to_bytes()
    assert again.text == knowledge.text
    assert again.everyday.names == knowledge.everyday.names
    np.testing.assert_array_equal(again.everyday.counts, COUNTS)
    replace(knowledge, everyday=None).save(path)
    assert Knowledge.load(path).everyday is None


@pytest.mark.parametrize(
    ("name", "row", "value", "message"),
    [
        ("everyday_counts", (0, 2), 101, "contradict"),
        ("everyday_counts", (1, 0), 7, "contradict"),
        ("everyday_values", (0, 1), 0.9, "in their order"),
        ("everyday_values", (0, 1), np.nan, "in their order"),
        ("everyday_values", (2, 0), np.inf, "not finite"),
        ("everyday_exponents", (2, 0), 100, "not finite"),
    ],
)
def test_damaged_parts(knowledge, tmp_path, name, row, value, message):
    tensors, names, text = from_safetensors(knowledge.to_bytes())
    tensors[name] = tensors[name].copy()
    tensors[name][row] = value
    path = tmp_path / "k.safetensors"
    path.write_bytes(to_safetensors(tensors, names, text))
    with pytest.raises(errors.LabelBankError, match=message):
        Knowledge.load(path)


@pytest.mark.parametrize(
    "change", [{"names": ["man"]}, {"forms": {"guy": "dog"}}, {"names": 3}, {"photos": None}]
)
def test_damaged_text(knowledge, tmp_path, change):
    tensors, names, text = from_safetensors(knowledge.to_bytes())
    text["everyday"] |= change
    path = tmp_path / "k.safetensors"
    path.write_bytes(to_safetensors(tensors, names, text))
    with pytest.raises(errors.LabelBankError):
        Knowledge.load(path)


def test_intervals_of_shares():
    assert share_of(60, 100) == [60, 50, 69]  # statsmodels' proportion_confint, method wilson
    assert share_of(0, 0) == [0, 0, 100]


def test_the_page_shows_them(knowledge):
    taught = knowledge.bank(["men"]).taught["men"]
    shown = WordModel(label="men", **taught, labels=["men"], bank_file=None)
    assert (shown.grade, shown.concepts) == ("caption", {})
    assert shown.expected["f1"]["right"] == (60, 50, 69)
