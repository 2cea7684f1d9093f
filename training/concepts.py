"""Knowledge for open plans: a plan's image features learn what the pretrained classifier says of unlabelled photos."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from timm.data import ImageNetInfo

from pvlr_sdk.bundle.manifest import OpenSpec
from pvlr_sdk.errors import ConfigError, OptionError
from pvlr_sdk.frames.find import find
from pvlr_sdk.labels.knowledge import Calibration, Knowledge
from pvlr_sdk.labels.words import TEMPLATES, encode_prompts
from pvlr_sdk.workshop.compile.exported import read_payload, read_spec

from .captions import captions_of, learn_words
from .checkpoint import load_model
from .data.augmentation import Views
from .data.images import ImageDataset
from .deploy import DeployedPVLR
from .export import resize
from .frozen import Frozen
from .machine import Machine
from .model.backbone import Backbone
from .ridge import regress

Floats = NDArray[np.float64]


_INFO = ImageNetInfo("imagenet-1k")
SHARPNESS = 5.0
_RIDGE = 1.0
_FLOOR = 0.01
"""Chosen on photos of COCO's train split (docs/open_labels.md)."""
_KEPT = 1250
"""Photos whose features are kept, 2.6 kB each. With 4,000, the words of docs/open_labels.md gain 0.15 mAP."""
CALIBRATION = Calibration(scale=0.866, offset=-3.578, threshold=0.165, precise_threshold=0.961)
"""Of the 80 labels of COCO, as words, on its 3,595 training photos, with version 0.2: docs/open_labels.md."""
_CLASSES = 1000
_LEAST = 100
"""Photos: fewer say nothing about the spread of scores."""


@dataclass(frozen=True)
class Seen:
    """What two networks see in n photos.

    Attributes:
        features: (n, D) of the plan: the mean of its tokens, with unit length.
        logits: (n, K) of the pretrained classifier.
        peaks: (n, K), the largest probability of each class over the pretrained network's tokens.
    """

    features: Floats
    logits: Floats
    peaks: Floats


@torch.no_grad()
def imagenet_classifier(backbone: Backbone) -> tuple[torch.Tensor, torch.Tensor]:
    """The classifier (K, D) and (K) that gives the backbone's ImageNet logits from its average-pooled tokens.

    Raises:
        ConfigError: there is none: other classes, a class token, or layers between pooling and classifier.
    """
    layer = backbone.net.eval().get_classifier()
    got = type(layer).__name__
    if isinstance(layer, torch.nn.Linear):
        got = f"{layer.out_features} classes from {layer.in_features} channels"
        if (layer.out_features, layer.in_features) == (_CLASSES, backbone.channels):
            features = backbone.net.forward_features(
                torch.rand(1, *backbone.net.pretrained_cfg["input_size"])
            )
            expected = backbone.net.forward_head(features)
            pooled = backbone.tokens(features).mean(1)
            if torch.allclose(layer(pooled), expected, rtol=1e-3, atol=1e-3):
                return layer.weight.detach(), layer.bias.detach()
            got = "one that reads something else than average-pooled features"
    raise ConfigError(
        "model.backbone",
        f"a backbone with a linear classifier of ImageNet's {_CLASSES} classes on average-pooled features",
        f"{backbone.name}: {got}",
        "Use an EfficientNet or a ResNet.",
    )


@torch.inference_mode()
def look(
    backbone: Backbone,
    pretrained: Backbone,
    dataset: ImageDataset,
    views: Views,
    advance: Callable[[int], None],
) -> Seen:
    """Features of ``backbone``, and what ``pretrained``, which has its classifier, says of the same photos.

    Raises:
        ConfigError: as :func:`imagenet_classifier`.
    """
    weight, bias = imagenet_classifier(pretrained)
    machine = Machine("auto")
    of_classes = Frozen(pretrained, machine)
    of_tokens = Frozen(backbone, machine)
    rows: list[tuple[NDArray[np.float32], ...]] = []
    for images in views.batches(dataset):
        tokens = of_classes(images).cpu()
        mean = (tokens if backbone is pretrained else of_tokens(images).cpu()).mean(1)
        every = torch.nn.functional.linear(tokens, weight, bias)
        peaks = every.softmax(-1).amax(1)
        rows.append(tuple(part.numpy() for part in (mean, every.mean(1), peaks)))
        advance(len(images))
    means, logits, peaks = (
        np.concatenate(part).astype(np.float64) for part in zip(*rows, strict=True)
    )
    return Seen(means / np.linalg.norm(means, axis=1, keepdims=True), logits, peaks)


