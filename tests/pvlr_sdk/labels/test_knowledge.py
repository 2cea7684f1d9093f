"""Knowledge files: labels from words alone, joined with those of a plan, and as the start of teaching."""

from __future__ import annotations

import numpy as np
import pytest

from pvlr_sdk import LabelBank, Tagger, errors
from pvlr_sdk.bundle.bundle import labels_path
from pvlr_sdk.bundle.tensors import from_safetensors, to_safetensors
from pvlr_sdk.labels import Photos, forget, teach
from pvlr_sdk.labels import knowledge as module
from pvlr_sdk.labels.knowledge import Calibration, Knowledge
from tests.pvlr_sdk.labels.tiny_open import check, make_bank

CLASSES, DEPTH, SPACE, FEATURES = 30, 16, "tiny 0123", "tiny features"
CALIBRATION = Calibration(1.5, -2.5, 0.4, 0.7)


@pytest.fixture
def knowledge():
    random = np.random.default_rng(0)
    photos = np.abs(random.normal(1, 1, (200, DEPTH)))
    return Knowledge(
        [f"class {k}" for k in range(CLASSES)],
        random.normal(0.3, 1, (CLASSES, 384)).astype(np.float16),
        random.normal(0, 2, (CLASSES, DEPTH)).astype(np.float16),
        (photos / np.linalg.norm(photos, axis=1, keepdims=True)).astype(np.float16),
        CALIBRATION,
        {"space": SPACE, "features": FEATURES, "width": 8, "sharpness": 6},
    )


@pytest.fixture
def encoder(monkeypatch, knowledge):
    """Stands in for MiniLM: "class 3" is the vector of that class, and so are the prompts that contain it."""

    class Encoder:
        def encode(self, texts):
            found = [
                max((n for n in range(CLASSES) if f"class {n}" in text), default=0)
                for text in texts
            ]
            return knowledge.vectors[found].astype(np.float32)

    monkeypatch.setattr("pvlr_sdk.labels.knowledge.TextEncoder", Encoder)


def test_the_logit_is_the_standardised_evidence_of_similar_concepts(knowledge):
    Ridge = pytest.importorskip("sklearn.linear_model").Ridge
    random = np.random.default_rng(1)
    vectors, photos = random.normal(0.3, 1, (3, 384)), knowledge.photos.astype(np.float64)
    bank = knowledge.bank_of(["a", "b", "c"], knowledge.shares(vectors)[0])
    concepts = knowledge.vectors.astype(np.float64)
    concepts /= np.linalg.norm(concepts, axis=1, keepdims=True)
    expected = np.empty((3, len(photos)))
    for label, vector in enumerate(vectors):
        one = vector / np.linalg.norm(vector) - concepts.mean(0)
        shares = []
        for concept in concepts - concepts.mean(0):
            cosine = one @ concept / np.linalg.norm(one) / np.linalg.norm(concept)
            shares.append(max(0.0, cosine) ** 6)
        evidence = standardised(photos @ knowledge.weights.T.astype(np.float64) @ shares)
        common = Ridge(4.0).fit(photos, np.exp(np.clip(evidence, -3, 5))).predict(photos)
        expected[label] = 1.5 * standardised(evidence + standardised(common)) - 2.5
    logits = photos @ bank.weights.T.astype(np.float64) + bank.biases
    np.testing.assert_allclose(logits.T, expected, atol=0.02)
    for thresholds, typical, quantile in (
        (bank.thresholds, 0.4, 0.99),
        (bank.precise_thresholds, 0.7, 0.98),
    ):
        reached = np.quantile(expected, quantile, axis=1)
        halfway = (reached + np.log(typical / (1 - typical))) / 2
        np.testing.assert_allclose(thresholds, 1 / (1 + np.exp(-halfway)), atol=0.01)
    assert not bank.has_words.any()


def standardised(scores):
    return (scores - scores.mean()) / scores.std()


