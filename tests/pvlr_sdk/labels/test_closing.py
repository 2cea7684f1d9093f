"""``pvlr build PLAN --bank BANK``: an open plan becomes a closed one, with the same scores bit for bit."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.bundle.bundle import labels_path
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.workshop.compile.build import build
from pvlr_sdk.workshop.compile.verify import verify
from tests.pvlr_sdk.labels.tiny_open import DEPTH, MAX, WIDTH, check, make_bank, random_bank

ROOT = Path(__file__).parents[3]


def close(plan, folder, bank, **options):
    folder.mkdir(exist_ok=True)
    bank.save(folder / "bank.safetensors")
    build(plan, folder / "engine.plan", bank=folder / "bank.safetensors", **options)
    return folder / "engine.plan"


def check_equal(opened, closed, frames):
    """All results of two taggers are equal, bit for bit."""
    assert opened.labels == closed.labels
    singles = [opened.predict(frame) for frame in frames]
    for expected, one, streamed in zip(
        singles, map(closed.predict, frames), closed.predict_batch(frames), strict=True
    ):
        for result in (one, streamed):
            np.testing.assert_array_equal(result.scores, expected.scores)
            np.testing.assert_array_equal(result.logits, expected.logits)
            np.testing.assert_array_equal(result.thresholds, expected.thresholds)
            assert result.bank == expected.bank
            for name in closed.labels[::9]:
                np.testing.assert_array_equal(
                    result.attention(name, "grid"), expected.attention(name, "grid")
                )
    for expected, result in zip(singles, opened.predict_batch(frames), strict=True):
        np.testing.assert_array_equal(result.logits, expected.logits)


@pytest.fixture
def frames():
    return [
        np.random.default_rng(seed).integers(0, 256, (40, 50, 3)).astype(np.uint8)
        for seed in range(3)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "without", "point"),
    [
        (1, 0, "f1"),
        (1, 1, "precise"),
        (3, 1, "f1"),
        (5, 0, "precise"),
        (MAX, MAX, "f1"),
        (MAX, 2, "precise"),
    ],
)
def test_scores_are_those_of_the_open_plan(open_plan, frames, tmp_path, count, without, point):
    bank = random_bank(count, count, without=without)
    options = {"precision": "fp32", "operating_point": point}
    with (
        Tagger(close(open_plan, tmp_path, bank), **options) as closed,
        Tagger(open_plan, **options) as opened,
    ):
        opened.set_labels(bank)
        check_equal(opened, closed, frames)
        assert closed.info["max_labels"] is None
        with pytest.raises(errors.BackendError, match="expected an open plan"):
            closed.set_labels(bank)


def test_the_network_is_that_of_the_definition(network, frame, tmp_path):
    """From an exported network too; and nothing of its own bank is left."""
    bank = make_bank(5, seed=7)
    with Tagger(close(network, tmp_path, bank), precision="fp32") as closed:
        check(closed.predict(frame), frame, bank)


def test_the_label_bank_keeps_its_provenance(open_plan, tmp_path):
    bank = random_bank(3, 0)
    bundle = load_bundle(close(open_plan, tmp_path, bank))
    assert labels_path(bundle.path).read_bytes() == bank.to_bytes()
    assert (bundle.labels.taught, bundle.manifest.open, bundle.manifest.format) == (
        bank.taught,
        None,
        2,
    )
    opened = load_bundle(open_plan).manifest.files["plan"].sha256
    assert bundle.manifest.built["source"]["open_network"] == opened


@pytest.mark.slow
def test_a_selection_of_the_plans_own_labels(open_plan, frames, tmp_path):
    bank = load_bundle(open_plan).labels.select(["rocket", "cat"])
    plan = close(open_plan, tmp_path, bank)
    with Tagger(plan, precision="fp32") as closed, Tagger(open_plan, precision="fp32") as opened:
        opened.set_labels(bank)
        check_equal(opened, closed, frames)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"space": "another"}, "expected a bank made for tiny 0123, got one made for another"),
        ({"space": None}, "expected a bank made for tiny 0123, got one made for no open plan"),
        (
            {"features": "others"},
            "expected labels taught on the features of tiny features, got labels taught on",
        ),
        ({"width": WIDTH + 1}, "expected embeddings of width 8, got 9"),
        ({"depth": DEPTH + 1}, "expected weights of width 16, got 17"),
        ({"count": MAX + 1}, f"expected at most {MAX} labels, got {MAX + 1}"),
    ],
)
def test_banks_of_other_plans(open_plan, tmp_path, change, message):
    with pytest.raises(errors.LabelBankError, match=rf"bank\.safetensors: {message}"):
        close(open_plan, tmp_path, random_bank(**{"count": 3, "seed": 0, **change}))
    assert not (tmp_path / "engine.plan").exists()


def test_a_plan_that_is_closed_or_damaged(own_plan, open_plan, tmp_path):
    bank = random_bank(3, 0)
    with pytest.raises(
        errors.BackendError, match="expected an open plan, got one whose labels are part of it"
    ):
        close(own_plan, tmp_path / "of closed", bank)
    damaged = shutil.copytree(open_plan.parent, tmp_path / "damaged") / "engine.plan"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(errors.FileSizeError):
        close(damaged, tmp_path / "of damaged", bank)


def test_a_bank_that_is_damaged(open_plan, tmp_path):
    (tmp_path / "bank.safetensors").write_bytes(random_bank(3, 0).to_bytes()[:-1])
    with pytest.raises(errors.LabelBankError, match=r"bank\.safetensors"):
        build(open_plan, tmp_path / "engine.plan", bank=tmp_path / "bank.safetensors")
    with pytest.raises(errors.LabelBankError, match=r"none\.safetensors"):
        build(open_plan, tmp_path / "engine.plan", bank=tmp_path / "none.safetensors")


def test_trusted_keys_apply_to_the_plan_and_the_bank(open_plan, tmp_path, keys, sign, monkeypatch):
    plan = shutil.copytree(open_plan.parent, tmp_path / "plan") / "engine.plan"
    bank, key = tmp_path / "bank.safetensors", keys.make("me")
    random_bank(3, 0).save(bank)
    monkeypatch.setenv("PVLR_TRUST", str(keys.trusted))
    monkeypatch.setenv("PVLR_STATE", str(tmp_path / "versions.json"))
    for unsigned in (plan, bank):
        with pytest.raises(errors.NotSignedError, match=unsigned.stem):
            build(plan, tmp_path / "engine.plan", bank=bank)
        sign(unsigned, key)
    build(plan, tmp_path / "engine.plan", bank=bank)


@pytest.mark.slow
def test_a_closed_plan_is_verified_with_the_open_network(
    open_plan, network, own_plan, frames, tmp_path
):
    with Tagger(
        close(open_plan, tmp_path, random_bank(5, 0, without=1)), precision="fp32"
    ) as closed:
        agreement = verify(closed, network, frames).agreement
        assert (agreement.photos, agreement.tag_sets, agreement.largest_logit_difference) == (
            3,
            1,
            0,
        )
    with (
        Tagger(own_plan) as other,
        pytest.raises(errors.LabelBankError, match="expected a bank made for tiny 0123"),
    ):
        verify(other, network, frames)


@pytest.mark.slow
def test_tensorrt_runs_a_closed_bank(trt, open_plan, frames, tmp_path):
    """With native attention: the fused kernel has no mask."""
    bank = random_bank(5, 0, without=1)
    plan = close(open_plan, tmp_path, bank, device="tensorrt")
    build(open_plan, tmp_path / "own.plan", device="tensorrt")  # with its own labels
    with Tagger(tmp_path / "own.plan") as own, Tagger(open_plan) as opened:
        assert own.labels == opened.labels
    assert "attention" in load_bundle(plan).manifest.measured["refused"]["fp16 fused"]
    with Tagger(plan) as closed, Tagger(open_plan, precision="fp32") as opened:
        opened.set_labels(bank)
        for frame in frames:
            np.testing.assert_allclose(
                closed.predict(frame).logits, opened.predict(frame).logits, atol=0.03
            )


@pytest.mark.slow
@pytest.mark.parametrize(("count", "without"), [(1, 0), (33, 5), (77, 76), (127, 0), (128, 3)])
@pytest.mark.parametrize("optimize", ["latency", "throughput"])
def test_the_shipped_open_model(tmp_path, count, without, optimize):
    spec = load_bundle(ROOT / "pvlr_sdk/models/pvlr-lite2-open").manifest.open
    bank = random_bank(
        count, count, width=spec.width, depth=spec.feature_width, space=spec.space, features=spec.features,
        without=without,
    )  # fmt: skip
    plan = close(ROOT / "pvlr_sdk/models/pvlr-lite2-open/engine.plan", tmp_path, bank)
    options = {"precision": "fp32", "optimize": optimize}
    with Tagger(plan, **options) as closed, Tagger("pvlr-lite2-open", **options) as opened:
        opened.set_labels(bank)
        check_equal(
            opened,
            closed,
            list(np.random.default_rng(0).integers(0, 256, (4, 90, 120, 3)).astype(np.uint8)),
        )
