"""``pvlr teach``: labels from a few photos, what is refused, and how a label is forgotten."""

from __future__ import annotations

import json
import re
import shutil
import sys

import cv2
import numpy as np
import pytest

from pvlr_sdk import LabelBank, Tagger, errors
from pvlr_sdk.bundle.bundle import labels_path
from pvlr_sdk.labels import Photos, forget, teach
from pvlr_sdk.labels.page import page
from pvlr_sdk.workshop.evaluation.labels_csv import read_photos
from tests.heic import HEIC
from tests.pvlr_sdk.labels.tiny_open import check, draw, make_bank


@pytest.mark.slow
def test_a_taught_label_is_found_on_new_photos(open_plan, taught, tmp_path):
    with Tagger(open_plan, precision="fp32") as tagger:
        before = tagger.label_bank
        tagger.set_labels(taught.bank)
        for index in range(20):
            shows = (
                draw(tmp_path / f"{index}.png", "red", seed=1),
                draw(tmp_path / f"{index}.jpg", "green", seed=1),
            )
            red, green = map(tagger.predict, shows)
            assert "mug" in red
            assert "mug" not in green
            check(red, cv2.imread(str(shows[0])), taught.bank)
        tagger.set_labels(before)
        expected = tagger.predict(shows[0]).logits
    assert taught.bank.names == [*before.names, "mug"]
    # the other labels do not read it
    np.testing.assert_allclose(red.logits[:-1], expected, atol=1e-5)


def test_the_report_is_that_of_cross_validation(taught):
    (report,) = taught.labels
    assert (report.label, report.positives, report.negatives, report.words) == ("mug", 6, 18, False)
    assert report.recall > 60
    assert report.precision > 60
    assert report.words_average_precision is None
    assert report.prevalence == 25
    for measure, (low, high) in (
        (report.precision, report.precision_interval),
        (report.recall, report.recall_interval),
    ):
        assert low < measure <= high == 100  # few photos say little
    assert re.fullmatch(
        r"Add examples that (do not )?show it and resemble .*\d\.png\.", report.advice
    )
    assert 0.05 <= report.threshold <= report.precise_threshold < 1
    assert taught.bank.thresholds[-1] == np.float32(report.threshold)
    assert json.dumps(taught.to_dict())


@pytest.mark.parametrize(("prevalence", "lacks_others"), [(None, False), (0.02, True)])
def test_advice_is_about_what_is_less_certain(open_plan, photos, prevalence, lacks_others):
    (report,) = teach(open_plan, photos, prevalence=prevalence, precision="fp32").labels
    assert (report.precision_interval[0] < report.recall_interval[0]) == lacks_others
    assert ("do not" in report.advice) == lacks_others
    assert f"/{'not' if lacks_others else 'is'}/" in report.advice  # the folder of the hardest one


def test_a_photo_in_the_wrong_folder_is_named(open_plan, folders, tmp_path):
    shutil.copytree(folders / "not", tmp_path / "not")
    wrong = draw(tmp_path / "not" / "wrong.png", "red", seed=1)
    photos = Photos.from_folders("mug", folders / "is", tmp_path / "not")
    (report,) = teach(open_plan, photos, precision="fp32").labels
    assert report.harmful == str(wrong)


def test_a_rarer_label_is_less_precise(taught, open_plan, photos):
    (usual,), (rare,) = (
        taught.labels,
        teach(open_plan, photos, prevalence=0.02, precision="fp32").labels,
    )
    assert rare.prevalence == 2
    assert rare.threshold >= usual.threshold
    assert rare.precision_interval[0] < usual.precision_interval[0] - 20
    with pytest.raises(
        errors.OptionError, match=r"prevalence: expected a share of photos between 0 and 1, got 2"
    ):
        teach(open_plan, photos, prevalence=2)


