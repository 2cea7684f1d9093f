"""``pvlr xmp``, and --xmp of ``pvlr tag`` and ``pvlr batch``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pvlr_sdk.labels.tree import LabelTree
from pvlr_sdk.workshop.export.xmp import sidecar

etree = pytest.importorskip("lxml.etree")


def field(photo: Path, name: str) -> list[str]:
    """The texts of a field of the sidecar of a photo."""
    root = etree.parse(sidecar(photo))
    return root.xpath(f"//*[name()='{name}']//*[local-name()='li']/text()")


@pytest.mark.slow
def test_tag_writes_sidecars_and_xmp_replaces_and_removes_them(pvlr, plan, folder):
    photo = folder / "a.jpg"
    done = pvlr("tag", folder, "--plan", plan, "--threshold", 0, "-k", 2, "--json", "--xmp")
    assert (done.code, done.err) == (0, "")
    lines = {row["source"]: row["tags"] for row in map(json.loads, done.out.splitlines())}
    assert len(lines) == len(list(folder.rglob("*.xmp"))) == 3
    labels = [tag["label"] for tag in lines[str(photo)]]
    assert field(photo, "dc:subject") == labels
    (folder / "tags.jsonl").write_text(done.out)
    assert json.loads(pvlr("xmp", folder / "tags.jsonl", "--json").out) == {
        "photos": 3,
        "changed": 0,
        "failed": 0,
    }
    sidecar(folder / "sub/a.jpg").write_text("damaged")
    done = pvlr("xmp", folder / "tags.jsonl", "--prefix", "auto")
    assert (done.code, done.out) == (2, "2 photos, 2 changed\n")
    assert "sub/a.jpg.xmp: expected an XMP packet" in done.err
    tree = LabelTree.packaged()
    assert field(photo, "digiKam:TagsList") == [
        "/".join(["auto", *tree.levels(label)]) for label in labels
    ]
    assert pvlr("tag", folder, "--plan", plan, "--xmp").code == 2
    assert pvlr("xmp", folder, "--remove").code == 2
    assert field(photo, "dc:subject") == []


def test_batch_writes_sidecars(pvlr, plan, folder, tmp_path):
    pytest.importorskip("pyarrow")
    arguments = (
        "batch",
        folder,
        "--out",
        tmp_path / "out",
        "--plan",
        plan,
        "--threshold",
        0,
        "--xmp",
    )
    assert pvlr(*arguments).code == 0
    assert len(list(folder.rglob("*.xmp"))) == 3
    assert json.loads(pvlr("xmp", tmp_path / "out", "--json").out) == {
        "photos": 3,
        "changed": 0,
        "failed": 0,
    }
    done = pvlr(*arguments[:3], "s3://bucket/out", *arguments[4:])
    assert (done.code, "--xmp: expected a local folder" in done.err) == (2, True)


def test_a_row_that_names_another_file(pvlr, plan, folder, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    (tmp_path / "other.jpg").write_bytes(b"")
    rows = {"id": [str(tmp_path / "other.jpg")], "path": [str(next(folder.rglob("*.jpg")))]}
    pq.write_table(pa.table(rows), folder / "a.parquet")
    assert (
        pvlr(
            "batch", folder, "--out", tmp_path / "out", "--plan", plan, "--threshold", 0, "--xmp"
        ).code
        == 0
    )
    assert len(list(tmp_path.rglob("*.xmp"))) == 3


def test_sources_that_are_no_results(pvlr, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"a": 1}\n')
    (tmp_path / "tags.jsonl").write_text('{"source": "a.jpg", "tags": [{"label": "cat"}]}\n')
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged/a.parquet").write_bytes(b"PAR1")
    tags = '{"label": "cat", "score": 1},' * 300_000
    (tmp_path / "many.jsonl").write_text(f'{{"source": "a.jpg", "tags": [{tags[:-1]}]}}\n')
    for source in ("rows.jsonl", "tags.jsonl", "many.jsonl", "damaged", "nothing", "."):
        done = pvlr("xmp", tmp_path / source)
        assert (done.code, "a dataset of pvlr batch" in done.err or "one dataset" in done.err) == (
            2,
            True,
        )
