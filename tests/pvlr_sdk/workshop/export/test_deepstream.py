"""What ``pvlr export-deepstream`` writes: nvinfer's input gives our scores, and the compiled parser our tags."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.bundle.bundle import open_bundle
from pvlr_sdk.bundle.label_bank import LabelBank
from pvlr_sdk.labels import Knowledge
from pvlr_sdk.models.find import default_plan
from pvlr_sdk.workshop.export import deepstream
from pvlr_sdk.workshop.export.deepstream import export_deepstream

IMAGES = Path(__file__).parents[4] / "docs/images"
HERE = Path(__file__).parent / "deepstream"
COMPILER = shutil.which("g++")


@pytest.fixture(autouse=True)
def _onnx() -> None:
    pytest.importorskip("onnx")


def settings(path: Path) -> dict[str, str]:
    """The section of nvinfer, read as glib does: comments have their own lines."""
    parser = configparser.ConfigParser(inline_comment_prefixes=None, interpolation=None)
    parser.read_string(path.read_text())
    return dict(parser["property"])


def prepared(frame: np.ndarray, config: dict[str, str]) -> np.ndarray:
    """What nvinfer makes of a BGR frame of the network's size, by its documentation: scale * (pixel - offset)."""
    assert config["infer-dims"] == f"3;{frame.shape[0]};{frame.shape[1]}"
    assert config["model-color-format"] == "0"  # RGB
    pixels = frame[:, :, ::-1].astype(np.float32) - np.array(
        config["offsets"].split(";"), np.float32
    )
    return (np.float32(config["net-scale-factor"]) * pixels).transpose(2, 0, 1)[None]


