"""Everyday words: captions of photos as weak labels for what people say of pictures.

``python -m pvlr_training.captions engine.knowledge.safetensors`` prints what was measured of the words of a file.
"""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray

from pvlr_sdk.errors import OptionError
from pvlr_sdk.labels.everyday import ACCEPTED, Everyday
from pvlr_sdk.labels.knowledge import Knowledge
from pvlr_sdk.labels.meaning import meanings, same_labels
from pvlr_sdk.labels.precision_recall import average_precision
from pvlr_sdk.labels.thresholds import PRECISE, Objective, choose_thresholds, sigmoid

from .ridge import regress

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FILE = Path(__file__).with_name("everyday.yaml")
_TOKEN = re.compile(r"[a-z][a-z-]*")
_MENTIONS = 25
"""Captions: of fewer, a word is not learned."""
_MOST = 420
"""Words, of 1.3 kB each in a knowledge file."""
_RIDGE = 3.0
"""For features of unit length: of 0.3, 1, 3 and 10 the best on 1,800 photos, by 0.3 points of average precision."""
_FOLDS = 5
_SURE = 20
"""The fewest photos from which the share of mentions is estimated."""
_STEPS = 30
"""Of Newton's method, at most, and ..."""
_CLOSE = 1e-6
"""... the change after which it ends."""
_PLURALS = {"man": "men", "fe": "ves", "ch": "ches", "sh": "shes", "s": "ses", "x": "xes"} | {
    f"{letter}y": f"{letter}ies" for letter in "bcdfghklmnprstvz"
}


@dataclass(frozen=True)
class Lexicon:
    """M words, and which of them each phrase mentions.

    Attributes:
        words: their names.
        forms: each other form of a word, such as "guy", and the word.
        mentioned: the words that a phrase mentions, the word itself first, by its tokens.
    """

    words: list[str]
    forms: dict[str, str]
    mentioned: dict[tuple[str, ...], tuple[int, ...]]

    @classmethod
    def read(cls, path: Path = FILE) -> Lexicon:
        """A YAML file of words and their forms; see the packaged one.

        Raises:
            ValueError: two words have the same form, or a word that is true as well is none of the file.
        """
        lines: dict[str, list[str] | None] = yaml.safe_load(path.read_text())
        rows = {word: row for row, word in enumerate(lines)}
        forms: dict[str, str] = {}
        mentioned: dict[tuple[str, ...], tuple[int, ...]] = {}
        for word, entries in lines.items():
            others = [entry for entry in entries or () if not entry.startswith("+")]
            also = [entry[1:] for entry in entries or () if entry.startswith("+")]
            if unknown := [name for name in also if name not in rows]:
                raise ValueError(f"{word}: {unknown[0]} is no word of {path.name}")
            true = tuple(rows[name] for name in (word, *also))
            for form in dict.fromkeys([word, *others]):
                if forms.setdefault(form, word) != word or (form in rows and form != word):
                    raise ValueError(f"{form} is a form of {word} and of another word")
                mentioned[_tokens(form)] = true
            for plural in map(_plural, (word, *others)):
                mentioned.setdefault(_tokens(plural), true)
        return cls(list(lines), {f: w for f, w in forms.items() if f != w}, mentioned)

    def mentions(self, captions: Sequence[str]) -> Bools:
        """(N, M): which words each caption mentions; the longest phrase at a place counts alone."""
        longest = max(map(len, self.mentioned))
        found = np.zeros((len(captions), len(self.words)), np.bool_)
        for row, caption in enumerate(captions):
            tokens = _tokens(caption)
            start = 0
            while start < len(tokens):
                for length in range(min(longest, len(tokens) - start), 0, -1):
                    if true := self.mentioned.get(tokens[start : start + length]):
                        found[row, list(true)] = True
                        break
                start += length
        return found


