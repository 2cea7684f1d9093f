"""``pvlr verify``: a plan compared with its network, with metrics that are recomputed here tag by tag."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import sklearn.metrics
from typer.testing import CliRunner

from pvlr_sdk import Tagger, errors
from pvlr_sdk.cli import app
from pvlr_sdk.workshop.compile.build import build
from pvlr_sdk.workshop.compile.verify import verify
from tests.manifests import edit_manifest
from tests.preprocess_reference import preprocess_reference

COUNT = 40


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of smooth random images, with labels.csv for two labels."""
    folder = tmp_path_factory.mktemp("photos")
    random = np.random.default_rng(3)
    lines = ["file,split,person,cat"]
    for index in range(COUNT):
        coarse = random.integers(0, 256, (5, 4, 3), np.uint8)
        cv2.imwrite(str(folder / f"{index:02}.png"), coarse.repeat(6, 0).repeat(11, 1))
        lines.append(f"{index:02}.png,val," + ",".join(random.choice(["1", "-1"], 2)))
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def other_plan(make_network: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A plan of the same labels and sizes but other weights."""
    folder = tmp_path_factory.mktemp("other")
    build(make_network(folder, seed=7).onnx, folder / "engine.plan")
    return folder / "engine.plan"


def invoke(*arguments: object) -> tuple[int, str, str]:
    from pvlr_sdk.errors import PvlrError

    result = CliRunner().invoke(app, ["verify", *map(str, arguments)])
    if isinstance(result.exception, PvlrError):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_a_plan_agrees_with_its_own_network(plan: Path, exported: Any, images: Path) -> None:
    code, out, _ = invoke(
        plan, "--against", exported.onnx, "--images", images, "--json", "--precision", "fp32"
    )
    report = json.loads(out)
    assert code == 0
    assert report["photos"] == COUNT
    assert report["tag_sets"] == 1
    assert report["largest_logit_difference"] < 1e-4
    assert (report["precision"], report["min_agreement"], report["failed_images"]) == (
        "fp32",
        0.98,
        [],
    )
    assert "mAP" not in report


@pytest.mark.slow
def test_figures_of_another_plan_are_those_counted_by_hand(
    other_plan: Path, exported: Any, images: Path, plan: Path
) -> None:
    arguments = [
        other_plan,
        "--against",
        exported.onnx,
        "--images",
        images,
        "--labels",
        images / "labels.csv",
    ]
    code, out, err = invoke(*arguments, "--json", "--precision", "fp32")
    assert code == 1
    assert "AccuracyError" in err
    report = json.loads(out)
    files = sorted(images.glob("*.png"))
    with Tagger(other_plan, precision="fp32") as tagger:
        results = [tagger.predict(file) for file in files]
        spec = Tagger(plan).info["input"]
    from pvlr_sdk.bundle.manifest import InputSpec

    pixels = [
        preprocess_reference(cv2.imread(str(file)), "bgr", InputSpec(**spec)) for file in files
    ]
    exact = np.stack([exported.weights.forward(image)[0] for image in pixels])
    mine = np.stack([result.logits for result in results])
    cuts = np.log(tagger.thresholds / (1 - tagger.thresholds))
    assert report["tag_sets"] == pytest.approx(
        ((mine >= cuts) == (exact >= cuts)).all(1).mean(), abs=1e-4
    )
    assert report["largest_logit_difference"] == pytest.approx(np.abs(mine - exact).max(), abs=1e-3)
    truth = [line.split(",")[2:] for line in (images / "labels.csv").read_text().splitlines()[1:]]
    for key, logits in (("mAP", mine), ("mAP_fp32", exact)):
        average = [
            sklearn.metrics.average_precision_score(
                [row[column] == "1" for row in truth], logits[:, column]
            )
            for column in (0, 1)
        ]
        assert report[key] == pytest.approx(100 * np.mean(average), abs=0.01)
    assert invoke(*arguments, "--min-agreement", 0)[0] == 0


def test_the_criterion_is_that_of_the_build(
    other_plan: Path, exported: Any, images: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(other_plan.parent, copy)
    arguments = [copy / "engine.plan", "--against", exported.onnx, "--images", images, "--json"]
    code, out, _ = invoke(*arguments)
    agreement = json.loads(out)["tag_sets"]
    assert (code, agreement < 0.9) == (1, True)
    edit_manifest(
        copy / "engine.plan", lambda raw: raw["measured"].update(min_agreement=agreement / 2)
    )
    code, out, _ = invoke(*arguments)
    assert (code, json.loads(out)["min_agreement"]) == (0, pytest.approx(agreement / 2))
    assert invoke(*arguments, "--min-agreement", 0.98)[0] == 1


def test_a_plan_that_shifts_one_label_is_caught(
    make_network: Callable[..., Any], exported: Any, images: Path, tmp_path: Path
) -> None:
    import onnx
    from onnx import numpy_helper

    shifted = make_network(tmp_path)
    model = onnx.load(shifted.onnx)
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "bias")
    bias.CopyFrom(
        numpy_helper.from_array(numpy_helper.to_array(bias) + np.float32([0, 0, 0.5, 0, 0]), "bias")
    )
    onnx.save(model, shifted.onnx)
    build(shifted.onnx, tmp_path / "engine.plan", precision="fp32")
    code, out, _ = invoke(
        tmp_path / "engine.plan", "--against", exported.onnx, "--images", images, "--json"
    )
    assert json.loads(out)["largest_logit_difference"] == pytest.approx(0.5, abs=1e-3)
    assert (code == 1) == (json.loads(out)["tag_sets"] < 0.98)


def test_for_people(plan: Path, exported: Any, images: Path) -> None:
    code, out, _ = invoke(plan, "--against", exported.onnx, "--images", images)
    assert code == 0
    assert "same tags" in out
    assert f"images                    {COUNT}" in out


def test_a_broken_photo_is_left_out_and_said(
    plan: Path, exported: Any, images: Path, tmp_path: Path
) -> None:
    for file in sorted(images.glob("*.png"))[:5]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "broken.png").write_bytes(b"not an image")
    code, out, err = invoke(plan, "--against", exported.onnx, "--images", tmp_path, "--json")
    report = json.loads(out)
    assert (code, report["photos"], len(report["failed_images"])) == (2, 5, 1)
    assert "broken.png" in err


class TestRefused:
    def test_no_photos(self, plan: Path, exported: Any, tmp_path: Path) -> None:
        for folder in (tmp_path, tmp_path / "none"):
            with pytest.raises(errors.ImageNotFoundError):
                invoke(plan, "--against", exported.onnx, "--images", folder)

    def test_no_network(self, plan: Path, images: Path, tmp_path: Path) -> None:
        (tmp_path / "text.onnx").write_text("no network")
        for path in (tmp_path / "text.onnx", tmp_path / "none.onnx", tmp_path):
            with pytest.raises(errors.ModelError):
                invoke(plan, "--against", path, "--images", images)

    def test_other_labels(
        self, plan: Path, make_network: Callable[..., Any], images: Path, tmp_path: Path
    ) -> None:
        network = make_network(tmp_path, names=["a", "b", "c", "d", "e"])
        with pytest.raises(errors.ModelError, match="labels"):
            invoke(plan, "--against", network.onnx, "--images", images)

    def test_a_converted_network(
        self, plan: Path, exported: Any, images: Path, tmp_path: Path
    ) -> None:
        pytest.importorskip("onnx")
        from pvlr_sdk.workshop.compile.onnx.convert import convert

        (tmp_path / "half.onnx").write_bytes(convert(exported.onnx.read_bytes(), precision="fp16"))
        with pytest.raises(errors.ModelError, match="fp16"):
            invoke(plan, "--against", tmp_path / "half.onnx", "--images", images)

    def test_only_broken_photos(self, plan: Path, exported: Any) -> None:
        with Tagger(plan) as tagger, pytest.raises(errors.EmptyFrameError):
            verify(tagger, exported.onnx, [b""])
