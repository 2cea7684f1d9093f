"""Words alone: labels without any labelled photo, from what ImageNet's classes and the language model know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk.bundle.manifest import OpenSpec
from pvlr_sdk.evaluation.metrics import mean_average_precision
from pvlr_sdk.labels.knowledge import Knowledge
from pvlr_sdk.labels.words import TEMPLATES, encode_prompts
from pvlr_training.concepts import class_vectors
from pvlr_training.model.text import RandomText

from ...common import ROOT
from .data import Photos
from .rivals import conse, eszsl

Floats = NDArray[np.float64]
DESCRIPTIONS = ROOT / "training/configs/coco80_descriptions.json"
SPEC = OpenSpec(max_labels=128, width=8, space="frozen", feature_width=1408, features="frozen")


def prompts(names: Sequence[str], templates: Sequence[str] = TEMPLATES, described: bool = False) -> list[list[str]]:
    """The prompts of each name; ``described`` adds its description."""
    descriptions = json.loads(DESCRIPTIONS.read_text()) if described else {}
    return [[*(t.replace("{}", name) for t in templates), *filter(None, [descriptions.get(name)])] for name in names]


def random_vectors(prompts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
    """Vectors without meaning, equal for equal names."""
    rows: NDArray[np.float32] = np.stack([RandomText().encode(list(one)).mean(0).numpy() for one in prompts])
    return rows


def words_alone(train: Photos, test: Photos, labels: list[str], knowledge: Knowledge) -> dict[str, float]:
    """mAP of each way from words to scores, on the photos of ``test``."""
    scores: dict[str, Floats] = {}
    vectors = {
        "random vectors, equal for equal names": (class_vectors(random_vectors), random_vectors(prompts(labels))),
        "random vectors, all different": (class_vectors(random_vectors), random_vectors(prompts(labels, ["label {}"]))),
        "names": (class_vectors(templates=["{}"]), encode_prompts(prompts(labels, ["{}"]))),
        "one template": (class_vectors(templates=TEMPLATES[:1]), encode_prompts(prompts(labels, TEMPLATES[:1]))),
        "three templates": (knowledge.vectors, encode_prompts(prompts(labels))),
        "three templates and a description": (knowledge.vectors, encode_prompts(prompts(labels, described=True))),
    }
    of_classes, of_labels = (rows.astype(np.float64) for rows in vectors["three templates"])
    probabilities = np.exp(test.seen.logits - test.seen.logits.max(1, keepdims=True))
    probabilities /= probabilities.sum(1, keepdims=True)
    scores["ConSE"] = conse(probabilities, of_classes, of_labels)
    logits = train.seen.logits - train.seen.logits.mean(1, keepdims=True)
    scores["ESZSL"] = test.seen.features @ eszsl(train.seen.features, logits, of_classes, of_labels, 1.0, 1.0)
    for name, (of_classes, of_labels) in vectors.items():
        known = replace(knowledge, vectors=of_classes.astype(np.float16))
        scores[name] = word_scores(known, labels, of_labels, test)
    return {name: percent(mean_average_precision(rows, test.targets)) for name, rows in scores.items()}


def word_scores(knowledge: Knowledge, labels: Sequence[str], vectors: NDArray[np.float32], photos: Photos) -> Floats:
    """The logits (N, C) that an open plan gives to words."""
    bank = knowledge.bank_of(labels, knowledge.shares(vectors.astype(np.float64))[0])
    assert bank.weights is not None
    assert bank.biases is not None
    logits: Floats = photos.seen.features @ bank.weights.T.astype(np.float64) + bank.biases
    return logits


def percent(share: float) -> float:
    return round(100 * share, 2)
