"""The shipped models: their tags on real photos, loading time and size."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk import Tagger
from pvlr_sdk.backends.openvino import open_core, supports_bf16
from pvlr_sdk.labels.knowledge import Knowledge
from pvlr_sdk.models.find import default_plan, load_bundle
from pvlr_sdk.trust import Trust
from pvlr_sdk.workshop.evaluation.evaluate import evaluate
from pvlr_sdk.workshop.evaluation.labels_csv import LabelTable, read_labels, read_rename

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT / "docs" / "images"
LARGE = ROOT / "models" / "pvlr-lite2-open-448" / "engine.plan"
SMALL = ROOT / "models" / "pvlr-lite0-open" / "engine.plan"
MAP = ROOT / "training" / "configs" / "voc_to_coco.json"

photos_of_voc = pytest.mark.skipif(
    "PVLR_DATA" not in os.environ, reason="PVLR_DATA is not set: no labelled photos"
)


@pytest.mark.parametrize(
    ("photo", "label"), [("astronaut", "person"), ("chelsea", "cat"), ("coffee", "dining table")]
)
def test_bundled_model_tags_the_shipped_photos(photo: str, label: str) -> None:
    with Tagger() as tagger:
        assert tagger.info["name"] == "pvlr-lite2-open"
        result = tagger.predict(PHOTOS / f"{photo}.jpg")
    assert label in [tag.label for tag in result]
    where = result.attention(label)
    assert where.shape == result.frame_size
    assert where.max() > 2 * where.mean(), "the map is flat"


@pytest.mark.parametrize("plan", [SMALL, pytest.param(LARGE, marks=pytest.mark.slow)])
def test_other_models_tag_the_shipped_photos(plan: Path) -> None:
    with Tagger(plan) as tagger:
        assert tagger.predict(PHOTOS / "astronaut.jpg").tags[0].label == "person"
        assert [tag.label for tag in tagger.predict(PHOTOS / "chelsea.jpg")] == ["cat"]


@pytest.mark.slow
@pytest.mark.skipif(not supports_bf16(open_core()), reason="no bf16 on this machine")
@pytest.mark.parametrize("plan", [None, LARGE, SMALL])
def test_bf16_gives_the_tags_of_fp32(plan: Path | None) -> None:
    """Except for labels whose score is within 0.01 of their threshold."""
    found = {}
    for precision in ("fp32", "bf16"):
        with Tagger(plan, precision=precision) as tagger:
            labels, thresholds = tagger.labels, tagger.thresholds
            found[precision] = np.stack(
                [tagger.predict(path).scores for path in sorted(PHOTOS.glob("*.jpg"))]
            )
    assert len(labels) == len(thresholds)
    differ = (found["fp32"] >= thresholds) != (found["bf16"] >= thresholds)
    assert (np.abs(found["fp32"] - thresholds)[differ] < 0.01).all()


@pytest.mark.parametrize("plan", [default_plan(), LARGE, SMALL])
def test_models_are_small_enough_to_ship(plan: Path) -> None:
    assert sum(path.stat().st_size for path in plan.parent.iterdir()) <= 16_000_000


@pytest.mark.parametrize("plan", [default_plan(), LARGE, SMALL])
def test_models_are_signed_with_the_key_beside_them(plan: Path) -> None:
    """If this fails, a bundle was changed: sign all again, see "Release" in CONTRIBUTING.md."""
    pytest.importorskip("cryptography")
    bundle = load_bundle(plan, trust=Trust(default_plan().parents[1] / "keys", state=""))
    assert bundle.signature is not None
    assert (bundle.signature.name, bundle.signature.expires) == (bundle.manifest.name, None)
    assert bundle.signature.version >= 1


def test_a_signature_costs_less_than_10_ms() -> None:
    """Of this process's CPU time, beyond the hashes of 10 MB that are computed anyway: each file is hashed once."""
    pytest.importorskip("cryptography")
    trust = Trust(default_plan().parents[1] / "keys", state="")
    load_bundle(default_plan(), trust=trust)  # imports cryptography
    extra = []
    for _ in range(15):
        start = time.process_time()
        load_bundle(default_plan(), trust=False)
        middle = time.process_time()
        load_bundle(default_plan(), trust=trust)
        extra.append(time.process_time() - 2 * middle + start)
    assert min(extra) < 0.010


def test_no_private_key_is_in_the_repository() -> None:
    """Not even that of development: nobody can sign with it any more."""
    listed = subprocess.run(
        ["git", "ls-files", "*.pem", "*.key"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("no git checkout")
    assert "pvlr_sdk/models/keys/dev.pem" in listed.stdout
    for name in listed.stdout.splitlines():
        assert b"PRIVATE" not in (ROOT / name).read_bytes(), name


@pytest.mark.slow
def test_first_start_needs_no_torch_and_little_memory(tmp_path: Path) -> None:
    """In a process of its own: no torch, under 400 MB resident while tagging a 1080p frame."""
    code = """
import sys
import numpy as np
from pvlr_sdk import Tagger
frame = np.zeros((1080, 1920, 3), np.uint8)
with Tagger() as tagger:
    for _ in range(20):
        tagger.predict(frame)
assert 'torch' not in sys.modules
# Not getrusage: its peak is inherited from the process that started this one.
print(next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path.parent,
    )
    assert int(done.stdout) // 1024 < 400


@photos_of_voc
@pytest.mark.parametrize(
    ("plan", "least"),
    [
        (None, 86.0),
        pytest.param(LARGE, 88.0, marks=pytest.mark.slow),
        (SMALL, 85.0),
    ],
)
def test_compiled_plans_are_accurate(plan: Path | None, least: float) -> None:
    """On every sixth photo of VOC's testdev (about 410); docs/accuracy.md has the figures for all of it."""
    voc = Path(os.environ["PVLR_DATA"]) / "voc2007"
    with Tagger(plan) as tagger:
        table = read_labels(voc / "labels.csv", "testdev", tagger.labels, read_rename(MAP))
        some = LabelTable(
            table.files[::6], np.ascontiguousarray(table.targets[::6]), table.missing, table.extra
        )
        report = evaluate(tagger, voc / "images", some)
    assert report.images == len(some.files)
    assert report.mAP is not None
    assert report.mAP > least


@pytest.mark.slow
def test_the_open_model_reads_words_that_nobody_trained() -> None:
    words = Knowledge.load().bank(["espresso", "kitten", "forklift"])
    with Tagger() as tagger:
        tagger.set_labels(tagger.label_bank.join(words))
        coffee, cat = (
            [tag.label for tag in tagger.predict(PHOTOS / f"{name}.jpg")]
            for name in ("coffee", "chelsea")
        )
    assert {"dining table", "espresso"} <= set(coffee)
    assert {"cat"} <= set(cat) <= {"cat", "kitten"}