def test_a_name_of_a_concept_is_that_concept(knowledge):
    shares, cosines = knowledge.shares(knowledge.vectors[[4]].astype(np.float64))
    assert shares[0].argmax() == 4
    assert shares[0, 4] > 0.9
    np.testing.assert_allclose(cosines, 1)


def test_words_of_a_plan(knowledge, encoder, open_plan, frame):
    own = LabelBank.load(labels_path(open_plan))
    words = knowledge.bank(["class 3", "class 7"])
    with Tagger(open_plan, precision="fp32") as tagger:
        before = tagger.predict(frame).logits
        tagger.set_labels(words)
        alone = tagger.predict(frame).logits
        both = own.join(words)
        tagger.set_labels(both)
        result = tagger.predict(frame)
        check(result, frame, both)
    # no token reads a label without an embedding
    np.testing.assert_allclose(result.logits[:4], before, atol=1e-5)
    np.testing.assert_allclose(result.logits[4:], alone, atol=1e-5)
    assert both.names == [*own.names, "class 3", "class 7"]
    left = forget(both, ["class 3", "class 7"])
    assert (left.names, left.text, left.weights, left.gains) == (own.names, own.text, None, None)
    np.testing.assert_array_equal(left.precise_thresholds, own.thresholds)
    assert both.select(["class 7", "cat"]).taught.keys() == {"class 7"}


def test_banks_that_cannot_be_joined(knowledge, encoder):
    words = knowledge.bank(["class 3"])
    assert words.join(words) is words
    other = LabelBank(
        words.names, **{**words.arrays(), "thresholds": words.thresholds / 2}, text=words.text
    )
    with pytest.raises(
        errors.LabelBankError,
        match=r"the same values.*, got other values of 'class 3'\. .*--keep-first",
    ):
        words.join(other)
    with pytest.raises(errors.LabelBankError, match="a bank for another, got a bank for tiny 0123"):
        make_bank(space="another").join(words)
    other = LabelBank(
        ["x"],
        words.embeddings,
        words.thresholds,
        {**words.text, "features": "others"},
        weights=words.weights,
    )
    with pytest.raises(
        errors.LabelBankError, match="features of tiny features, got weights for others"
    ):
        words.join(other)


@pytest.mark.slow
@pytest.mark.parametrize("words", [True, False])
def test_teaching_starts_from_the_words(knowledge, encoder, open_plan, folders, words):
    photos = Photos.from_folders("class 3", folders / "is", folders / "not")
    taught = teach(open_plan, photos, knowledge=knowledge, words=words, precision="fp32")
    assert taught.labels[0].words == words
    assert taught.labels[0].advice.endswith("a name that pvlr words knows.") != words
    alone = teach(open_plan, photos, precision="fp32")
    difference = (taught.bank.weights[-1] - alone.bank.weights[-1]).astype(np.float64)
    assert (np.abs(difference).max() > 0.1) == words
    if words:
        # The same label, from a bank that has it from words alone.
        bank = LabelBank.load(labels_path(open_plan)).join(knowledge.bank(["class 3"]))
        again = teach(open_plan, photos, bank=bank, replace=True, precision="fp32")
        np.testing.assert_allclose(
            again.bank.weights[-1], taught.bank.weights[-1], rtol=2e-2, atol=2e-2
        )
        assert again.labels[0].words_average_precision == taught.labels[0].words_average_precision
        assert again.bank.gains[-1] == 0


def test_a_label_taught_again_that_everything_has(knowledge, open_plan, folders, caplog):
    of_both = Photos.from_folders("cat", folders / "is", folders / "not")
    with Tagger(open_plan, precision="fp32") as tagger:
        seen = [tagger.predict(path).features for path in of_both.files]
    for shown, words, warned in ((1, False, True), (-1, False, False), (1, True, False)):
        like = np.array(seen)[of_both.targets[:, 0] == shown]
        ours = Knowledge(**{**vars(knowledge), "photos": like.astype(np.float16)})
        caplog.clear()
        teach(open_plan, of_both, knowledge=ours, replace=True, words=words, precision="fp32")
        # with its words, the label was absent, and mostly so it stays
        assert ("cat: about 100 of 100 everyday photos" in caplog.text) == warned
        assert bool(caplog.records) == warned