def test_its_provenance_is_in_the_bank(taught, open_plan, photos):
    again = LabelBank.from_bytes(taught.bank.to_bytes())
    provenance = again.taught["mug"]
    with Tagger(open_plan) as tagger:
        assert provenance["plan"] == tagger.info["sha256"]
    assert (provenance["positives"], provenance["negatives"], provenance["words"]) == (6, 18, False)
    assert provenance["precision_interval"] == pytest.approx(
        taught.labels[0].precision_interval, abs=0.01
    )
    assert "png" not in json.dumps(again.text)  # neither photos nor their names
    assert teach(open_plan, photos, precision="fp32").bank.to_bytes() == again.to_bytes()
    assert "mug" not in again.select(["cat"]).taught


def test_a_forgotten_label_leaves_nothing(taught, open_plan):
    own = LabelBank.load(labels_path(open_plan))
    assert forget(taught.bank, ["mug"]).to_bytes() == own.to_bytes()


@pytest.mark.slow
def test_a_label_of_the_bank_starts_from_its_vector(open_plan, folders, taught):
    photos = Photos.from_folders("cat", folders / "is", folders / "not")
    with pytest.raises(
        errors.OptionError,
        match=r"label: expected a new label, got 'cat', which the bank has.*--replace",
    ):
        teach(open_plan, photos)
    own = LabelBank.load(labels_path(open_plan))
    once = teach(open_plan, photos, bank=taught.bank, replace=True, precision="fp32")
    assert once.labels[0].words
    assert once.labels[0].words_average_precision is not None
    index = own.index("cat")
    np.testing.assert_array_equal(once.bank.embeddings[index], own.embeddings[index])
    assert once.bank.gains[index] != 1
    # from the same start
    again = teach(open_plan, photos, bank=once.bank, replace=True, precision="fp32")
    assert again.bank.to_bytes() == once.bank.to_bytes()
    twice = teach(open_plan, photos, bank=once.bank, replace=True, words=False, precision="fp32")
    assert twice.bank.gains[index] == 0
    assert forget(twice.bank, ["cat"]).to_bytes() == taught.bank.to_bytes()
    assert forget(twice.bank, ["cat", "mug"]).to_bytes() == own.to_bytes()


def test_several_labels_from_a_table(open_plan, tmp_path):
    rows = ["file,split,red,blue"]
    for index in range(24):
        colours = [["red"], ["blue"], ["red", "blue"], ["green"]][index % 4]
        draw(tmp_path / f"{index}.png", *colours)
        known = [
            ("1" if name in colours else "-1") if index < 20 or name == "red" else ""
            for name in ("red", "blue")
        ]
        rows.append(f"{index}.png,train,{','.join(known)}")
    (tmp_path / "labels.csv").write_text("\n".join([*rows, "missing.png,test,1,1"]))
    photos = read_photos(tmp_path / "labels.csv", tmp_path, split="train", rename={"red": "my mug"})
    taught = teach(open_plan, photos, precision="fp32")
    counts = [(report.label, report.positives, report.negatives) for report in taught.labels]
    assert counts == [("my mug", 12, 12), ("blue", 10, 10)]
    with Tagger(open_plan, precision="fp32") as tagger:
        tagger.set_labels(taught.bank)
        both = draw(tmp_path / "both.png", "red", "blue", seed=3)
        result = tagger.predict(both)
        check(result, cv2.imread(str(both)), taught.bank)
    assert {"my mug", "blue"} <= {tag.label for tag in result}
    only = read_photos(tmp_path / "labels.csv", tmp_path, ["blue"], "train")
    assert (only.labels, only.targets.shape) == (["blue"], (24, 1))
    with pytest.raises(
        errors.OptionError,
        match=r"label: expected a column of .*labels.csv, got 'pen'\. Its columns are .*red",
    ):
        read_photos(tmp_path / "labels.csv", tmp_path, ["blue", "pen"])
    with pytest.raises(errors.ImageNotFoundError, match="the folder of the images"):
        read_photos(tmp_path / "labels.csv", tmp_path / "none")


