"""Everyday words from captions: phrases are counted first, and each photo is measured by what others taught."""

from __future__ import annotations

import numpy as np
import pytest

from pvlr_sdk import errors
from pvlr_sdk.labels.dictionary import Dictionary
from pvlr_sdk.labels.knowledge import Calibration, Knowledge
from pvlr_sdk.labels.thresholds import sigmoid
from pvlr_training.captions import Lexicon, _platt, _precise, captions_of, learn_words

DEPTH = 24


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return Lexicon.read()


@pytest.mark.parametrize(
    ("caption", "said", "unsaid"),
    [
        ("A yellow fire hydrant.", "fire hydrant", "fire"),
        ("A fire in the night", "fire", "fire hydrant"),
        ("He eats a hot dog", "hot dog", "dog"),
        ("Two men's hats", "man", "people"),
        ("Young ladies at the beach", "woman", "old woman"),
        ("Three boys", "child", "man"),
        ("Snow-covered benches", "bench", "snowboard"),
    ],
)
def test_what_captions_mention(lexicon, caption, said, unsaid):
    mentioned = lexicon.mentions([caption])[0]
    words = {word for word, is_said in zip(lexicon.words, mentioned, strict=True) if is_said}
    assert said in words
    assert unsaid not in words


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("man: [guy]\nboy: [guy]", "guy is a form of boy and"),
        ("man: [boy]\nboy:", "boy is a form of man and"),
        ("man: [+person]", "person is no word"),
    ],
)
def test_words_that_contradict_each_other(tmp_path, text, message):
    (tmp_path / "words.yaml").write_text(text)
    with pytest.raises(ValueError, match=message):
        Lexicon.read(tmp_path / "words.yaml")


def test_captions_of_photos(tmp_path):
    path = tmp_path / "captions.csv"
    path.write_text('file,caption\na.jpg,A man\nb.jpg,A dog\na.jpg,"A guy, walking"\n')
    with pytest.raises(errors.OptionError, match=r"none in .*images"):
        captions_of(path)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").touch()
    assert captions_of(path) == {tmp_path / "images" / "a.jpg": "A man . A guy, walking"}
    path.write_text("file,text\na.jpg,A man\n")
    with pytest.raises(errors.OptionError, match=r"--captions: expected a CSV file.*'caption'"):
        captions_of(path)
    with pytest.raises(errors.OptionError, match="No such file"):
        captions_of(tmp_path / "other.csv")


def test_scores_become_probable():
    random = np.random.default_rng(0)
    scores = random.normal(0.1, 0.02, 20_000)
    present = random.random(20_000) < sigmoid(80 * (scores - 0.13))
    slope, shift = _platt(scores, present)
    assert slope == pytest.approx(80, rel=0.1)
    assert shift / slope == pytest.approx(-0.13, abs=0.01)
    assert np.isfinite(_platt(scores, present | True)).all()


def test_precise_tags_are_right_though_captions_omit_half():
    random = np.random.default_rng(0)
    is_shown = np.arange(4000) < 400
    logits = random.normal(-3, 1, 4000) + 3 * is_shown
    is_mentioned = is_shown & (random.random(4000) < 0.5)
    (cut,) = _precise(logits[:, None], is_mentioned[:, None], np.array([0.05]))
    is_tagged = sigmoid(logits) >= cut
    assert 0.85 < is_shown[is_tagged].mean() < 0.97
    assert is_tagged[is_shown].mean() > 0.5


@pytest.fixture
def photos() -> tuple[np.ndarray, list[str]]:
    """2,000 photos, some with "night" and "street" in features and captions, others with "desk" in captions."""
    random = np.random.default_rng(0)
    features = np.abs(random.normal(1, 0.5, (2000, DEPTH)))
    features[:400, 0] += 3
    features[300:700, 1] += 3
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    captions = [
        "A dog" + " at night" * (row < 400) + " in the street" * (300 <= row < 700)
        + " and a desk" * (row % 9 == 0) + " and an owl" * (row % 500 == 0)
        for row in range(2000)
    ]  # fmt: skip
    order = random.permutation(2000)
    return features[order], [captions[row] for row in order]


@pytest.fixture
def knowledge(photos) -> Knowledge:
    random = np.random.default_rng(1)
    names = list(Dictionary.packaged().concepts)
    return Knowledge(
        names,
        random.normal(0.3, 1, (len(names), 384)).astype(np.float16),
        random.normal(0, 2, (len(names), DEPTH)).astype(np.float16),
        photos[0][:200].astype(np.float16),
        Calibration(),
        {"space": "tiny", "features": "tiny", "width": 8, "sharpness": 5},
    )


def test_words_are_learned_and_measured(photos, knowledge, tmp_path):
    features, captions = photos
    everyday = learn_words(features, captions, knowledge, ["dog"])
    # dog is a label, an owl is too rare, and nothing in the features tells of desks
    assert everyday.names == ["street", "night"]
    truth = np.array([["street" in caption, "night" in caption] for caption in captions]).T
    bank = knowledge.bank_of(["a"], np.eye(1, len(knowledge.names)))
    for row, present in enumerate(truth):
        logits = features @ everyday.weights[row].astype(np.float64) + everyday.values[row, 0]
        tagged = sigmoid(logits) >= everyday.values[row, 1]
        mentions, tags, right, precise, sure = everyday.counts[row]
        assert mentions == present.sum()
        # measured on other photos than learned from: about the same here, where there are many
        assert right / tags == pytest.approx((tagged & present).sum() / tagged.sum(), abs=0.05)
        assert right / mentions > 0.9
        assert sure / precise > 0.85
        assert sigmoid(logits)[present].mean() > 0.8
    assert everyday.photos == 2000
    assert everyday.forms == {
        form: word for form, word in Lexicon.read().forms.items() if word in everyday.names
    }
    assert bank.weights is not None


def test_words_that_the_dictionary_knows_better_are_left_out(photos, knowledge, monkeypatch):
    features, captions = photos
    ideal = np.array([[len(c) if "street" in c else 0.0] for c in captions])
    monkeypatch.setattr(
        "pvlr_training.captions._of_dictionary",
        lambda names, features, knowledge: np.where(
            np.array(names) == "street", 2.0 * (ideal > 0), np.nan
        ),
    )
    assert learn_words(features, captions, knowledge, ["dog"]).names == ["night"]


def test_captions_without_everyday_words(photos, knowledge):
    assert learn_words(photos[0], ["A dog"] * 2000, knowledge, ["dog"]) is None
