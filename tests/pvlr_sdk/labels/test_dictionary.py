"""Words without a language model: what the dictionary has, the grades of words, and banks of words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.labels import Knowledge
from pvlr_sdk.labels.dictionary import FILE, Dictionary
from pvlr_sdk.labels.meaning import same_labels, senses_of

COFFEE = Path(__file__).parents[3] / "docs/images/coffee.jpg"


@pytest.fixture(scope="module")
def dictionary():
    return Dictionary.packaged()


@pytest.fixture(scope="module")
def knowledge():
    return Knowledge.load()


@pytest.fixture
def no_encoder(monkeypatch):
    """As where the extra [words] is not installed."""

    def missing():
        raise errors.MissingPartError("words", expected="an encoder", got="none", hint="")

    monkeypatch.setattr("pvlr_sdk.labels.knowledge.TextEncoder", missing)


def test_it_fits_into_the_wheel(dictionary):
    assert FILE.stat().st_size <= 2_000_000
    assert 40_000 < len(dictionary._words) < 70_000


@pytest.mark.parametrize(
    ("text", "name", "is_part"),
    [
        ("espresso", "espresso", False),
        (" Golden  Retriever", "golden retriever", False),
        ("sofas", "sofa", False),
        ("fire engines", "fire engine", False),
        ("firemen", "fireman", False),
        ("fire-engine", "fire engine", False),
        ("sports ball", "ball", True),
        ("a very large forklift", "forklift", True),
    ],
)
def test_plurals_and_phrases(dictionary, text, name, is_part):
    entry = dictionary.find(text)
    assert (entry.name, entry.is_part) == (name, is_part)
    np.testing.assert_allclose(entry.shares().sum(), 1)
    assert (entry.shares() >= 0).all()


@pytest.mark.parametrize("text", ["asdfgh", "", " ", "\0", "-", "freedom"])
def test_what_is_no_noun(dictionary, text):
    assert dictionary.find(text) is None


@pytest.mark.parametrize(
    ("word", "grade", "concept"),
    [
        ("espresso", "class", "espresso"),
        ("castle", "class", "castle"),
        ("golden retriever", "class", "golden retriever"),
        ("dog", "class", None),
        ("fork", "doubtful", "forklift"),
        ("swimming pool", "doubtful", "pool table"),
        ("kite", "doubtful", "kite"),  # the bird and the toy
        ("bulldozer", "unknown", None),
        ("pallet", "unknown", None),
        ("receipt", "unknown", None),
    ],
)
def test_grades(word, grade, concept):
    meaning = senses_of(word)[0]
    assert meaning.grade == grade
    assert concept is None or concept in meaning.described()


def test_senses_have_their_own_kinds_and_shares():
    kinds = {one.entry.senses[one.sense].kind: one for one in senses_of("kite")}
    assert kinds.keys() == {"hawk", "plaything"}
    assert kinds["hawk"].shares.max() > kinds["plaything"].shares.max()


def test_synonyms_of_labels():
    labels = ["couch", "car", "dog", "hot dog"]
    assert same_labels(["sofa", "automobile", "castle", "hot dog"], labels) == {
        "sofa": "couch", "automobile": "car", "hot dog": "hot dog",
    }  # fmt: skip
    with pytest.raises(
        errors.OptionError, match="each label once, got 'couch' and 'sofa', which are both 'couch'"
    ):
        same_labels(["couch", "sofa"], labels)


@pytest.mark.slow
def test_a_bank_has_what_stands_for_its_words(knowledge, no_encoder):
    bank = knowledge.bank(["espresso", "fork"])
    assert bank.taught["espresso"]["grade"] == "class"
    assert "forklift" in bank.taught["fork"]["concepts"]
    both = [knowledge.bank(["kite"], senses={"kite": sense}) for sense in ("2", "plaything")]
    assert {bank.taught["kite"]["sense"] for bank in both} == {"plaything"}


@pytest.mark.parametrize(
    ("words", "options", "message"),
    [
        (
            ["bulldozer"],
            {},
            "words: expected words for what the model knows, got 'bulldozer', whose nearest concepts",
        ),
        (
            ["asdfgh"],
            {},
            "got 'asdfgh', which neither is in the dictionary nor ends with a noun that is",
        ),
        (["kite"], {"senses": {"dog": "1"}}, "senses: expected senses of the words, got 'dog'"),
        (
            ["kite"],
            {"senses": {"kite": "9"}},
            "senses: expected a sense of 'kite': .*plaything.*, got '9'",
        ),
        (["kite"], {"senses": {"kite": "0"}}, "senses: expected a sense of 'kite'"),
        (["kite", "Kite"], {}, "each word once"),
    ],
)
def test_words_that_are_refused(knowledge, no_encoder, words, options, message):
    with pytest.raises(errors.OptionError, match=message):
        knowledge.bank(words, **options)


@pytest.mark.slow
def test_an_unknown_word_can_be_forced(knowledge):
    assert knowledge.bank(["bulldozer"], force=True).taught["bulldozer"]["grade"] == "unknown"


@pytest.mark.slow
def test_words_are_the_labels_of_a_tagger():
    with Tagger(words=["espresso", "castle", "sofa"]) as tagger:
        assert tagger.labels == ["espresso", "castle", "sofa"]
        assert tagger.predict(COFFEE)[0].label == "espresso"
        row = tagger.label_bank.index("sofa")
        words = tagger.label_bank
    with Tagger() as tagger:
        own = tagger.label_bank
    np.testing.assert_array_equal(words.embeddings[row], own.embeddings[own.index("couch")])


@pytest.mark.slow
def test_thresholds_of_words(knowledge):
    with Tagger(words=["espresso", "castle"], threshold={"castle": 0.5}) as tagger:
        own = knowledge.bank(["espresso"]).thresholds[0]
        np.testing.assert_allclose(tagger.thresholds, [own, 0.5], atol=1e-6)


@pytest.mark.slow
def test_a_word_of_the_base_keeps_its_provenance_under_another_spelling(knowledge):
    base = knowledge.bank(["espresso", "castle"])
    bank = knowledge.bank(["Espresso", "forklift"], base=base)
    assert bank.names == ["Espresso", "forklift"]
    assert bank.taught["Espresso"] == base.taught["espresso"]
    np.testing.assert_array_equal(bank.weights[0], base.weights[0])


@pytest.mark.slow
def test_a_closed_plan_has_no_words(plan):
    with pytest.raises(
        errors.BackendError, match="expected an open plan, got one whose labels are part of it"
    ):
        Tagger(plan, words=["castle"])


@pytest.mark.slow
def test_words_need_neither_pytorch_nor_an_encoder():
    code = "import sys; sys.modules.update(dict.fromkeys(['torch', 'tokenizers', 'all_minilm_l6_v2', 'timm']))\n"
    code += "from pvlr_sdk.labels import Knowledge; print(Knowledge.load().bank(['castle']).names)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "['castle']\n"
