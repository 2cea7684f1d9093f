"""Twenty labels that were not trained next to sixty that were: three fixed splits of COCO's eighty."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from pvlr_sdk.evaluation.metrics import f1_scores, mean_average_precision
from pvlr_sdk.labels.knowledge import Calibration, Knowledge
from pvlr_sdk.labels.thresholds import Objective, choose_thresholds, sigmoid
from pvlr_sdk.labels.words import encode_prompts
from pvlr_training.concepts import regress

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


def calibrate(standardised: Floats, targets: NDArray[np.int8]) -> Calibration:
    """One logistic regression and one threshold of each operating point for all labels.

    Args:
        standardised: (N, C), scores of words.
        targets: (N, C).
    """
    scores, truth = standardised.ravel(), targets.ravel()
    model = LogisticRegression(C=1e6).fit(scores[:, None], truth == 1)
    scale, offset = float(model.coef_[0, 0]), float(model.intercept_[0])
    logits = scale * scores + offset
    chosen = (
        float(choose_thresholds(logits[:, None], truth[:, None], Objective.parse(text))[0])
        for text in ("f1", "precision=0.9")
    )
    threshold, precise = chosen
    return Calibration(*(round(value, 3) for value in (scale, offset, threshold, max(threshold, precise))))


def trust(standardised: Floats, targets: NDArray[np.int8], calibration: Calibration) -> dict[str, float]:
    """In percent: precision and recall of the tags (all labels together) at both thresholds, and how often labels with
    a score of about 0.1, 0.3 and 0.6 are present."""
    scores = sigmoid(calibration.scale * standardised + calibration.offset)
    found = {}
    for name, level in (("f1", calibration.threshold), ("precise", calibration.precise_threshold)):
        measured = f1_scores(scores >= level, targets)
        found |= {f"{name} precision": measured["OP"], f"{name} recall": measured["OR"]}
    for low, middle, high in ((0.05, 0.1, 0.2), (0.2, 0.3, 0.45), (0.45, 0.6, 0.8)):
        within = (scores >= low) & (scores < high)
        found[f"present at {middle}"] = float((targets[within] == 1).mean()) if within.any() else float("nan")
    return {name: round(100 * value, 1) for name, value in found.items()}


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
