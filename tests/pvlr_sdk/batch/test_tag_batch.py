"""One row in, one row out, with the scores of ``Tagger``, whatever is wrong with a row."""

from __future__ import annotations

import io
import json
import pickle
import sys

import numpy as np
import pyarrow as pa
import pytest

from pvlr_sdk import __version__, errors
from pvlr_sdk.batch import TagBatch
from pvlr_sdk.inference.inference import Inference
from tests.heic import HEIC


@pytest.fixture(scope="module")
def tag(plan):
    made = TagBatch(plan, scores=True, precision="fp32", num_threads=2)
    yield made
    made.tagger.close()


def test_rows_are_those_of_the_tagger(tag, tagger, images):
    encoded = images(9)
    result = tag(pa.table({"id": [f"n{i}" for i in range(9)], "bytes": encoded}))
    assert result["id"].to_pylist() == [f"n{i}" for i in range(9)]
    assert set(result["sdk_version"].to_pylist()) == {__version__}
    for row, image in zip(result.to_pylist(), encoded, strict=True):
        expected = tagger.predict(image)
        assert row["error"] is None
        assert row["plan_sha256"] == expected.plan
        assert np.array_equal(np.float32(row["scores"]), expected.scores)
        assert row["tags"] == expected.to_dict()["tags"]


def test_a_bad_row_is_a_row_with_its_error(tag, images, tmp_path):
    good, other = images(2)
    path = tmp_path / "a.jpg"
    path.write_bytes(other)
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    given = [
        {"bytes": good, "path": "good"},
        {"bytes": good[:100], "path": "cut"},
        {"bytes": b"", "path": "empty"},
        {"bytes": None, "path": str(path)},
        {"bytes": None, "path": str(tmp_path / "none.jpg")},
        None,
    ]
    result = tag(pa.table({"image": pa.array(given, kind)})).to_pylist()
    assert [row["id"] for row in result] == [
        "good",
        "cut",
        "empty",
        str(path),
        str(tmp_path / "none.jpg"),
        "5",
    ]
    kinds = [row["error"] and row["error"]["type"] for row in result]
    assert kinds == [
        None,
        "ImageDecodeError",
        "EmptyFrameError",
        None,
        "ImageNotFoundError",
        "FrameTypeError",
    ]
    for row in result:
        assert (row["tags"] is None) == (row["scores"] is None) == (row["error"] is not None)
    assert result[1]["error"]["message"].startswith("expected ")
    assert result[1]["error"]["hint"].endswith(".")


def test_non_finite_logits_fail_one_row_alone(tag, images, monkeypatch):
    wanted = tag(pa.table({"bytes": images(12)})).to_pylist()
    checked, bad = Inference._checked, np.float32(wanted[5]["scores"])

    def check(self, result):
        if np.array_equal(result.scores, bad):
            result.logits = np.full_like(result.logits, np.nan)
        return checked(self, result)

    monkeypatch.setattr(Inference, "_checked", check)
    encoded = images(12)
    encoded[7] = b"no image"
    found = tag(pa.table({"bytes": encoded})).to_pylist()
    assert [row["error"]["type"] for row in found if row["error"]] == [
        "NonFiniteError",
        "ImageDecodeError",
    ]
    assert [found[n] for n in range(12) if n not in (5, 7)] == [
        wanted[n] for n in range(12) if n not in (5, 7)
    ]


def test_record_batches_empty_tables_and_own_columns(plan, images):
    made = TagBatch(plan, id="key", image="picture")
    batch = pa.record_batch({"picture": images(2), "key": pa.array([7, None]), "bytes": ["x", "y"]})
    assert made(batch)["id"].to_pylist() == ["7", None]
    assert made(batch.slice(0, 0)).num_rows == 0
    assert "scores" not in made(batch).column_names


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            {"a": ["x"], "b": ["y"]},
            "expected a column of images: bytes, image, uri, url, path, got the columns a, b",
        ),
        ({"bytes": [1.5]}, "table, column bytes: expected strings, binary, or a struct"),
        ({}, "got no columns"),
    ],
)
def test_a_missing_column_is_an_option_error(tag, table, told):
    with pytest.raises(errors.OptionError, match=told):
        tag(pa.table(table))


def test_a_missing_id_column_is_an_option_error(plan, images):
    with pytest.raises(errors.OptionError, match="a column of ids: key"):
        TagBatch(plan, id="key")(pa.table({"id": ["a"], "bytes": images(1)}))


def test_a_pickled_object_opens_its_plan_again(tag, images):
    table = pa.table({"bytes": images(3)})
    copy = pickle.loads(pickle.dumps(tag))
    assert copy(table).equals(tag(table))


def test_heic_and_avif(tag, tmp_path):
    image = pytest.importorskip("PIL.Image")
    pytest.importorskip("pi_heif")
    avif, png = io.BytesIO(), io.BytesIO()
    plain = image.new("RGB", (96, 64), (200, 60, 20))
    plain.save(avif, "AVIF", quality=95)
    plain.save(png, "PNG")
    (tmp_path / "a.heic").write_bytes(HEIC)
    paths = tag(pa.table({"path": [str(tmp_path / "a.heic")]})).to_pylist()
    given = [png.getvalue(), HEIC, avif.getvalue(), HEIC[:200], avif.getvalue()[:-30]]
    expected, *same, cut, short = tag(pa.table({"bytes": given})).to_pylist()
    assert expected["error"] is None
    for row in [*same, *paths]:
        assert row["error"] is None
        assert np.allclose(row["scores"], expected["scores"], atol=0.03)
    assert {cut["error"]["type"], short["error"]["type"]} == {"ImageDecodeError"}


def test_without_its_package_heic_is_an_error_with_the_command(tag, monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    (row,) = tag(pa.table({"bytes": [HEIC]})).to_pylist()
    assert row["error"]["type"] == "ImageDecodeError"
    assert "[heif]" in row["error"]["hint"]


def test_isolation_refuses_what_this_process_would_decode(plan):
    isolated = TagBatch(plan, isolate=True)
    (row,) = isolated(pa.table({"bytes": [HEIC]})).to_pylist()
    isolated.tagger.close()
    assert row["error"]["type"] == "ImageDecodeError"
    assert "HEIC or AVIF" in row["error"]["message"]


def test_parents_are_tags(plan, images, tmp_path):
    names = tmp_path / "names.json"
    batch = TagBatch(plan, threshold=0.0, num_threads=2)
    names.write_text(json.dumps({"parents": {batch.labels[0]: "top", batch.labels[1]: "top"}}))
    batch.tagger.close()
    batch = TagBatch(plan, threshold=0.0, num_threads=2, parents=names)
    (row,) = batch(pa.table({"bytes": images(1)})).to_pylist()
    batch.tagger.close()
    scores = {tag["label"]: tag["score"] for tag in row["tags"]}
    assert scores["top"] == max(scores[label] for label in batch.labels[:2])
