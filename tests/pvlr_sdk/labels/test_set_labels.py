"""``Tagger.set_labels``: an open plan's labels change while it runs, and no result mixes two banks."""

from __future__ import annotations

import hashlib
import json
import pickle
import resource
import threading
import time

import numpy as np
import pytest

from pvlr_sdk import LabelBank, Tagger, errors
from pvlr_sdk.backends.openvino import OpenVinoBackend
from pvlr_sdk.bundle.bundle import labels_path, manifest_path
from pvlr_sdk.frames.preprocess import Preprocessor
from pvlr_sdk.models.find import load_bundle
from tests.pvlr_sdk.labels.tiny_open import check, make_bank

NAMES = ["person", "cat", "coffee cup", "rocket"]
MAX = 6


def test_its_own_bank_is_that_of_the_bundle(tagger, open_plan, frame):
    bank = LabelBank.load(labels_path(open_plan))
    check(tagger.predict(frame), frame, bank)
    assert (
        tagger.info["bank"]
        == hashlib.sha256(labels_path(open_plan).read_bytes()).hexdigest()
        == bank.sha256
    )
    assert tagger.info["max_labels"] == MAX


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2, MAX])
def test_another_bank_gives_the_results_of_the_definition_whatever_the_padding(
    tagger, frame, count
):
    bank = make_bank(count, seed=count)
    tagger.set_labels(bank)
    check(tagger.predict(frame), frame, bank)
    check(tagger.predict_async(frame).result(), frame, bank)
    assert tagger.labels == bank.names
    assert tagger.label_bank is bank
    assert (tagger.info["labels"], tagger.info["bank"]) == (count, bank.sha256)
    np.testing.assert_array_equal(tagger.thresholds, bank.thresholds)


def test_a_selection_in_another_order(tagger, frame):
    bank = tagger.label_bank.select(["rocket", "person"])
    tagger.set_labels(bank)
    check(tagger.predict(frame), frame, bank)
    with pytest.raises(errors.UnknownLabelError, match="rocket"):
        bank.select(["rockets"])
    with pytest.raises(errors.LabelBankError, match="distinct"):
        bank.select(["rocket", "rocket"])


@pytest.mark.parametrize(
    ("changes", "got"),
    [
        ({"biases": 20.0}, "a logit of"),
        ({"biases": -1000.0}, "a logit of"),
        ({"gains": 1000.0, "biases": 1000.0}, "a logit of"),
        ({"weights": 1000.0, "biases": 1000.0}, "a logit of"),
        ({"gains": 3.4e38, "biases": -3.4e38}, r"gains float32|biases float32"),
        ({"weights": 65504.0}, "weights float16"),
        ({"embeddings": 1001.0}, "embeddings float16"),
    ],
)
def test_scores_that_no_frame_changes(tagger, frame, changes, got):
    """The golden frame is tagged with a bank before any other; the labels before stay in use."""
    before, base = tagger.label_bank, make_bank()
    shapes = {"weights": (len(base), 16), "embeddings": base.embeddings.shape}
    arrays = {name: np.full(shapes.get(name, len(base)), value) for name, value in changes.items()}
    arrays = {
        name: of.astype(np.float16 if name in shapes else np.float32) for name, of in arrays.items()
    }
    given = {"embeddings": base.embeddings, "thresholds": base.thresholds, **arrays}
    with pytest.raises(errors.LabelBankError, match=got):
        tagger.set_labels(
            LabelBank(base.names, text={**base.text, "features": "tiny features"}, **given)
        )
    assert tagger.label_bank is before
    tagger.predict(frame)


