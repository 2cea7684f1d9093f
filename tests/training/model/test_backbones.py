"""The configurations with weights from the hub, with random weights: one forward pass and one training step."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from pvlr_sdk.errors import ConfigError
from pvlr_training.config import load_config
from pvlr_training.losses import StageLoss
from pvlr_training.machine import Machine
from pvlr_training.model.backbone import Backbone
from pvlr_training.model.network import PVLR
from pvlr_training.optim import open_optimizer

CONFIGS = Path(__file__).parents[3] / "training" / "configs"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "side", "tokens"),
    [
        ("resnet101-voc20", 64, (2, 2)),
        ("clip-rn101-voc20", 64, (2, 2)),
        ("vit-b16-voc20", 224, (14, 14)),  # a ViT has a fixed input size
        ("clip-vit-b16-voc20", 224, (14, 14)),
    ],
)
def test_one_step(name: str, side: int, tokens: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOCDEVKIT", "/data")
    small = [f"data.input.width={side}", f"data.input.height={side}"]
    offline = ["model.pretrained=false", "model.text.encoder=random"]
    config = load_config(CONFIGS / f"{name}.yaml", [*small, *offline])
    torch.manual_seed(0)
    model = PVLR(config.data.labels, side, side, config.model)
    assert model.grid == tokens
    optimizer = open_optimizer("finetune", model, config)
    loss = StageLoss("finetune", model, config, Machine("fp32"))
    images, targets = torch.randn(1, 3, side, side), torch.ones(1, len(config.data.labels), dtype=torch.int8)
    first = next(p for p in model.backbone.parameters() if p.requires_grad)
    before = first.detach().clone()
    value = loss(images, targets)
    assert value.isfinite()
    value.backward()
    optimizer.step()
    assert not torch.equal(first, before)
    assert model.eval()(images).logits.shape == (1, 20)


def test_weights_that_are_not_here_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    constants = pytest.importorskip("huggingface_hub").constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match=r"model\.backbone: .* weights in the local hub cache"):
        Backbone("resnet10t.c3_in1k", pretrained=True)
    with pytest.raises(ConfigError, match=r"model\.backbone: .* got resnet18\.nobody"):
        Backbone("resnet18.nobody", pretrained=True)
