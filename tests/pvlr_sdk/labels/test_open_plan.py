"""The files of an open plan: what is built, what fits together, and what the cache keeps."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from pvlr_sdk import LabelBank, Tagger, errors
from pvlr_sdk.backends import cache
from pvlr_sdk.bundle.bundle import knowledge_path, labels_path, write_thresholds
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.workshop.compile.build import build
from pvlr_sdk.workshop.compile.export import export_as
from tests.manifests import edit_manifest, read_raw
from tests.pvlr_sdk.labels.tiny_open import check, make_bank, write_network

NAMES = ["person", "cat", "coffee cup", "rocket"]
MAX, WIDTH, SPACE = 6, 8, "tiny 0123"


@pytest.mark.slow
def test_the_second_start_is_from_the_cache(open_plan, frame):
    bank = make_bank(3, seed=1)
    for damaged in (False, True):
        Tagger(open_plan, precision="fp32").close()
        for blob in cache.cache_folder().glob("*.labels") if damaged else ():
            blob.write_bytes(blob.read_bytes()[:-8])
        with Tagger(open_plan, precision="fp32") as tagger:
            assert tagger.info["from_cache"] != damaged
            tagger.set_labels(bank)
            check(tagger.predict(frame), frame, bank)


@pytest.mark.slow
def test_the_manifest_says_that_it_is_open(open_plan, tmp_path):
    folder = shutil.copytree(open_plan.parent, tmp_path / "own")
    manifest = read_raw(folder / "engine.plan")
    features = {"feature_width": 16, "features": "tiny features"}
    assert manifest["open"] == {"max_labels": MAX, "width": WIDTH, "space": SPACE, **features}
    for changes, error, message in (
        ({"max_labels": 3}, errors.ManifestError, "at most 3 labels"),
        ({"width": 9}, errors.ModelError, "an input of shape"),
        ({"feature_width": 9}, errors.ModelError, "an input of shape"),
        ({"space": "another"}, errors.LabelBankError, "made for another"),
        (None, errors.ModelError, "one input named image"),
    ):
        changed = (
            {**manifest, "open": {**manifest["open"], **changes}}
            if changes
            else {**manifest, "open": None}
        )
        (folder / "engine.json").write_text(json.dumps(changed))
        with pytest.raises(error, match=message):
            Tagger(folder / "engine.plan")


def test_a_closed_network_is_not_opened_by_its_manifest(own_plan):
    spec = {"max_labels": 5, "width": 16, "space": SPACE, "feature_width": 8, "features": "other"}
    edit_manifest(own_plan, lambda raw: raw.update(open=spec))
    with pytest.raises(
        errors.BundleError,
        match="inputs named image, labels, label_biases, label_mask, label_gains, label_weights",
    ):
        Tagger(own_plan)


def test_new_thresholds_keep_the_biases(open_plan, tmp_path):
    folder = shutil.copytree(open_plan.parent, tmp_path / "own")
    bundle = load_bundle(folder / "engine.plan")
    write_thresholds(bundle, np.full(len(NAMES), 0.25, np.float32))
    for bank in (
        load_bundle(folder / "engine.plan").labels,
        LabelBank.load(folder / "model-open.labels.safetensors"),
    ):
        np.testing.assert_array_equal(bank.biases, bundle.labels.biases)
        np.testing.assert_array_equal(bank.thresholds, np.float32(0.25))


def test_a_bank_is_written_and_read():
    bank = make_bank()
    again = LabelBank.from_bytes(bank.to_bytes())
    assert again.to_bytes() == bank.to_bytes()
    np.testing.assert_array_equal(again.biases, bank.biases)
    assert (again.space, again.sha256) == (SPACE, bank.sha256)


@pytest.mark.slow
def test_the_knowledge_file_is_copied(network, tmp_path):
    knowledge_path(network).write_bytes(b"what the network knows")
    try:
        build(network, tmp_path / "engine.plan")
        build(network, tmp_path / "closed.plan", bank=labels_path(network))
    finally:
        knowledge_path(network).unlink()
    assert knowledge_path(tmp_path / "engine.plan").read_bytes() == b"what the network knows"
    assert not knowledge_path(tmp_path / "closed.plan").exists()


def test_an_open_network_is_not_converted(network, tmp_path):
    with pytest.raises(errors.ModelError, match="a closed network, got an open one"):
        export_as(network, tmp_path, precision="fp16")


def test_a_bank_of_another_model_is_not_built(network, tmp_path):
    make_bank(space="another").save(tmp_path / "bank.safetensors")
    with pytest.raises(errors.LabelBankError, match="made for another"):
        build(network, tmp_path / "engine.plan", bank=tmp_path / "bank.safetensors")


def test_an_open_network_lacks_an_input(tmp_path):
    network = write_network(tmp_path, make_bank(), labels="bank")
    with pytest.raises(
        errors.ModelError,
        match="inputs named image, labels, label_biases, label_mask, label_gains, label_weights",
    ):
        build(network, tmp_path / "engine.plan")


@pytest.mark.slow
def test_an_isolated_first_load_runs_an_open_plan_with_its_bank(
    open_plan, tmp_path, frame, monkeypatch
):
    from pvlr_sdk.backends.openvino import isolated

    folder = shutil.copytree(open_plan.parent, tmp_path / "own")
    (tmp_path / "cache").mkdir(mode=0o700)
    # nothing is known of the plan here
    monkeypatch.setenv("PVLR_CACHE_DIR", str(tmp_path / "cache"))
    calls = []
    load = isolated._load_isolated
    monkeypatch.setattr(
        isolated, "_load_isolated", lambda *arguments: calls.append(load(*arguments))
    )
    with Tagger(folder / "engine.plan", precision="fp32") as tagger:
        check(tagger.predict(frame), frame, tagger.label_bank)
    Tagger(folder / "engine.plan", precision="fp32").close()
    assert len(calls) == 1