class Parser:
    """The parser of a folder, compiled, and called with scores (N, C)."""

    def __init__(self, folder: Path, build: Path) -> None:
        if COMPILER is None:
            pytest.skip("g++ is not installed")
        self._library, self._driver = build / "libpvlr_parser.so", build / "driver"
        strict = ["-O1", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", f"-I{HERE}"]
        self._run(COMPILER, *strict, "-shared", "-fPIC", folder / "parser.cpp", "-o", self._library)
        self._run(COMPILER, *strict, HERE / "driver.cpp", "-o", self._driver, "-ldl")

    def _run(self, *command, **more) -> bytes:
        return subprocess.run([*map(str, command)], check=True, capture_output=True, **more).stdout

    def __call__(self, scores: np.ndarray, kind=0, threshold=0.0) -> list[list[str]]:
        """The fields of each line."""
        given = np.ascontiguousarray(scores, np.float32)
        out = self._run(
            self._driver, self._library, kind, given.shape[1], threshold, input=given.tobytes()
        )
        return [line.split("\t") for line in out.decode().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("bundled", [False, True], ids=["closed", "open"])
def test_nvinfers_input_gives_our_scores_and_tags(plan, tmp_path, bundled):
    onnxruntime = pytest.importorskip("onnxruntime")
    plan = default_plan() if bundled else plan
    config = settings(export_deepstream(plan, tmp_path))
    session = onnxruntime.InferenceSession(
        tmp_path / config["onnx-file"], providers=["CPUExecutionProvider"]
    )
    assert [output.name for output in session.get_outputs()] == ["scores"]
    spec = open_bundle(plan).manifest.input
    scores, tags = [], []
    with Tagger(plan, precision="fp32") as ours:
        for image in sorted(IMAGES.glob("*.jpg"))[:4]:
            frame = cv2.resize(
                cv2.imread(str(image)), (spec.width, spec.height), interpolation=cv2.INTER_AREA
            )
            result = ours.predict(frame)
            (found,) = session.run(None, {"image": prepared(frame, config)})[0]
            assert np.abs(found - result.scores).max() < 1e-3
            scores.append(found)
            tags.append({tag.label for tag in result})
        assert (tmp_path / config["labelfile-path"]).read_text() == ";".join(ours.labels) + "\n"
    found = Parser(tmp_path, tmp_path)(np.array(scores))
    assert [set(line[2::3]) for line in found] == tags


@pytest.mark.slow
def test_the_parser_gives_the_tags_of_200_random_outputs(tmp_path):
    export_deepstream(None, tmp_path, operating_point="precise")
    parser = Parser(tmp_path, tmp_path)
    with Tagger(None, operating_point="precise") as ours:
        labels, thresholds = ours.labels, ours.thresholds
    scores = np.random.default_rng(1).random((200, len(labels)), np.float32)
    # Also scores at the thresholds, and the floats next to them.
    close = np.stack(
        [
            np.nextafter(thresholds, np.float32(0)),
            thresholds,
            np.nextafter(thresholds, np.float32(1)),
        ]
    )
    scores[:3] = close
    scores[3] = np.nan
    expected = [
        [
            (str(index), labels[index], float(row[index]))
            for index in np.flatnonzero(row >= thresholds)
        ]
        for row in scores
    ]
    assert (expected[0], expected[3]) == ([], [])
    assert len(expected[1]) == len(expected[2]) == len(labels)
    found = [
        [(line[at], line[at + 2], float.fromhex(line[at + 1])) for at in range(0, len(line) - 1, 3)]
        for line in parser(scores)
    ]
    assert found == expected
    assert all(line == ["refused"] for line in parser(scores, kind=1))
    assert parser(scores[:, 1:])[0] == ["refused"]
    raised = [{label for _, label, score in row if score >= np.float32(0.9)} for row in expected]
    assert [set(line[2::3]) for line in parser(scores, threshold=0.9)] == raised


@pytest.mark.slow
def test_labels_of_any_form(tmp_path):
    strange = ['a "quoted\\" cup??=', "Ärger; ☕"]
    bank = Knowledge.load().bank(["espresso", "cat"])
    LabelBank(strange, bank.embeddings, bank.thresholds, bank.text).save(
        tmp_path / "bank.safetensors"
    )
    export_deepstream(None, tmp_path, bank=tmp_path / "bank.safetensors")
    (line,) = Parser(tmp_path, tmp_path)(np.ones((1, 2)))
    assert line[2::3] == strange
    assert (tmp_path / "labels.txt").read_text().split(";") == [strange[0], "Ärger, ☕\n"]


def test_channels_with_their_own_scales(plan, tmp_path):
    """nvinfer has one scale for all channels: the network contains the rest."""
    onnxruntime, onnx = pytest.importorskip("onnxruntime"), pytest.importorskip("onnx")
    manifest, exported, _ = deepstream.read_plan(plan, None, "f1")
    spec = manifest.input.model_copy(update={"std": (50.0, 60.0, 70.0)})
    image = np.random.default_rng(1).random((1, 3, spec.height, spec.width), np.float32)
    outputs = []
    for one in (manifest.input, spec):
        network = deepstream._network(exported.network.payload, one, "network")
        onnx.checker.check_model(onnx.load_from_string(network))
        session = onnxruntime.InferenceSession(network, providers=["CPUExecutionProvider"])
        given = image * np.array(one.std, np.float32)[:, None, None] / np.float32(one.std[0])
        outputs.append(session.run(None, {"image": given})[0])
    assert np.allclose(*outputs, atol=1e-5)


def test_errors(tmp_path, plan, monkeypatch):
    with pytest.raises(errors.PlanNotFoundError):
        export_deepstream(tmp_path / "no.plan", tmp_path)
    manifest, exported, thresholds = deepstream.read_plan(plan, None, "f1")
    changed = manifest.model_copy(
        update={"input": manifest.input.model_copy(update={"resize": "letterbox"})}
    )
    monkeypatch.setattr(deepstream, "read_plan", lambda *_: (changed, exported, thresholds))
    with pytest.raises(errors.BackendError, match="stretched images"):
        export_deepstream(plan, tmp_path)
    assert list(tmp_path.iterdir()) == []
