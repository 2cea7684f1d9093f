"""Networks without gradients: the same numbers, compiled or not."""

from __future__ import annotations

import logging

import pytest
import torch
from torch import Tensor, nn

from pvlr_training.frozen import Frozen
from pvlr_training.machine import Machine
from pvlr_training.model.backbone import Backbone

CPU = pytest.mark.skipif(torch.cuda.is_available(), reason="on a GPU, PyTorch computes")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "test_efficientnet",
        "test_vit",
        "mobilenetv3_small_050",
        "ghostnet_050",
        "test_resnet",
        "test_convnext",
    ],
)
def test_a_frozen_network_computes_what_the_network_does(name: str) -> None:
    torch.manual_seed(0)
    backbone = Backbone(name, pretrained=False).eval()
    backbone.resize(96, 160)
    frozen = Frozen(backbone, Machine("fp32"))
    for count in (1, 3, 2, 3):
        images = torch.randn(count, 3, 96, 160)
        with torch.no_grad():
            expected = backbone(images)
        got = frozen(images.to(memory_format=torch.channels_last))
        assert got.dtype == torch.float32
        assert not got.requires_grad
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.slow
def test_training_mode_and_autocast_around_it_change_nothing() -> None:
    torch.manual_seed(0)
    backbone = Backbone("test_efficientnet", pretrained=False)
    stages = backbone.train().stages_before(3)
    images = torch.randn(2, 3, 64, 64)
    backbone.eval()
    with torch.no_grad():
        expected = stages(images)
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        got = Frozen(stages, Machine("fp32"))(images)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    rounded = Frozen(stages, Machine("bf16"))(images)
    assert float((rounded - expected).abs().mean()) < 0.02 * float(expected.abs().mean())


class Inverse(nn.Module):
    """With an operator that OpenVINO does not have."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.linalg.svdvals(images.float())


@CPU
def test_a_network_that_cannot_be_converted_runs_in_pytorch_and_leaves_the_log_alone() -> None:
    log = logging.getLogger()
    before = log.level, list(log.filters), list(log.handlers)
    images = torch.randn(2, 3, 8, 8)
    frozen = Frozen(Inverse(), Machine("fp32"))
    torch.testing.assert_close(frozen(images), torch.linalg.svdvals(images))
    assert list(frozen._compiled.values()) == [None]
    assert (log.level, log.filters, log.handlers) == before


@pytest.mark.slow
@CPU
def test_what_it_computes_is_compiled() -> None:
    frozen = Frozen(Backbone("test_efficientnet", pretrained=False).eval(), Machine("fp32"))
    frozen(torch.randn(2, 3, 64, 64))
    assert all(compiled is not None for compiled in frozen._compiled.values())