@torch.inference_mode()
def features_of(
    backbone: Backbone, dataset: ImageDataset, views: Views, advance: Callable[[int], None]
) -> Floats:
    """(n, D): the ``features`` of :func:`look` alone."""
    of_tokens = Frozen(backbone, Machine("auto"))
    rows = []
    for images in views.batches(dataset):
        rows.append(of_tokens(images).cpu().mean(1).numpy())
        advance(len(images))
    means = np.concatenate(rows).astype(np.float64)
    features: Floats = means / np.linalg.norm(means, axis=1, keepdims=True)
    return features


def learn(
    run: Path,
    network: Path,
    photos: Path,
    size: tuple[int, int] | None = None,
    advance: Callable[[int, int], None] = lambda count, total: None,
    captions: Path | None = None,
) -> Path:
    """Write the knowledge of an open network, ``<network>.knowledge.safetensors``; returns its path.

    Args:
        run: the run that ``network`` was exported from, at the input size ``size``.
        photos: a folder of photos without labels.
        advance: called with the number of photos seen since the last call, and the total.
        captions: a CSV file of photos in ``images/`` beside it, which teaches :mod:`everyday words <.captions>`.

    Raises:
        ConfigError: the backbone has no classifier of ImageNet's classes.
        OptionError: there are too few photos, or the captions are invalid.
        CheckpointError, OutputError, MissingPartError: as :func:`load_model`, ``write_files`` and ``encode_prompts``.
    """
    spec = read_spec(read_payload(str(network)), str(network)).open
    assert spec is not None, "an open network"
    files = find([str(photos)], lambda name, error: None)
    texts = {} if captions is None else captions_of(captions)
    model, config, extra = load_model(run)
    if size is not None:
        config, _ = resize(model, config, extra, size)
    pretrained = Backbone(config.model.backbone, pretrained=True, classifier=True).eval()
    dataset = ImageDataset.unlabelled(files)
    total = len(files) + len(texts)
    backbone = DeployedPVLR(model).backbone
    views = Views(config.data, 0)
    seen = look(backbone, pretrained, dataset, views, lambda count: advance(count, total))
    kept = [row for row, file in enumerate(files) if str(file) not in dataset.failed]
    if len(kept) < _LEAST:
        raise OptionError(
            "--knowledge",
            f"at least {_LEAST} readable photos",
            str(len(kept)),
            "Any photos of the kind that the plan will see; they need no labels.",
        )
    seen = Seen(seen.features[kept], seen.logits[kept], seen.peaks[kept])
    path = network.with_suffix(".knowledge.safetensors")
    knowledge = knowledge_of(seen, class_vectors(), spec)
    if texts:
        told = ImageDataset.unlabelled(list(texts))
        features = features_of(backbone, told, views, lambda count: advance(count, total))
        kept = [row for row, file in enumerate(texts) if str(file) not in told.failed]
        lines = list(texts.values())
        everyday = learn_words(
            features[kept], [lines[row] for row in kept], knowledge, config.data.labels
        )
        knowledge = replace(knowledge, everyday=everyday)
    knowledge.save(path)
    return path


def class_names() -> list[str]:
    """The first of WordNet's names of each ImageNet class, such as "tench"."""
    return [_INFO.index_to_description(k).split(",")[0] for k in range(_INFO.num_classes())]


def class_vectors() -> NDArray[np.float32]:
    """ImageNet's classes (K, d_t): the mean of the encoded templates with the name, and WordNet's definition of it.

    Raises:
        MissingPartError: as :func:`encode_prompts`.
    """
    names = class_names()
    definitions = [
        _INFO.index_to_description(k, detailed=True).partition(": ")[2] for k in range(len(names))
    ]
    named = encode_prompts(
        [[template.replace("{}", name) for template in TEMPLATES] for name in names]
    )
    return named + encode_prompts([[definition] for definition in definitions])


def knowledge_of(seen: Seen, vectors: NDArray[np.float32], spec: OpenSpec) -> Knowledge:
    """The knowledge of ImageNet's classes, whose encoded names are ``vectors``, for the plans of ``spec``."""
    weights = regress(seen.features, evidence(seen), _RIDGE)
    text = {
        "space": spec.space,
        "features": spec.features,
        "width": spec.width,
        "sharpness": SHARPNESS,
    }
    return Knowledge(
        class_names(),
        vectors.astype(np.float16),
        weights.astype(np.float16),
        seen.features[:_KEPT].astype(np.float16),
        CALIBRATION,
        text,
    )


def evidence(seen: Seen) -> Floats:
    """(n, K): what the pretrained network says for each class: in the whole photo, and where it is best visible.

    The logits, less their mean over the classes, and the logarithm of the largest probability of a token. Both are
    standardised over the photos.
    """
    whole = seen.logits - seen.logits.mean(1, keepdims=True)
    best = np.log(seen.peaks + _FLOOR)
    parts = ((part - part.mean(0)) / part.std(0) for part in (whole, best))
    return sum(parts)
