"""The linear head compared with its formula in float64 NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from pvlr_training.deploy import DeployedPVLR
from pvlr_training.model.config import ModelConfig
from pvlr_training.model.heads import open_head
from pvlr_training.model.network import PVLR

from ..conftest import random_config

Array = NDArray[np.float64]
BANK = torch.zeros(0)  # it is not used
B, ROWS, COLUMNS, D, C = 2, 3, 5, 20, 7


def array(x: torch.Tensor) -> Array:
    return x.detach().double().numpy()


def make(head: str, **changes: object) -> tuple[nn.Module, torch.Tensor]:
    """A head with random norms and biases, and tokens for it."""
    torch.manual_seed(0)
    config = ModelConfig.model_validate(
        {"head": head, "width": 24, "heads": 3, "ffn": 40, **changes}
    )
    module = open_head(D, (ROWS, COLUMNS), C, config).eval()
    for name, parameter in module.named_parameters():
        if parameter.ndim == 1:
            nn.init.uniform_(parameter, 0.5, 1.5) if "norm.weight" in name else nn.init.normal_(
                parameter
            )
    return module, torch.randn(B, ROWS * COLUMNS, D)


def test_linear_classifies_the_average_and_its_map_averages_to_the_logit() -> None:
    head, tokens = make("linear")
    output = head(tokens, BANK)
    X, W, b = array(tokens), array(head.classify.weight), array(head.classify.bias)
    np.testing.assert_allclose(array(output.logits), X.mean(1) @ W.T + b, atol=1e-5)
    np.testing.assert_allclose(array(output.similarity), X @ W.T + b, atol=1e-5)
    np.testing.assert_allclose(array(output.similarity).mean(1), array(output.logits), atol=1e-5)


@pytest.mark.slow
def test_every_parameter_learns_and_the_deployed_form_agrees() -> None:
    torch.manual_seed(0)
    config = random_config(("dog", "cat", "bus"), head="linear").model
    model = PVLR(("dog", "cat", "bus"), 64, 96, config).train()
    output = model(torch.randn(2, 3, 64, 96))
    assert output.logits.shape == (2, 3)
    assert output.similarity.shape == (2, model.grid[0] * model.grid[1], 3)
    output.logits.square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert float(model.text.distance()) == 0
    images = torch.randn(2, 3, 64, 96)
    with torch.inference_mode():
        expected = model.eval()(images).logits
        torch.testing.assert_close(DeployedPVLR(model)(images).logits, expected, atol=5e-2, rtol=0)
