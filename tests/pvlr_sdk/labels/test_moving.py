"""A label moves away from a picture and back: the picture falls, others stay, and every bit returns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk import LabelBank, errors
from pvlr_sdk.bundle.bundle import read_manifest
from pvlr_sdk.labels import forget
from pvlr_sdk.labels.edit import add_labels
from pvlr_sdk.labels.moving import away_from, last_move, learned, move, move_back
from tests.pvlr_sdk.labels import tiny_open

RANDOM = np.random.default_rng(0)


def unit(count: int) -> np.ndarray:
    vectors = np.abs(RANDOM.normal(size=(count, tiny_open.DEPTH)))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def moved(bank: LabelBank, label: str = "cat", event: str = "first") -> LabelBank:
    return move(bank, label, unit(1)[0], tiny_open.FEATURES, event)


def test_the_picture_falls_by_one_and_right_ones_stay() -> None:
    wrong, *right = unit(4)
    others = unit(5)
    nothing = np.zeros((0, tiny_open.DEPTH))
    change = away_from(wrong, np.array(right), others)
    alone = away_from(wrong, nothing, nothing)
    assert wrong @ change == pytest.approx(-1)
    assert wrong @ alone == pytest.approx(-1)
    assert np.abs(right @ change).max() < 0.5 * np.abs(right @ alone).min()


def test_right_pictures_count_more_than_others() -> None:
    wrong, right, other = np.eye(tiny_open.DEPTH)[:3] + 0.5
    pictures = [picture / np.linalg.norm(picture) for picture in (wrong, right, other)]
    change = away_from(pictures[0], pictures[1][None], pictures[2][None])
    assert abs(pictures[1] @ change) < abs(pictures[2] @ change)


def test_a_label_of_the_plan_is_again_as_it_was() -> None:
    bank = tiny_open.make_bank()
    first = moved(bank)
    second = moved(first, event="second")
    assert LabelBank.from_bytes(second.to_bytes()).to_bytes() == second.to_bytes()
    assert (last_move(bank, "cat"), last_move(second, "cat")) == (None, "second")
    np.testing.assert_array_equal(second.thresholds, bank.thresholds)
    np.testing.assert_array_equal(second.arrays()["gains"], bank.arrays()["gains"])
    assert move_back(second, "cat").to_bytes() == first.to_bytes()
    assert move_back(first, "cat").to_bytes() == bank.to_bytes()
    assert forget(second, ["cat"]).to_bytes() == bank.to_bytes()
    assert learned(second) == []


def test_a_taught_label_goes_back_to_what_it_was_taught(open_plan: Path) -> None:
    spec = read_manifest(open_plan, trust=False).open
    assert spec is not None
    room = add_labels(tiny_open.make_bank(), ["mug"], spec, words=False)
    taught = dict(room.taught, mug={"before": None, "positives": 3})
    room = LabelBank(room.names, text={**room.text, "taught": taught}, **room.arrays())
    assert room.weights is not None
    room.weights[-1] = unit(1)[0]
    both = moved(moved(room, "mug"))
    assert learned(both) == ["mug"]
    assert move_back(move_back(both, "cat"), "mug").to_bytes() == room.to_bytes()


def test_the_newest_moves_alone_can_be_undone() -> None:
    bank = tiny_open.make_bank()
    for number in range(22):
        bank = moved(bank, event=str(number))
    for number in range(21, 1, -1):
        assert last_move(bank, "cat") == str(number)
        bank = move_back(bank, "cat")
    with pytest.raises(errors.OptionError, match="a label with a correction"):
        move_back(bank, "cat")
    assert forget(bank, ["cat"]).to_bytes() == tiny_open.make_bank().to_bytes()


@pytest.mark.parametrize("weights", [None, 7, "?", "AAAA"])
def test_a_damaged_provenance_is_an_error(weights: object) -> None:
    bank = moved(tiny_open.make_bank())
    bank.taught["cat"]["moves"][0]["weights"] = weights
    with pytest.raises(errors.LabelBankError, match="the weights before a correction"):
        move_back(bank, "cat")


def test_what_cannot_be_moved() -> None:
    bank = tiny_open.make_bank()
    with pytest.raises(errors.UnknownLabelError):
        moved(bank, "dog")
    with pytest.raises(errors.LabelBankError):
        move(bank, "cat", np.full(tiny_open.DEPTH, 2000.0), tiny_open.FEATURES, "first")
