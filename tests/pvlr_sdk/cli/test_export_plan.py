"""``pvlr export-openvino``, ``export-deepstream``, ``export-hub`` and ``export-labels``."""

from __future__ import annotations

import pytest


def test_they_print_what_they_write(pvlr, plan, tmp_path):
    done = pvlr("export-openvino", plan, "--out", tmp_path / "model")
    assert (done.code, done.out, done.err) == (0, f"{tmp_path}/model/model.xml\n", "")
    done = pvlr("export-hub", plan, "--out", tmp_path / "hub", "--license", "mit")
    assert (done.code, done.out, done.err) == (0, f"{tmp_path}/hub\n", "")
    assert 'license: "mit"' in (tmp_path / "hub/README.md").read_text()
    done = pvlr("export-hub", tmp_path / "no.plan", "--out", tmp_path / "none")
    assert (done.code, (tmp_path / "none").exists()) == (2, False)


def test_labels(pvlr, plan, folder, tmp_path):
    (tmp_path / "tags.jsonl").write_text(
        pvlr("tag", folder, "--plan", plan, "--threshold", 0, "--json").out
    )
    done = pvlr(
        "export-labels",
        tmp_path / "tags.jsonl",
        "--format",
        "cvat",
        "--out",
        tmp_path / "labels.xml",
    )
    assert (done.code, done.out, done.err) == (0, f"{tmp_path}/labels.xml\n", "")
    assert (tmp_path / "labels.xml").read_text().count("<image ") == 3
    assert (
        pvlr(
            "export-labels", tmp_path / "tags.jsonl", "--format", "yolo", "--out", tmp_path / "x"
        ).code
        == 2
    )


def test_deepstream(pvlr, plan, tmp_path):
    pytest.importorskip("onnx")
    done = pvlr("export-deepstream", plan, "--out", tmp_path / "ds")
    assert (done.code, done.out, done.err) == (0, f"{tmp_path}/ds/nvinfer.txt\n", "")
    files = ["labels.txt", "model.onnx", "nvinfer.txt", "parser.cpp"]
    assert sorted(path.name for path in (tmp_path / "ds").iterdir()) == files