def captions_of(path: Path) -> dict[Path, str]:
    """The captions of the photos in ``images/`` beside a CSV file with the columns ``file`` and ``caption``.

    Several captions of a photo are joined; photos that are absent are left out. Raises OptionError: the file is
    invalid, or all photos are absent.
    """
    captions: dict[str, list[str]] = {}
    hint = "Write one line per caption; the photos are in images/ beside the file."
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                captions.setdefault(row["file"], []).append(row["caption"])
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        expected = "a CSV file with the columns file and caption"
        raise OptionError("--captions", expected, f"{path}: {error!r}", hint) from None
    photos = {path.parent / "images" / name: lines for name, lines in captions.items()}
    texts = {photo: " . ".join(lines) for photo, lines in photos.items() if photo.is_file()}
    if not texts:
        raise OptionError(
            "--captions", "photos that the file names", f"none in {path.parent / 'images'}", hint
        )
    return texts


def learn_words(
    features: Floats,
    captions: Sequence[str],
    knowledge: Knowledge,
    labels: Sequence[str],
    lexicon: Lexicon | None = None,
) -> Everyday | None:
    """The words that captions teach better than the dictionary; None: there are none.

    A photo is measured by weights that were learned, and at thresholds that were chosen, without its fifth of the
    photos. The weights and thresholds of the result are of all photos.

    Args:
        features: (N, D) of unit length.
        captions: N, of the same photos.
        knowledge: the concepts, with which the words are compared.
        labels: those of the plan, which need no word.
        lexicon: the words; None: the packaged ones.
    """
    lexicon = lexicon or Lexicon.read()
    present = lexicon.mentions(captions)
    rows = [
        row
        for row in np.flatnonzero(present.sum(0) >= _MENTIONS)
        if not same_labels([lexicon.words[row]], labels)
    ]
    if not rows:
        return None
    names = [lexicon.words[row] for row in rows]
    present = present[:, rows]
    folds = np.random.default_rng(0).permutation(len(features)) % _FOLDS
    scores = np.empty(present.shape)
    for fold in range(_FOLDS):
        out = folds == fold
        weights, offsets = _ridge(features[~out], present[~out])
        scores[out] = features[out] @ weights.T + offsets
    slopes, shifts = np.transpose(list(map(_platt, scores.T, present.T)))
    logits = slopes * scores + shifts
    counts = np.sum([_counts(logits, present, folds == fold) for fold in range(_FOLDS)], axis=0)
    targets = _signs(present)
    before = _of_dictionary(names, features, knowledge)
    averages = np.array([list(map(_precision, of.T, targets.T)) for of in (logits, before)])
    is_better = ~(averages[0] <= averages[1])  # which is true of a word without an entry
    is_kept = is_better & (counts[:, 2] >= ACCEPTED * np.maximum(counts[:, 1], 1))
    best = np.argsort(-averages[0] - 9 * is_kept, kind="stable")[: min(_MOST, is_kept.sum())]
    kept = np.sort(best)
    if not kept.size:
        return None
    weights, offsets = _ridge(features, present)
    thresholds = choose_thresholds(logits, targets)
    precise = _precise(logits, present, thresholds)
    biases = slopes * offsets + shifts
    values = np.stack([biases, thresholds, precise, *averages], axis=1)
    words = [names[column] for column in kept]
    return Everyday(
        words,
        {form: word for form, word in lexicon.forms.items() if word in words},
        (slopes[:, None] * weights)[kept].astype(np.float16),
        values[kept].astype(np.float32),
        counts[kept].astype(np.int32),
        len(features),
    )


def _ridge(features: Floats, present: Bools) -> tuple[Floats, Floats]:
    """Weights (M, D) and offsets (M,) whose scores estimate which words are mentioned."""
    targets = present.astype(np.float64)
    weights = regress(features, targets, _RIDGE)
    return weights, targets.mean(0) - weights @ features.mean(0)


def _platt(scores: Floats, present: Bools) -> tuple[float, float]:
    """The slope and the offset from scores (N,) to logits that are probable (Platt 1999), by Newton's method."""
    spread = scores.std() or 1.0
    inputs = np.stack([(scores - scores.mean()) / spread, np.ones(len(scores))], axis=1)
    share = (present.sum() + 0.5) / (len(present) + 1)  # never 0 or 1
    found = np.array([1.0, np.log(share / (1 - share))])
    for _ in range(_STEPS):
        chances = sigmoid(inputs @ found)
        curvature = (inputs * (chances * (1 - chances))[:, None]).T @ inputs
        step = np.linalg.solve(curvature + np.eye(2), inputs.T @ (present - chances))
        found += step / max(1.0, np.abs(step).max())
        if np.abs(step).max() < _CLOSE:
            break
    slope = max(found[0], _CLOSE) / spread
    return slope, found[1] - slope * scores.mean()


