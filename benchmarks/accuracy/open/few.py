"""Words and K photos of a label, compared with rivals on the same photos."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pvlr_sdk.labels.fit import fit
from pvlr_sdk.labels.precision_recall import average_precision

from .data import Photos
from .rivals import cache_model, logistic_regression
from .words import percent

Floats = NDArray[np.float64]

POOL, NEGATIVES, LEAST = 1500, 100, 20
COUNTS = (1, 2, 4, 8, 16)


@dataclass(frozen=True)
class Draw:
    """Photos that one label is taught from: their features (N, D), the logits of its words (N,), and which show it."""

    features: Floats
    words: Floats
    present: NDArray[np.bool_]


@dataclass(frozen=True)
class Known:
    """What one network sees, and what it says of the words.

    Attributes:
        labels: the indices of the labels that count with this network.
        train, test: the photos, with all labels.
        words_train, words_test: logits of the words (n, C).
    """

    labels: Sequence[int]
    train: Photos
    test: Photos
    words_train: Floats
    words_test: Floats


def pool(count: int) -> NDArray[np.int64]:
    """The indices of the photos that labels are taught from, of ``count`` training photos."""
    order: NDArray[np.int64] = np.random.default_rng(0).permutation(count)[:POOL]
    return order


def few_photos(networks: Sequence[Known], seeds: int) -> dict[str, dict[str, float]]:
    """mAP by way of learning and number of photos K, over the labels with at least 20 positives in a pool of 1,500."""
    targets = networks[0].train.targets
    order = pool(len(targets))
    frequent = np.flatnonzero((targets[order] == 1).sum(0) >= LEAST)
    chosen = [(network, label) for network in networks for label in frequent.tolist() if label in network.labels]
    ways: dict[str, Callable[[Draw, Floats, Floats], Floats]] = {
        "logistic regression": lambda draw, tested, words: logistic_regression(draw.features, draw.present, tested),
        "cache of the photos, and words": _cache_and_words,
        "photos alone": lambda draw, tested, words: tested @ fit(draw.features, None, draw.present).weights,
        "words and photos": _words_and_photos,
    }
    alone = [average_precision(known.words_test[:, c], known.test.targets[:, c]) for known, c in chosen]
    table: dict[str, dict[str, float]] = {name: {} for name in ways}
    table["words and photos"]["0"] = percent(float(np.mean(alone)))
    for count in COUNTS:
        found: dict[str, list[float]] = {name: [] for name in ways}
        for known, label in chosen:
            for draw in draws(known.train, known.words_train, order, label, count, seeds):
                for name, way in ways.items():
                    scores = way(draw, known.test.seen.features, known.words_test[:, label])
                    found[name].append(average_precision(scores, known.test.targets[:, label]))
        print(f"{count} photos of a label: done", flush=True)
        for name, values in found.items():
            table[name][str(count)] = percent(float(np.mean(values)))
    return {**table, "labels": {"count": len(chosen)}}


def draws(train: Photos, words: Floats, pool: NDArray[np.int64], label: int, count: int, seeds: int) -> Iterator[Draw]:
    """``count`` photos of the pool that show the label and 100 that do not, once for each seed."""
    present = train.targets[pool, label] == 1
    for seed in range(seeds):
        random = np.random.default_rng([seed, label])
        rows = [random.permutation(np.flatnonzero(of)) for of in (present, train.targets[pool, label] == -1)]
        kept = pool[np.concatenate([rows[0][:count], rows[1][:NEGATIVES]])]
        yield Draw(train.seen.features[kept], words[kept, label], train.targets[kept, label] == 1)


def _words_and_photos(draw: Draw, tested: Floats, words: Floats) -> Floats:
    fitted = fit(draw.features, draw.words, draw.present)
    return tested @ fitted.weights + fitted.gain * words


def _cache_and_words(draw: Draw, tested: Floats, words: Floats) -> Floats:
    scores = cache_model(draw.features, draw.present, tested)
    return scores / scores.std() + words / words.std()