def test_the_golden_frame_is_tagged_once_with_each_bank(tagger, monkeypatch):
    """It waits behind the inferences of other threads, so a change between known banks does without."""
    from pvlr_sdk.inference import golden

    tried, test = [], golden.logits_of
    monkeypatch.setattr(
        golden, "logits_of", lambda frame, backend, of: tried.append(1) or test(frame, backend, of)
    )
    first, second, bad = tagger.label_bank, make_bank(3, seed=1), make_bank()
    bad = LabelBank(
        bad.names,
        bad.embeddings,
        bad.thresholds,
        bad.text,
        biases=np.full(len(bad), 900, np.float32),
    )
    for bank in (first, second, first, second):
        tagger.set_labels(bank)
    assert len(tried) == 1
    for _ in range(2):
        with pytest.raises(errors.LabelBankError, match="a logit of"):
            tagger.set_labels(bad)
    assert len(tried) == 3


@pytest.mark.slow
@pytest.mark.parametrize("optimize", ["latency", "throughput"])
def test_the_part_for_labels_has_one_thread(open_plan, optimize):
    """Where other threads keep the cores busy, several would wait for one another."""
    for _ in range(2):  # the second one is from the cache
        with Tagger(open_plan, num_threads=2, optimize=optimize) as tagger:
            assert tagger._plan.backend._label_network.get_property("INFERENCE_NUM_THREADS") == 1


def test_a_bank_whose_network_computes_nan(tagger, monkeypatch):
    monkeypatch.setattr(
        "pvlr_sdk.inference.golden.logits_of", lambda *_: np.full(4, np.nan, np.float32)
    )
    with pytest.raises(errors.LabelBankError, match="a logit of nan for 'person'"):
        tagger.set_labels(make_bank(4, seed=1))


def test_the_operating_point_of_the_tagger_applies(open_plan, frame):
    bank = make_bank(3, seed=1)
    precise = np.maximum(bank.thresholds, np.float32(0.875))
    both = LabelBank(
        bank.names, bank.embeddings, bank.thresholds, bank.text, precise, biases=bank.biases
    )
    for point, chosen, expected in (("f1", both, bank.thresholds), ("precise", both, precise),
                                    ("precise", both.select(["cat"]), precise[1:2]),
                                    ("precise", bank, bank.thresholds)):  # fmt: skip
        with Tagger(open_plan, operating_point=point) as tagger:
            tagger.set_labels(chosen)
            np.testing.assert_array_equal(tagger.predict(frame).thresholds, expected)
            assert tagger.info["operating_point"] == (None if chosen is bank else point)


def test_a_bank_without_biases(tagger, frame):
    bank = make_bank()
    bank = LabelBank(bank.names, bank.embeddings, bank.thresholds, bank.text)
    tagger.set_labels(bank)
    check(tagger.predict(frame), frame, bank)


def test_pairs_of_frames_have_the_same_labels(open_plan, frame, monkeypatch):
    # or not, by the machine's kernels
    monkeypatch.setattr(OpenVinoBackend, "_group_agrees", lambda backend: True)
    with Tagger(open_plan, precision="fp32", optimize="throughput") as tagger:
        assert tagger.info["together"] == 2
        for seed in (1, 2):
            bank = make_bank(seed + 2, seed=seed)
            tagger.set_labels(bank)
            for result in tagger.predict_batch([frame] * 9):
                check(result, frame, bank)


def test_a_call_keeps_the_bank_that_it_began_with(tagger, frame):
    first, second = tagger.label_bank, make_bank(3, seed=1)
    stream = tagger.predict_stream(frame for _ in range(40))
    check(next(stream), frame, first)
    tagger.set_labels(second)
    for result in stream:
        check(result, frame, first)
    check(tagger.predict(frame), frame, second)


