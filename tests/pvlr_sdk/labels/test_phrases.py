"""What no word can stand for is refused, and names of things are not."""

from __future__ import annotations

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.labels import Knowledge
from pvlr_sdk.labels.phrases import why_no_word


@pytest.fixture(scope="module")
def knowledge():
    return Knowledge.load()


REFUSED = """
person without helmet, no helmet, helmet missing, missing helmet, not a helmet,
worker not wearing a vest, person w/o mask, no person, no car, no mask, unmasked person,
unhelmeted rider, helmetless rider, shirtless man, toothless man, non-smoker, non-vegetarian,
car without lights, shelf lacking boxes, nobody, door not closed, bottle without cap,
road without cars, fence missing, dog without leash, dog on sofa, cat on a table,
person in car, man under umbrella, person next to car, person in front of truck,
truck behind car, person near forklift, child at window, bag between seats, person on phone,
ladder against wall, cat inside box, bird above water, man with hat, woman with umbrella,
person wearing helmet, person holding phone, man riding horse, person carrying box,
worker using ladder, person driving forklift, person standing, dog lying, truck leaving
"""
NAMES = """
fire hydrant, ice cream, hot dog stand, traffic cone, safety vest, hard hat, fork lift,
parking meter, golden retriever, jack-in-the-box, lily of the valley, chest of drawers,
wireless mouse, stainless steel sink, cordless drill, no parking sign, no smoking sign,
no-entry sign, walk-in closet, drive-in cinema, clip-on tie, check-in counter, riding boots,
carrying case, driving school, holding tank, sitting room, standing lamp, swimming pool,
wheelie bin, shopping cart, delivery van, cardboard box, life jacket, security guard,
license plate, street sign, traffic light, box of matches, cup of coffee, black and white cat,
bird of prey, baby carriage, washing machine, united states flag, over-the-counter medicine,
tram stop, inboard motor, sleeveless shirt, mother-in-law
"""


def phrases(text: str) -> list[str]:
    return [phrase.strip() for phrase in text.split(",") if phrase.strip()]


def test_there_are_50_of_each():
    assert [len(set(phrases(text))) for text in (REFUSED, NAMES)] == [50, 50]


@pytest.mark.parametrize("phrase", phrases(REFUSED))
def test_negations_and_relations(phrase):
    assert why_no_word(phrase)


@pytest.mark.parametrize("phrase", phrases(NAMES))
def test_names_of_things(phrase):
    assert why_no_word(phrase) is None


def test_all_words_that_are_refused_are_named_with_a_proposal(knowledge):
    """``force`` accepts unknown words alone."""
    words = ["castle", "plumber", "pallet", "asdfgh", "person without helmet"]
    base = knowledge.bank(["chair"]).renamed(["person"])
    with pytest.raises(errors.OptionError) as refused:
        knowledge.bank(words, base=base)
    got = refused.value.got
    assert [word in got for word in words] == [False, True, True, True, True]
    assert "which is a kind of 'person', a label" in got
    assert got.count("a kind of") == 1
    assert "pvlr teach" in refused.value.hint
    with pytest.raises(errors.OptionError, match="which says what is absent"):
        knowledge.bank(["no helmet"], force=True)


@pytest.mark.parametrize("encoder", ["installed", "missing"])
def test_a_bank_does_not_depend_on_what_is_installed(knowledge, monkeypatch, encoder):
    """A phrase that is not in the dictionary is read by its last word, with or without the language model."""
    opened = []

    def open_encoder():
        opened.append(encoder)
        raise errors.MissingPartError("words", expected="an encoder", got="none", hint="")

    words = ["safety vest", "cardboard box", "castle"]
    before = knowledge.bank(words).to_bytes()
    if encoder == "missing":
        monkeypatch.setattr("pvlr_sdk.labels.knowledge.TextEncoder", open_encoder)
    bank = knowledge.bank(words)
    assert (bank.to_bytes(), opened) == (before, [])
    assert bank.taught["safety vest"]["entry"] == "vest"


def test_each_word_has_thresholds_of_its_own_and_what_to_expect(knowledge):
    """Halfway between the typical threshold and what a share of the photos reach."""
    bank = knowledge.bank(["castle", "forklift", "safety vest"])
    assert len(set(bank.thresholds.tolist())) == 3
    assert (bank.precise_thresholds > bank.thresholds).all()
    photos = knowledge.photos.astype(float)
    logits = photos @ bank.weights.astype(float).T + bank.biases
    typical = knowledge.calibration.threshold
    halfway = (np.quantile(logits, 0.99, axis=0) + np.log(typical / (1 - typical))) / 2
    np.testing.assert_allclose(bank.thresholds, 1 / (1 + np.exp(-halfway)), atol=2e-3)
    expected = [bank.taught[name]["expected"]["precise"]["found"][0] for name in bank.names]
    assert expected == [26, 26, 9]
