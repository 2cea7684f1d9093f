"""A command that lacks an extra fails before it measures, reads or trains, and names the pip command to install it."""

from __future__ import annotations

import sys

import pytest

from pvlr_sdk import errors
from pvlr_sdk.cli import app


def _run(*arguments):
    """Run a command without the handling of errors, which is the same for all."""
    app(list(arguments), standalone_mode=False)


@pytest.fixture
def without(monkeypatch):
    """Hide packages from the imports."""

    def hide(*names):
        for name in names:
            for module in [name, *(known for known in sys.modules if known.startswith(f"{name}."))]:
                monkeypatch.setitem(sys.modules, module, None)

    return hide


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("pipeline", ["train", "FOLDER"]),
        ("train", ["train", "a.yaml"]),
        ("report", ["report", "FOLDER"]),
        ("export", ["export", "FOLDER"]),
    ],
)
def test_the_command_without_its_packages_is_named(without, tmp_path, module, command):
    without(f"pvlr_training.{module}")
    with pytest.raises(
        errors.MissingPartError, match=rf"^pvlr {command[0]}: .*pip install \"\S*\[train\]\""
    ):
        _run(*(str(tmp_path) if word == "FOLDER" else word for word in command))


@pytest.mark.parametrize("precision", ["int8", "auto"])
@pytest.mark.parametrize("package", ["nncf", "onnx", "onnxruntime"])
def test_build_checks_what_quantises_before_it_reads_the_network(
    without, plan, tmp_path, photo, precision, package
):
    import cv2

    without(package)
    cv2.imwrite(str(tmp_path / "photo.jpg"), photo)
    command = [
        "build",
        str(tmp_path / "none.onnx"),
        "--precision",
        precision,
        "--calibration-images",
        str(tmp_path),
    ]
    with pytest.raises(errors.MissingPartError, match=r'quantise.*pip install "\S*\[int8\]"'):
        _run(*command)


def test_export_checks_what_quantises_before_it_reads_the_run(without, tmp_path):
    without("nncf")
    with pytest.raises(errors.MissingPartError, match=r'pip install "\S*\[int8\]"'):
        _run("export", str(tmp_path), "--precision", "int8", "--calibration-images", str(tmp_path))


def test_export_of_a_run_checks_what_compares_before_it_exports(without, monkeypatch, tmp_path):
    pytest.importorskip("timm", reason="exporting needs the extra [train]")
    without("onnxruntime")
    monkeypatch.delitem(sys.modules, "pvlr_training.export", raising=False)
    with pytest.raises(errors.MissingPartError, match=r"onnxruntime.*pip install \"\S*\[train\]\""):
        _run("export", str(tmp_path))