def test_one_photo_of_the_label_is_not_measured(open_plan, folders, tmp_path):
    taught = teach(
        open_plan,
        Photos.from_folders("mug", folders / "is" / "0.png", folders / "not"),
        precision="fp32",
    )
    (report,) = taught.labels
    assert (report.positives, report.precision, report.recall, report.threshold) == (
        1,
        None,
        None,
        0.5,
    )
    assert (report.precision_interval, report.recall_interval) == (None, None)
    assert report.advice == "Add examples that show it: with a single one, nothing can be measured."
    assert report.harmful is None
    assert "Not measured" in page(taught.bank, taught.labels)
    with Tagger(open_plan, precision="fp32") as tagger:
        tagger.set_labels(taught.bank)
        assert not any(
            "mug" in result for result in tagger.predict_batch(sorted((folders / "not").iterdir()))
        )


def test_unreadable_photos_are_reported_and_copies_count_once(open_plan, folders, tmp_path):
    shutil.copytree(folders / "is", tmp_path / "is")
    (tmp_path / "is" / "broken.jpg").write_bytes(b"no image")
    (tmp_path / "is" / "gone.png").symlink_to("nowhere")
    shutil.copy(tmp_path / "is" / "0.png", tmp_path / "is" / "copy.png")
    photos = Photos.from_folders("mug", tmp_path / "is", [str(folders / "not"), folders / "not"])
    taught = teach(open_plan, photos, precision="fp32")
    assert (taught.labels[0].positives, taught.labels[0].negatives) == (6, 18)
    assert sorted(one["error"] for one in taught.failed) == [
        "ImageDecodeError",
        "ImageNotFoundError",
    ]
    assert "broken.jpg" in page(taught.bank, taught.labels, taught.failed)


def test_a_photo_in_both_folders_is_refused(folders, tmp_path):
    shutil.copy(folders / "is" / "0.png", tmp_path / "same.png")
    for negatives in (tmp_path, folders / "is"):
        with pytest.raises(
            errors.OptionError, match=r"positives: expected no photo of negatives, got .*0\.png"
        ):
            Photos.from_folders("mug", folders / "is", negatives)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("positives", "negatives", "message"),
    [
        (
            "none",
            "not",
            "positives: expected at least one readable photo that shows 'mug', got none",
        ),
        (
            "is",
            "none",
            "negatives: expected at least one readable photo that does not show 'mug', got none",
        ),
        (
            "damaged",
            "not",
            r"positives: expected at least one .* that shows 'mug', got none; not read: .*damaged",
        ),
        (
            "is",
            "damaged",
            r"negatives: expected at least one .* does not show 'mug', got none; not read: .*damaged",
        ),
        ("is", "absent", r"negatives: .* got none; not read: .*absent.*permissions\. Add some"),
        ("empty", "not", r"positives: .* such as \.jpg, \.heic or \.mp4\. Add some"),
    ],
)
def test_too_few_photos(open_plan, folders, tmp_path, positives, negatives, message):
    (tmp_path / "none").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "a.png").write_bytes(b"no image")
    where = {"is": folders / "is", "not": folders / "not"}
    chosen = [where.get(name, tmp_path / name) for name in (positives, negatives)]
    with pytest.raises(errors.OptionError, match=message):
        teach(open_plan, Photos.from_folders("mug", *chosen))


