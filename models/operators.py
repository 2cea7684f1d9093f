"""Checks that csrc/host/network/operators.inc lists the operators of every network that the exporter writes.

Run it after a change to the exporter or the heads, and to admit another backbone: ``python models/operators.py``. It
exports every head and about 80 of timm's families with random weights, and converts some to every precision: 15 minutes
on two cores. The list also has activations and arithmetic of other networks, whose output is as large as their inputs.
An operator that contains graphs, runs for as long as it likes or reads files must not be added.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Iterator

import numpy as np
import timm

from pvlr_sdk.bundle.network import check_network
from pvlr_sdk.bundle.schema import ATTENTIONS, PRECISIONS
from pvlr_sdk.frames.preprocess import Preprocessor
from pvlr_sdk.workshop.compile.onnx.convert import convert
from pvlr_sdk.workshop.compile.onnx.quantize import quantize
from pvlr_training.config import Config
from pvlr_training.deploy import DeployedPVLR
from pvlr_training.export import describe, to_onnx
from pvlr_training.model.heads import HEADS
from pvlr_training.model.network import PVLR

SMALL = ("test_efficientnet", "test_vit", "test_resnet")
"""Backbones that export within seconds; the first and the second are also converted to every precision."""
FAMILIES = """
    beit_base_patch16_224 cait_xxs24_224 coatnet_pico_rw_224 convit_tiny convnext_atto convnextv2_atto cspresnet50
    davit_tiny deit_tiny_patch16_224 densenet121 dla34 edgenext_xx_small efficientformer_l1 efficientformerv2_s0
    efficientnet_b0 efficientnetv2_rw_t efficientvit_b0 efficientvit_m0 eva02_tiny_patch14_224 fastvit_t8
    focalnet_tiny_srf hgnet_tiny hgnetv2_b0 hiera_tiny_224 inception_next_atto inception_v3 levit_128s
    maxvit_rmlp_pico_rw_256 mixer_s16_224 mnasnet_small mobilenet_edgetpu_v2_xs mobilenetv2_050 mobileone_s0
    mobilevit_xxs mobilevitv2_050 nextvit_small nfnet_l0 poolformer_s12 pvt_v2_b0 regnetx_002 regnety_002 repvgg_a0
    repvit_m0_9 res2net50_26w_4s resmlp_12_224 resnest14d resnet101 resnet18 resnet50 resnet50d resnext50_32x4d
    rexnet_100 samvit_base_patch16_224 seresnet18 shvit_s1 skresnet18 starnet_s1 swiftformer_xs tf_efficientnet_lite0
    tiny_vit_5m_224 tinynet_e twins_pcpvt_small vgg11 visformer_tiny vit_base_patch16_clip_224
    vit_relpos_small_patch16_224 vit_small_patch14_dinov2 vit_small_patch16_dinov3 vit_tiny_patch16_224 xception41
    xcit_nano_12_p8_224
"""
LABELS = ["red", "green", "blue"]


def configured(backbone: str, head: str = "pvlr") -> Config:
    """A configuration of random weights, at the backbone's own input size."""
    known = timm.get_pretrained_cfg(backbone)
    side = known.input_size[-1] if known and known.input_size else 224
    return Config.model_validate(
        {
            "name": backbone,
            "model": {
                "backbone": backbone,
                "pretrained": False,
                "head": head,
                "text": {"encoder": "random"},
            },
            "data": {
                "input": {"width": side, "height": side, "mean": [127] * 3, "std": [64] * 3},
                "labels": LABELS,
                "sources": [{"images": ".", "labels": "x", "splits": ["train"]}],
            },
        }
    )


def exported(config: Config) -> bytes:
    """A network as ``pvlr export`` writes it."""
    size = config.data.input
    deployed = DeployedPVLR(PVLR(LABELS, size.width, size.height, config.model).eval())
    return describe(to_onnx(deployed, config), deployed, config, {"holdout": {}})


def conversions(payload: bytes, config: Config) -> Iterator[bytes]:
    """A network in every precision, with both kinds of attention, and in int8 for a CPU."""
    random = np.random.default_rng(0)
    frames = [random.integers(0, 256, (64, 64, 3)).astype(np.uint8) for _ in range(4)]
    yield quantize(payload, frames, Preprocessor(config.data.input).load, None)
    for precision in PRECISIONS:
        for attention in ATTENTIONS:
            yield convert(payload, precision=precision, attention=attention, frames=frames)


def written(backbones: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Everything that the exporter writes, with its name: all heads, all precisions, and these backbones."""
    for head in HEADS:
        yield head, exported(configured(SMALL[0], head))
    for backbone in SMALL[:2]:
        config = configured(backbone)
        for payload in conversions(exported(config), config):
            yield f"{backbone}, converted", payload
    for backbone in backbones:
        yield backbone, exported(configured(backbone))


def main() -> None:
    warnings.simplefilter("ignore")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    for name, payload in written([*SMALL, *FAMILIES.split()]):
        check_network(payload, name)


if __name__ == "__main__":
    main()