def test_knowledge_of_another_plan(knowledge, encoder, open_plan, photos):
    other = Knowledge(**{**vars(knowledge), "text": {**knowledge.text, "features": "others"}})
    with pytest.raises(errors.LabelBankError, match="got labels taught on the features of others"):
        teach(open_plan, photos, knowledge=other)


def test_a_file_is_the_same_again(knowledge, tmp_path):
    knowledge.save(tmp_path / "k.safetensors")
    again = Knowledge.load(tmp_path / "k.safetensors")
    assert again.to_bytes() == knowledge.to_bytes()
    assert again.calibration == CALIBRATION
    assert again.text == knowledge.text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": np.zeros((CLASSES, 15), np.float16)}, "photos float16"),
        ({"names": ["one"]}, "vectors float16"),
        ({"text": {"space": SPACE, "features": FEATURES, "width": 8}}, "'sharpness': None"),
        (
            {"text": {"space": SPACE, "features": FEATURES, "width": 10**13, "sharpness": 6}},
            "'width': 10000000000000",
        ),
        (
            {"text": {"space": SPACE, "features": FEATURES, "width": True, "sharpness": 6}},
            "'width': True",
        ),
        ({"text": {"space": 3, "features": FEATURES, "width": 8, "sharpness": 6}}, "'space': 3"),
        ({"calibration": Calibration(threshold=0.9, precise_threshold=0.1)}, "threshold=0.9"),
    ],
)
def test_damaged_files(knowledge, tmp_path, change, message):
    Knowledge(**{**vars(knowledge), **change}).save(tmp_path / "k.safetensors")
    with pytest.raises(errors.LabelBankError, match=message):
        Knowledge.load(tmp_path / "k.safetensors")


def test_exponents_out_of_range(knowledge, tmp_path):
    tensors, names, text = from_safetensors(knowledge.to_bytes())
    tensors["weights_exponents"][3] = 100
    (tmp_path / "k.safetensors").write_bytes(to_safetensors(tensors, names, text))
    with pytest.raises(errors.LabelBankError, match="not finite"):
        Knowledge.load(tmp_path / "k.safetensors")


def test_a_file_has_8_bits_per_value(knowledge, tmp_path):
    knowledge.save(tmp_path / "k.safetensors")
    again = Knowledge.load(tmp_path / "k.safetensors")
    for name in ("vectors", "weights", "photos"):
        before, after = getattr(knowledge, name).astype(float), getattr(again, name).astype(float)
        assert (np.abs(after - before) <= np.abs(before).max(1, keepdims=True) / 127).all()
    text = {**knowledge.text, "calibration": vars(knowledge.calibration)}
    arrays = {name: getattr(knowledge, name) for name in ("vectors", "weights", "photos")}
    (tmp_path / "0.2.safetensors").write_bytes(to_safetensors(arrays, knowledge.names, text))
    np.testing.assert_array_equal(
        Knowledge.load(tmp_path / "0.2.safetensors").weights, knowledge.weights
    )


@pytest.mark.parametrize(
    ("contents", "got"),
    [
        (None, "No such file"),
        (b"", "another or damaged file"),
        (b"no tensors", "another or damaged file"),
        (LabelBank, "a label bank"),
    ],
)
def test_other_files(tmp_path, contents, got):
    path = tmp_path / "k.safetensors"
    if contents is not None:
        path.write_bytes(make_bank().to_bytes() if contents is LabelBank else contents)
    with pytest.raises(
        errors.LabelBankError, match=f"expected a knowledge file of pvlr export, got {got}"
    ):
        module.Knowledge.load(path)
