"""``--size``: one run exported at another input size, built and refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pvlr_sdk import Tagger, errors
from pvlr_sdk.bundle.bundle import read_manifest
from pvlr_sdk.bundle.label_bank import LabelBank
from pvlr_sdk.cli import app
from pvlr_sdk.cli.options import parse_size
from pvlr_training.checkpoint import load_model, save_model
from pvlr_training.config import Config
from pvlr_training.deploy import DeployedPVLR
from pvlr_training.export import export
from pvlr_training.model.network import PVLR

from .conftest import tiny_config


@pytest.fixture
def save_run(photos: Path, tmp_path: Path) -> Callable[..., Path]:
    """Writes a run with random weights and positions."""

    def save(side: int = 64, precise: bool = True, **model: Any) -> Path:
        raw = tiny_config(photos, model=model)
        raw["data"]["input"].update(width=side, height=side)
        config = Config.model_validate(raw)
        torch.manual_seed(0)
        network = PVLR(config.data.labels, side, side, config.model)
        if getattr(network.head, "position", None) is not None:
            torch.nn.init.normal_(network.head.position)
        extra = {
            "thresholds": [0.25, 0.5, 0.75],
            "precise_thresholds": [0.5, 0.9, 0.75],
            "holdout": {"mAP": 1.0},
        }
        if not precise:
            del extra["precise_thresholds"]
        save_model(tmp_path, network, config, extra)
        return tmp_path

    return save


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "side", "size"),
    [
        ({"head": "linear"}, 64, (96, 64)),
        ({"position": "none"}, 64, (128, 96)),
    ],
    ids=["linear", "pvlr"],
)
def test_a_network_without_learned_positions_is_the_one_made_for_that_size(
    save_run: Callable[..., Path], model: dict[str, Any], side: int, size: tuple[int, int]
) -> None:
    run = save_run(side, **model)
    trained, config, _ = load_model(run)
    made = PVLR(config.data.labels, size[1], size[0], config.model)
    made.load_state_dict(trained.state_dict())
    trained.resize(size[1], size[0])
    assert all(
        torch.equal(buffer, dict(made.named_buffers())[name])
        for name, buffer in trained.named_buffers()
    )
    image = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), np.uint8)
    normalised = (torch.from_numpy(image).flip(2).permute(2, 0, 1)[None].float() - 127) / 64
    with torch.inference_mode():
        expected = DeployedPVLR(made.eval())(normalised)
    network = export(run, run / "out", size)
    assert network.name == f"model-{size[0]}x{size[1]}.onnx"
    plan = run / "out" / "engine.plan"
    done = CliRunner().invoke(
        app, ["build", str(network), "--out", str(plan), "--precision", "fp32"]
    )
    assert done.exit_code == 0, done.output
    with Tagger(
        plan, precision="fp32"
    ) as tagger:  # its self-test compares the golden logits at this size
        assert (tagger.info["input"]["width"], tagger.info["input"]["height"]) == size
        np.testing.assert_allclose(
            tagger.predict(image).logits, expected.logits[0].numpy(), atol=1e-3
        )


def test_learned_positions_are_interpolated(save_run: Callable[..., Path]) -> None:
    model, _, _ = load_model(save_run(256))
    # the row of each of 8 x 8 tokens
    ramp = torch.arange(8.0).repeat_interleave(8)[:, None].expand(-1, 32)
    model.head.position.data.copy_(ramp)
    model.resize(512, 128)
    assert model.grid == (16, 4)
    rows = model.head.position.detach().reshape(16, 4, 32)
    assert torch.allclose(rows, rows[:, :1, :1].expand_as(rows), atol=1e-5)
    expected = (torch.arange(16) + 0.5) / 2 - 0.5  # half-pixel centres
    assert torch.allclose(rows[3:-3, 0, 0], expected[3:-3], atol=1e-5)
    assert model(torch.zeros(1, 3, 512, 128)).similarity.shape == (1, 64, 3)


@pytest.mark.slow
def test_the_size_of_training_changes_nothing(save_run: Callable[..., Path]) -> None:
    run = save_run()
    assert export(run, run / "same", (64, 64)).read_bytes() == export(run, run).read_bytes()


@pytest.mark.slow
def test_a_vision_transformer_at_a_size_that_is_no_square(save_run: Callable[..., Path]) -> None:
    run = save_run(160, backbone="test_vit")
    done = CliRunner().invoke(app, ["build", str(run), "--size", "96x128", "--json"])
    assert done.exit_code == 0, done.output
    manifest = read_manifest(run / "engine-96x128.plan")
    assert (manifest.input.width, manifest.input.height) == (96, 128)
    assert (manifest.attention.rows, manifest.attention.columns) == (8, 6)
    assert manifest.built["source"]["trained_size"] == [160, 160]
    assert manifest.built["source"]["holdout"] is None
    # Both operating points come from the run.
    assert [label.precise_threshold for label in manifest.labels] == [0.5, 0.9, 0.75]
    with Tagger(run / "engine-96x128.plan") as tagger:
        assert len(tagger.predict(np.zeros((40, 30, 3), np.uint8)).scores) == 3
    with pytest.raises(
        errors.OptionError, match="size: expected multiples of 16 pixels for test_vit, got 100 x 96"
    ):
        export(run, run, (100, 96))


@pytest.mark.slow
def test_a_run_of_an_older_version_has_one_threshold_per_label(
    save_run: Callable[..., Path],
) -> None:
    run = save_run(precise=False)
    bank = LabelBank.load(export(run, run).with_suffix(".labels.safetensors"))
    assert bank.precise_thresholds is None
    assert bank.thresholds.tolist() == [0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    "text", ["", "0", "-32", "32x", "x32", "64.5", "64,96", "9000", "64x64x3", "big"]
)
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(errors.OptionError, match="--size: expected one size"):
        parse_size(text)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["build", "RUN", "--size", "40"],
            "size: expected multiples of 32 pixels for test_efficientnet, got 40 x 40",
        ),
        (
            ["build", "RUN/model.onnx", "--size", "96"],
            "model.onnx, a network of one size. Name the run",
        ),
        (
            ["build", "pvlr-lite0-open", "--size", "96"],
            "--size: expected the folder of a finished training run",
        ),
        (
            ["export", "RUN/model.onnx", "--size", "96"],
            "model.onnx, a network of one size. Name the run",
        ),
        (["export", "RUN", "--size", "64,96"], "--size: expected one size"),
    ],
)
def test_what_does_not_belong_together(
    save_run: Callable[..., Path], options: list[str], message: str
) -> None:
    run = save_run()
    before = {path.name for path in run.iterdir()}
    done = CliRunner().invoke(app, [option.replace("RUN", str(run)) for option in options])
    assert isinstance(done.exception, errors.OptionError)
    assert message in str(done.exception)
    assert {path.name for path in run.iterdir()} == before


@pytest.mark.slow
def test_export_names_the_file_after_the_size(save_run: Callable[..., Path]) -> None:
    run = save_run()
    done = CliRunner().invoke(app, ["export", str(run), "--size", "96"])
    assert done.exit_code == 0, done.output
    assert done.stdout == f"{run / 'model-96.onnx'}\n"
    assert (run / "model-96.labels.safetensors").exists()