def _precise(logits: Floats, present: Bools, thresholds: Floats) -> Floats:
    """Thresholds (M,) of the operating point ``precise``, none below ``thresholds``.

    Where a photo surely shows a word, the caption may still not mention it: the share that does is that of the tenth of
    the tags with the highest scores (Elkan and Noto 2008). At the threshold, captions confirm 90 % of this share.
    """
    chosen = thresholds.copy()
    for column, (logit, truth) in enumerate(zip(logits.T, present.T, strict=True)):
        order = np.argsort(-logit)
        count = int((sigmoid(logit) >= thresholds[column]).sum())
        sure = truth[order[: max(_SURE, count // 10)]].mean()
        if sure:
            objective = Objective("precision", PRECISE.value * sure)
            cut = choose_thresholds(logit[:, None], _signs(truth)[:, None], objective)
            chosen[column] = max(thresholds[column], cut[0])
    return chosen


def _counts(logits: Floats, present: Bools, out: Bools) -> NDArray[np.int64]:
    """(M, 5), as of :class:`Everyday`, on the photos ``out``, at thresholds of all others."""
    targets = _signs(present[~out])
    thresholds = choose_thresholds(logits[~out], targets)
    columns = [present[out].sum(0)]
    for cut in (thresholds, _precise(logits[~out], present[~out], thresholds)):
        tagged = sigmoid(logits[out]) >= cut
        columns += [tagged.sum(0), (tagged & present[out]).sum(0)]
    return np.stack(columns, axis=1)


def _of_dictionary(names: Sequence[str], features: Floats, knowledge: Knowledge) -> Floats:
    """(N, M): what the dictionary has for the words says of the photos; NaN of a word that it does not have."""

    def encode(prompts: Sequence[str]) -> tuple[Floats, float]:
        return np.zeros(len(knowledge.names)), 0.0  # with other concepts than ImageNet's

    shares = {}
    for name in names:
        with suppress(OptionError):
            (meaning,) = meanings({name: ()}, knowledge.names, (), encode, {}, force=True)
            shares[name] = meaning.shares
    logits = np.full((len(features), len(names)), np.nan)
    if shares:
        bank = knowledge.bank_of(list(shares), np.stack(list(shares.values())))
        columns = [names.index(name) for name in shares]
        logits[:, columns] = features @ bank.arrays()["weights"].astype(np.float64).T
    return logits


def _precision(logits: Floats, targets: NDArray[np.int8]) -> float:
    """The average precision; NaN of logits that are NaN."""
    return float("nan") if np.isnan(logits).any() else average_precision(logits, targets)


def _signs(present: Bools) -> NDArray[np.int8]:
    return np.where(present, 1, -1).astype(np.int8)


def _tokens(text: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(text.casefold().replace("'s", "")))


def _plural(word: str) -> str:
    """The regular plural of the last word of a phrase."""
    for ending, plural in _PLURALS.items():
        if word.endswith(ending):
            return word.removesuffix(ending) + plural
    return f"{word}s"


def table(everyday: Everyday) -> list[dict[str, object]]:
    """What was measured of each word: shares with their intervals in percent, average precision from 0 to 1."""
    rows = []
    for row, word in enumerate(everyday.names):
        measured = everyday.provenance(row)
        learned, before = (round(float(value), 3) for value in everyday.values[row, 3:])
        rows.append(
            {
                "word": word,
                "grade": measured["grade"],
                "mentions": measured["mentions"],
                "average_precision": learned,
                "of_dictionary": None if np.isnan(before) else before,
                **measured["expected"],
            }
        )
    return rows


if __name__ == "__main__":
    everyday = Knowledge.load(sys.argv[1]).everyday
    lines = map(json.dumps, table(everyday) if everyday else [])
    print("[\n" + ",\n".join(lines) + "\n]")