@pytest.mark.slow
def test_no_result_mixes_two_banks_while_they_change(tagger, frame):
    import cv2

    swaps, growth = 4_000, 10_000
    banks = [make_bank(1 + seed % MAX, seed=seed) for seed in range(8)]
    # Decoding takes a millisecond: most calls are under way when the bank changes.
    image = cv2.imencode(".png", cv2.resize(frame, (320, 256)))[1].tobytes()
    expected = {}
    for bank in banks:
        tagger.set_labels(bank)
        result = tagger.predict(image)
        expected[bank.sha256] = (
            bank.names,
            result.logits.tobytes(),
            result.attention(bank.names[-1], "grid").tobytes(),
        )
    done, wrong, seen, deadline = threading.Event(), [], [], time.monotonic() + 60

    def predict() -> None:
        while not done.is_set():
            result = tagger.predict(image)
            names, logits, attention = expected[result.bank]
            found = list(result.scores_by_label), result.logits.tobytes()
            if (
                found != (names, logits)
                or result.attention(names[-1], "grid").tobytes() != attention
            ):
                wrong.append(result)
            seen.append(result.bank)

    threads = [threading.Thread(target=predict) for _ in range(4)]
    for thread in threads:
        thread.start()
    for swap in range(swaps):
        tagger.set_labels(banks[swap % len(banks)])
        while swap < len(banks) and banks[swap].sha256 not in seen and time.monotonic() < deadline:
            time.sleep(0.001)
        if swap == swaps // 5:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong
    assert set(seen) == set(expected)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < growth  # KB


@pytest.mark.parametrize(
    ("bank", "error", "message"),
    [
        ({"count": 1000}, errors.LabelBankError, r"at most 6 labels, got 1000.*--max-labels 1000"),
        (
            {"space": "another model"},
            errors.LabelBankError,
            "made for tiny 0123, got one made for another model",
        ),
        (
            {"space": None},
            errors.LabelBankError,
            "made for tiny 0123, got one made for no open plan",
        ),
        ({"width": 9}, errors.LabelBankError, "embeddings of width 8, got 9"),
        (NAMES, errors.OptionError, "bank: expected a LabelBank, got list"),
        ("bank.safetensors", errors.OptionError, "bank: expected a LabelBank, got str"),
    ],
)
def test_a_bank_that_does_not_fit_changes_nothing(tagger, frame, bank, error, message):
    before = tagger.label_bank
    with pytest.raises(error, match=message):
        tagger.set_labels(make_bank(**bank) if isinstance(bank, dict) else bank)
    check(tagger.predict(frame), frame, before)


def test_a_closed_plan_keeps_its_labels(plan, photo):
    with Tagger(plan) as tagger:
        assert tagger.info["max_labels"] is None
        assert tagger.predict(photo).bank == tagger.label_bank.sha256
        with pytest.raises(
            errors.BackendError, match=r"an open plan, got one whose labels are part of it.*--open"
        ):
            tagger.set_labels(tagger.label_bank)
    assert "open" not in json.loads(manifest_path(plan).read_text())


def test_a_closed_tagger(open_plan):
    tagger = Tagger(open_plan)
    tagger.close()
    with pytest.raises(errors.BackendError, match="an open tagger"):
        tagger.set_labels(make_bank())


def test_the_threshold_of_the_tagger_applies(open_plan, frame):
    with Tagger(open_plan, threshold={"cat": 0.125}) as tagger:
        tagger.set_labels(make_bank(3, seed=1))
        assert tagger.predict(frame)["cat"].threshold == 0.125
        with pytest.raises(errors.UnknownLabelError, match="cat"):
            tagger.set_labels(make_bank().select(["person"]))
        assert tagger.labels == NAMES[:3]


def test_another_process_gets_the_bank_too(tagger, frame):
    bank = make_bank(3, seed=1)
    tagger.set_labels(bank)
    with pickle.loads(pickle.dumps(tagger)) as copy:
        check(copy.predict(frame), frame, bank)


def test_the_definition_is_checked_against_the_preprocessor(tagger, frame):
    """The reference of these tests prepares a frame as the plan does."""
    image = np.ascontiguousarray((frame[:, :, ::-1].astype(np.float32) - 127) / 128).transpose(
        2, 0, 1
    )
    spec = load_bundle(tagger.info["plan"]).manifest.input
    np.testing.assert_allclose(Preprocessor(spec).load(frame), image, atol=1e-5)
