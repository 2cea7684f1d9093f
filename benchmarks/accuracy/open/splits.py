"""Twenty labels that were not trained next to sixty that were: three fixed splits of COCO's eighty."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk.evaluation.metrics import mean_average_precision
from pvlr_sdk.labels.knowledge import Calibration, Knowledge
from pvlr_sdk.labels.words import encode_prompts
from pvlr_training.concepts import regress

from .calibration import calibrate, trust
from .data import Photos
from .rivals import eszsl
from .words import percent, prompts, word_scores

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

SPLITS, UNSEEN, RIDGE = 3, 20, 3.0


def splits(labels: list[str], count: int = SPLITS) -> list[Indices]:
    """The unseen labels of each split; no label is in two of them, and with four, each is in one."""
    order = np.random.default_rng(0).permutation(len(labels))
    return [np.sort(order[UNSEEN * split :][:UNSEEN]) for split in range(count)]


def seen_and_unseen(train: Photos, test: Photos, labels: list[str], knowledge: Knowledge) -> dict[str, Any]:
    """For each split the mAP of the unseen labels by way, the calibration of the seen labels and its accuracy."""
    vectors = encode_prompts(prompts(labels, described=True))
    results: dict[str, Any] = {"unseen": {}, "calibrations": [], "trust": [], "labels": []}

    def by_words(known: Knowledge, of: Indices, photos: Photos) -> Floats:
        return word_scores(known, [labels[label] for label in of], vectors[of], photos)

    for unseen in splits(labels):
        seen = np.setdiff1d(np.arange(len(labels)), unseen)
        targets = train.targets[:, seen].astype(np.float64)
        trained = regress(train.seen.features, targets, RIDGE)
        more = _with_labels(knowledge, [labels[s] for s in seen], vectors[seen], trained)
        weights = eszsl(train.seen.features, targets, vectors[seen], vectors[unseen], 1.0, 1.0)
        of_words = by_words(knowledge, unseen, test)
        ways = {
            "ESZSL from the trained labels": test.seen.features @ weights,
            "words": of_words,
            "words, trained labels as concepts": by_words(more, unseen, test),
        }
        for name, scores in ways.items():
            score = percent(mean_average_precision(scores, test.targets[:, unseen]))
            results["unseen"].setdefault(name, []).append(score)
        calibration = calibrate(_standardised(by_words(knowledge, seen, train), knowledge), train.targets[:, seen])
        found = trust(_standardised(of_words, knowledge), test.targets[:, unseen], calibration)
        results["calibrations"].append(vars(calibration))
        results["trust"].append(found)
        results["labels"].append([labels[label] for label in unseen])
    return results


def calibration_of_all(train: Photos, labels: list[str], knowledge: Knowledge) -> Calibration:
    """The calibration that knowledge files have: that of all labels."""
    vectors = encode_prompts(prompts(labels, described=True))
    return calibrate(_standardised(word_scores(knowledge, labels, vectors, train), knowledge), train.targets)


def _standardised(logits: Floats, knowledge: Knowledge) -> Floats:
    return (logits - knowledge.calibration.offset) / knowledge.calibration.scale


def _with_labels(knowledge: Knowledge, names: list[str], vectors: NDArray[np.float32], weights: Floats) -> Knowledge:
    """Knowledge with trained labels as further concepts, whose logits get the usual spread of the evidence."""
    photos = knowledge.photos.astype(np.float64)
    usual = (photos @ knowledge.weights.astype(np.float64).T).std(0).mean()
    scale = usual / np.maximum((photos @ weights.T).std(0), 1e-12)
    return replace(
        knowledge,
        names=[*knowledge.names, *names],
        vectors=np.concatenate([knowledge.vectors, vectors.astype(np.float16)]),
        weights=np.concatenate([knowledge.weights, (scale[:, None] * weights).astype(np.float16)]),
    )
