"""Backbones with weights from the hub, with random weights: one forward pass and one training step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pvlr_sdk.errors import ConfigError
from pvlr_training.config import load_config
from pvlr_training.deploy import DeployedPVLR
from pvlr_training.export import check, fp32_until, to_onnx
from pvlr_training.losses import StageLoss
from pvlr_training.machine import Machine
from pvlr_training.model.backbone import Backbone
from pvlr_training.model.network import PVLR
from pvlr_training.optim import open_optimizer

from ..conftest import random_config

CONFIGS = Path(__file__).parents[3] / "training" / "configs"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "side", "tokens"),
    [
        ("resnet101.a1h_in1k", 64, (2, 2)),
        ("resnet101_clip_gap.openai", 64, (2, 2)),
        (
            "vit_base_patch16_224.augreg2_in21k_ft_in1k",
            224,
            (14, 14),
        ),  # a ViT has a fixed input size
        ("vit_base_patch16_clip_224.openai", 224, (14, 14)),
    ],
)
def test_one_step(
    backbone: str, side: int, tokens: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PVLR_DATA", "/data")
    small = [f"data.input.width={side}", f"data.input.height={side}", "train.unfreeze_from=3"]
    offline = [f"model.backbone={backbone}", "model.pretrained=false", "model.text.encoder=random"]
    config = load_config(CONFIGS / "voc20-alone.yaml", [*small, *offline])
    torch.manual_seed(0)
    model = PVLR(config.data.labels, side, side, config.model)
    assert model.grid == tokens
    optimizer = open_optimizer("finetune", model, config)
    loss = StageLoss("finetune", model, config, Machine("fp32"))
    images, targets = (
        torch.randn(1, 3, side, side),
        torch.ones(1, len(config.data.labels), dtype=torch.int8),
    )
    first = next(p for p in model.backbone.parameters() if p.requires_grad)
    before = first.detach().clone()
    value = loss(images, targets)
    assert value.isfinite()
    value.backward()
    optimizer.step()
    assert not torch.equal(first, before)
    assert model.eval()(images).logits.shape == (1, 20)


def test_weights_that_are_not_here_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"model\.backbone: .* weights in the local hub cache"):
        Backbone("resnet10t.c3_in1k", pretrained=True)
    with pytest.raises(ConfigError, match=r"model\.backbone: .* got resnet18\.nobody"):
        Backbone("resnet18.nobody", pretrained=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stages"),
    [
        ("test_efficientnet", 7),
        ("mobilenetv3_small_050", 7),  # its last convolution is behind the pooling
        ("ghostnet_050", 1),  # its stem has an activation of its own
        ("test_resnet", 1),
    ],
)
def test_the_stages_one_after_the_other_are_the_network(name: str, stages: int) -> None:
    torch.manual_seed(0)
    backbone = Backbone(name, pretrained=False).eval()
    assert len(backbone.stages) == stages
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        before = backbone.stages_before(2)
        assert (before is None) == (stages == 1)
        assert backbone.stages_before(0) is None
        assert torch.equal(
            backbone.forward_from(before(images) if before else images, 2), backbone(images)
        )
    parameters = backbone.unfreeze(1, depthwise=True)
    before = backbone.stages_before(1)
    backbone.forward_from(before(images) if before else images, 1).square().mean().backward()
    assert all(parameter.grad is not None for parameter in parameters) or stages == 1


@pytest.mark.slow
def test_a_mobilenet_is_exported_with_its_front() -> None:
    config = random_config(("dog", "cat"), backbone="mobilenetv3_small_050")
    torch.manual_seed(0)
    deployed = DeployedPVLR(PVLR(("dog", "cat"), 64, 64, config.model))
    network = to_onnx(deployed, config)
    assert fp32_until(network)
    assert check(network.SerializeToString(), deployed, config) < 1e-3


def test_a_vision_transformer_takes_any_multiple_of_its_patch() -> None:
    backbone = Backbone("test_vit", pretrained=False)
    assert backbone.resize(96, 128) == (6, 8)
    assert backbone(torch.zeros(1, 3, 96, 128)).shape == (1, 48, backbone.channels)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("test_vit", 100),
        ("swin_tiny_patch4_window7_224", 224),  # its channels come last
    ],
)
def test_a_network_without_a_grid_of_tokens_is_named(name: str, size: int) -> None:
    with pytest.raises(
        ConfigError, match=rf"model\.backbone: .* {size} x {size} pixels, got {name} \("
    ):
        Backbone(name, pretrained=False).resize(size, size)