def test_photos_of_phones_without_their_package(open_plan, folders, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    (tmp_path / "a.heic").write_bytes(HEIC)
    message = r"shows 'mug', got none; not read: .*a\.heic.*\[heif\].*Add some"
    with pytest.raises(errors.OptionError, match=message):
        teach(open_plan, Photos.from_folders("mug", tmp_path, folders / "not"))


@pytest.mark.slow
def test_plans_and_banks_that_do_not_fit(open_plan, plan, photos, taught):
    with pytest.raises(
        errors.BackendError, match=r"an open plan, got one whose labels are part of it.*--open"
    ):
        teach(plan, photos)
    with pytest.raises(errors.LabelBankError, match=r"at most 6 labels, got 7.*--max-labels 7"):
        teach(open_plan, photos, bank=make_bank(6))
    with pytest.raises(errors.LabelBankError, match="made for tiny 0123, got one made for another"):
        teach(open_plan, photos, bank=make_bank(space="another"))
    bank = taught.bank
    changed = {"gains": bank.gains, "biases": bank.biases}
    for text, weights, message in (
        (
            {"features": "others"},
            bank.weights,
            r"taught on the features of tiny features, got .*others.*Teach them again",
        ),
        ({"features": None}, bank.weights, "taught on the features of tiny features"),
        ({}, bank.weights[:, 1:], "weights of width 16, got 15"),
    ):
        other = LabelBank(
            bank.names,
            bank.embeddings,
            bank.thresholds,
            {**bank.text, **text},
            weights=weights,
            **changed,
        )
        with Tagger(open_plan) as tagger, pytest.raises(errors.LabelBankError, match=message):
            tagger.set_labels(other)


@pytest.mark.parametrize(
    ("arrays", "text", "message"),
    [
        ({"gains": np.zeros(3, np.float32)}, {}, "gains float32"),
        ({"gains": np.full(4, np.inf, np.float32)}, {}, "gains float32"),
        ({"weights": np.zeros((4, 16), np.float32)}, {}, "weights float16"),
        ({"weights": np.zeros(4, np.float16)}, {}, "weights float16"),
        ({"weights": np.full((4, 16), np.nan, np.float16)}, {}, "weights float16"),
        ({"biases": np.zeros(3, np.float32)}, {}, "biases float32"),
        ({"biases": np.zeros(4)}, {}, "biases float32"),
        ({"biases": np.full(4, np.nan, np.float32)}, {}, "biases float32"),
        ({}, {"space": 3}, r"a name as text\.space"),
        ({}, {"taught": ["mug"]}, r"an object of objects as text\.taught"),
        ({}, {"taught": {"mug": 3}}, r"an object of objects as text\.taught"),
    ],
)
def test_invalid_banks(arrays, text, message):
    bank = make_bank()
    with pytest.raises(errors.LabelBankError, match=message):
        LabelBank(bank.names, bank.embeddings, bank.thresholds, text, **arrays)


def test_what_cannot_be_forgotten(taught):
    with pytest.raises(
        errors.OptionError, match=r"forget: expected a label that was taught, got 'cat'.*'mug'"
    ):
        forget(taught.bank, ["cat"])
    with pytest.raises(errors.UnknownLabelError, match="mug"):
        forget(taught.bank, ["mugs"])
    bank = taught.bank
    for entry in ({}, {"before": {}}, {"before": {"gains": "x"}}):
        text = {**bank.text, "taught": {"mug": entry}}
        other = LabelBank(bank.names, bank.embeddings, bank.thresholds, text, weights=bank.weights)
        with pytest.raises(errors.LabelBankError, match="what 'mug' was before it was taught"):
            forget(other, ["mug"])
    with pytest.raises(errors.LabelBankError, match="distinct label names"):
        forget(bank.select(["mug"]), ["mug"])


def test_a_bank_without_any_words(open_plan, taught, folders):
    with Tagger(open_plan, precision="fp32") as tagger:
        tagger.set_labels(taught.bank.select(["mug"]))
        result = tagger.predict(folders / "is" / "0.png")
    assert [tag.label for tag in result] == ["mug"]
    # nothing says where it is
    np.testing.assert_allclose(result.attention("mug", "grid"), 1 / 20, atol=1e-6)


def test_features_are_unit_vectors_of_open_plans(tagger, frame, plan, photo):
    np.testing.assert_allclose(np.linalg.norm(tagger.predict(frame).features), 1, atol=1e-5)
    with Tagger(plan) as closed:
        assert closed.predict(photo).features is None


def test_the_page_shows_the_mistakes(open_plan, folders):
    label = "<script>mug"
    # Of two like colours, half are said to be the label: no classifier tells them apart.
    mixed = Photos.from_folders(
        label, sorted((folders / "not").iterdir())[:9], sorted((folders / "not").iterdir())[9:]
    )
    taught = teach(open_plan, mixed, precision="fp32")
    (report,) = taught.labels
    assert report.mistakes
    html = page(taught.bank, taught.labels)
    assert html.count("<img ") == len(report.mistakes)
    assert html.count("data:image/jpeg;base64,") == len(report.mistakes)
    assert "<script" not in html
    assert "&lt;script&gt;mug" in html
