"""What to expect of a tagger on other images: mAP, precision and recall with intervals, at any label frequency."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

_PRIOR = 1 / 3
"""Kerman's neutral prior (2011): this much of an image that is tagged wrongly, and of one that is missed."""
_COPIES = 20
_TAILS = (0.5, 0.025, 0.975)
_ROUNDS = 1000
_MOST = 2_000_000
"""The number of draws, and the most weights in all of them: of more than 2000 images, there are fewer draws."""


@dataclass(frozen=True)
class Expected:
    """A measure on other images, as a fraction: the median of the draws, and the interval with 95 % of them.

    NaN without a label that has a positive image.
    """

    value: float
    low: float
    high: float

    def percent(self) -> tuple[float, float, float] | None:
        """Value, low and high in percent; None if there is nothing to measure."""
        return None if np.isnan(self.value) else (100 * self.value, 100 * self.low, 100 * self.high)


def expected(
    scores: ArrayLike,
    tagged: ArrayLike,
    targets: ArrayLike,
    *,
    prevalence: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    others: int | None = None,
) -> dict[str, Expected]:
    """``mAP``, ``CP``, ``CR``, ``OP`` and ``OR`` of other images of this kind, as in
    :func:`pvlr_sdk.workshop.evaluation.metrics.f1_scores`.

    The draws are a Bayesian bootstrap (Rubin 1981): random weights of the images, or of groups of similar ones. Of a
    label with few images, not all kinds of errors have occurred. Each draw therefore has a third of an image more that
    is tagged wrongly, at the threshold or amid the tags, and of one that is just missed (the neutral prior of Kerman
    2011). Without it, a label without a wrong tag has a precision of 100 % in every draw. It also outweighs what
    thresholds gain from being chosen on the same images.

    With ``prevalence``, each image has the weight of :func:`weights`, and a label with the prevalence q, the recall r
    and the share f of wrong tags has the precision q r / (q r + (1 - q) f), in mAP at each threshold.

    Args:
        scores, tagged, targets: (N, C); ``tagged`` are the tags, ``targets`` 1, 0, -1.
        prevalence: (C,) the share of images with each label; None: as in these images.
        groups: (N,) integers; images of one group are drawn together. None: each image is a group.
        others: precision and recall on this many other images; None: in the long run.
    """
    scores = np.asarray(scores, np.float64)
    tagged = np.asarray(tagged, np.bool_)
    targets = np.asarray(targets)
    images = len(scores)
    answered = (targets != 0).sum(0)
    prevalences = (targets == 1).sum(0) / np.maximum(answered, 1)
    share = prevalences if prevalence is None else np.asarray(prevalence, np.float64)
    weight = np.ones(images) if prevalence is None else weights(targets, share)
    group = np.unique(
        np.arange(images) if groups is None else np.asarray(groups), return_inverse=True
    )[1]
    rounds = max(100, min(_ROUNDS, _MOST // max(images, 1)))
    rng = np.random.default_rng(0)
    drawn = rng.exponential(size=(rounds, group.max(initial=-1) + 1))[:, group] * weight
    shown = np.flatnonzero(prevalences > 0)
    if not shown.size:
        return dict.fromkeys(("mAP", "CP", "CR", "OP", "OR"), Expected(np.nan, np.nan, np.nan))
    labels = [(scores[:, c], tagged[:, c], targets[:, c], float(share[c])) for c in shown]
    each = [_draws(*label, drawn, weight, group, rng) for label in labels]
    # (labels, rounds)
    area, right, wrong = (np.array(measure) for measure in zip(*each, strict=True))
    # labels that few images state count less overall
    present = share[shown, None]
    stated = answered[shown, None] / images
    if others is not None:
        positives = np.round(others * present).astype(np.int64)
        hits = rng.binomial(positives, np.clip(right / present, 0, 1))
        false = rng.binomial(others - positives, np.clip(wrong / (1 - present), 0, 1))
        present = np.maximum(positives, 1) / others
        right = hits / others
        wrong = false / others
    tags = np.maximum(right + wrong, 1e-300)
    measures = {
        "mAP": area.mean(0),
        "CP": (right / tags).mean(0),
        "CR": (right / present).mean(0),
        "OP": (stated * right).sum(0) / (stated * tags).sum(0),
        "OR": (stated * right).sum(0) / (stated * present).sum(0),
    }
    return {
        name: Expected(*map(float, np.quantile(draws, _TAILS))) for name, draws in measures.items()
    }


def _draws(
    score: Floats,
    tagged: NDArray[np.bool_],
    target: NDArray[np.int8],
    share: float,
    drawn: Floats,
    weight: Floats,
    group: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[Floats, Floats, Floats]:
    """One label in each draw: its average precision, and the shares of images with a right and with a wrong tag."""
    answered = np.flatnonzero(target)
    order = answered[np.lexsort((~tagged[answered], -score[answered]))]
    cut = int(tagged[order].sum())
    present = target[order] == 1
    sides = []
    for some in (order[~present], order[present]):
        # An image of the prior counts as much as one of these, of which weights and groups leave fewer.
        per_group = np.bincount(group[some], weight[some])
        group_size = (per_group**2).sum() / per_group.sum() if some.size else 1.0
        sides.append(rng.gamma(_PRIOR, group_size, len(drawn)))
    last_of_its_score = np.append(np.diff(score[order]) != 0, True)
    halves = []
    for at, rows in ((cut // 2, slice(0, None, 2)), (cut, slice(1, None, 2))):
        # One more with a wrong tag, and one that is missed.
        mass = np.insert(
            drawn[rows][:, order],
            [at, cut],
            np.stack([side[rows] for side in sides], axis=1),
            axis=1,
        )
        positive = np.insert(present, [at, cut], [False, True])
        for kind, part in ((positive, share), (~positive, 1 - share)):
            mass[:, kind] *= part / np.maximum(mass[:, kind].sum(axis=1, keepdims=True), 1e-300)
        hits = np.cumsum(mass * positive, axis=1)
        retrieved = np.cumsum(mass, axis=1)
        # equal scores share a threshold
        ends = np.insert(last_of_its_score, [at, cut], [True, True])
        precision = hits[:, ends] / np.maximum(retrieved[:, ends], 1e-300)
        area = (np.diff(hits[:, ends], axis=1, prepend=0) * precision).sum(axis=1) / share
        halves.append((area, hits[:, cut], retrieved[:, cut] - hits[:, cut]))
    area, right, wrong = (np.concatenate(pair) for pair in zip(*halves, strict=True))
    return area, right, wrong


def weights(targets: ArrayLike, prevalence: ArrayLike, rounds: int = 100) -> Floats:
    """Weights (N,) of images, 1 on average, with which each label is as frequent as ``prevalence`` (C,) states.

    Raking (Deming and Stephan 1940): the weights of images with and without a label are scaled, label after label,
    until all shares hold. A label on no image or on all of them, and the images on which it is unknown, do not change.
    """
    targets = np.asarray(targets)
    weight: Floats = np.ones(len(targets))
    sides = [
        (targets[:, c] == 1, targets[:, c] == -1, q)
        for c, q in enumerate(np.asarray(prevalence, np.float64))
    ]
    for _ in range(rounds):
        for present, absent, share in sides:
            with_it = weight[present].sum()
            without = weight[absent].sum()
            if with_it and without:
                weight[present] *= share * (with_it + without) / with_it
                weight[absent] *= (1 - share) * (with_it + without) / without
    return weight / weight.mean() if len(weight) else weight


def reweighted(
    logits: Floats, targets: NDArray[np.int8], prevalence: Floats
) -> tuple[Floats, NDArray[np.int8]]:
    """Logits and targets with each image repeated in proportion to its :func:`weights`: to choose thresholds from."""
    copies = np.maximum(1, np.round(_COPIES * weights(targets, prevalence))).astype(int)
    return np.repeat(logits, copies, axis=0), np.repeat(targets, copies, axis=0)


def count(weight: ArrayLike) -> float:
    """The number of images of equal weight that state as much as these (Kish 1965): (sum w)^2 / sum w^2."""
    weight = np.asarray(weight, np.float64)
    return float(weight.sum() ** 2 / max((weight**2).sum(), 1e-300))
