"""Words without a language model: WordNet's concrete nouns, each a mixture of ImageNet's classes.

The file is written by ``python -m pvlr_training.dictionary``, which encodes the words once.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

FILE = Path(__file__).with_name("dictionary.npz")
_BELOW = 0.3
"""The part of a word that its own kinds have, evenly, if ImageNet has any. Chosen on words of COCO
(docs/open_labels.md)."""
_ENDINGS = {
    "s": "",
    "ses": "s",
    "xes": "x",
    "zes": "z",
    "ches": "ch",
    "shes": "sh",
    "men": "man",
    "ies": "y",
}
"""Of plurals and of what they are plurals of, as in WordNet's morphy(7)."""


@dataclass(frozen=True)
class Sense:
    """A meaning of a word.

    Attributes:
        kind: what it is a kind of: "bird of prey" of a kite.
        synset: its number; words with the same one are synonyms.
        agreement: from 0 to 1, the similarity in WordNet of it and the word's classes by the language model: the mean,
            weighted by their shares.
        ambiguous: whether it is an animal, and WordNet has a more frequent sense that is an artifact, or vice versa.
        below: the classes that are kinds of it, or it itself.
    """

    kind: str
    synset: int
    agreement: float
    ambiguous: bool
    below: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Entry:
    """A word of the dictionary.

    Attributes:
        name: the word as the dictionary has it.
        encoded: (K,), the shares of the concepts by the language model; their sum is 1.
        cosine: of the concept that is most similar.
        senses: the one that agrees best with the language model comes first.
        is_part: whether only the last words of the phrase are in the dictionary.
    """

    name: str
    encoded: Floats
    cosine: float
    senses: tuple[Sense, ...]
    is_part: bool = False

    def shares(self, sense: int = 0) -> Floats:
        """(K,): the shares of the concepts in a sense of the word; their sum is 1."""
        below = list(self.senses[sense].below)
        if not below:
            return self.encoded
        shares = (1 - _BELOW) * self.encoded
        shares[below] += _BELOW / len(below)
        return shares


class Dictionary:
    """The words of a file.

    Attributes:
        concepts: the names of the K concepts, which are ImageNet's classes.
    """

    def __init__(self, path: Path = FILE) -> None:
        with np.load(path) as file:
            arrays = dict(file)
        self._words = arrays["words"].tobytes().decode().split("\n")
        self.concepts = arrays["concepts"].tobytes().decode().split("\n")
        self._kinds = arrays["kinds"].tobytes().decode().split("\n")
        self._steps = arrays["classes"]
        self._roots = arrays["shares"]
        self._cosines = arrays["cosines"]
        self._ends = np.cumsum(arrays["counts"], dtype=np.int64)
        self._synsets = arrays["synsets"]
        self._agreements = arrays["agreements"]
        self._nodes = arrays["nodes"]
        self._ambiguous = arrays["ambiguous"]
        self._below = np.split(arrays["below"], arrays["ends"][:-1])

    @classmethod
    @functools.cache
    def packaged(cls) -> Dictionary:
        """The dictionary of this package; takes 20 ms to open."""
        return cls()

    def find(self, text: str) -> Entry | None:
        """The entry of a word or phrase, of its singular, or of its last words; None if there is none."""
        words = text.casefold().split()
        for start in range(len(words)):
            for form in forms(" ".join(words[start:])):
                index = bisect_left(self._words, form)
                if index < len(self._words) and self._words[index] == form:
                    return self._entry(index, start > 0)
        return None

    def _entry(self, index: int, is_part: bool) -> Entry:
        encoded = np.zeros(len(self.concepts))
        low, high = self._steps[:, index].astype(int)
        encoded[np.cumsum(low + 256 * high)] = self._roots[index].astype(float) ** 3
        end = int(self._ends[index])
        start = int(self._ends[index - 1]) if index else 0
        senses = tuple(map(self._sense, range(start, end)))
        return Entry(
            self._words[index],
            encoded / encoded.sum(),
            float(self._cosines[index]) / 255,
            senses,
            is_part,
        )

    def _sense(self, index: int) -> Sense:
        synset = int(self._synsets[index])
        node = int(self._nodes[synset])
        below = tuple(map(int, self._below[node])) if node < len(self._below) else ()
        agreement = float(self._agreements[index]) / 255
        ambiguous = bool(self._ambiguous[index])
        return Sense(self._kinds[synset], synset, agreement, ambiguous, below)


def shares_of(vectors: Floats, concepts: Floats, sharpness: float) -> tuple[Floats, Floats]:
    """(C, K): the share of each concept in the evidence for each label, from text vectors (C, d_t) and (K, d_t).
    (C,): the best cosine of each label."""
    units = _unit(concepts)
    mean = units.mean(0)
    similarity = _unit(_unit(vectors) - mean) @ _unit(units - mean).T
    shares = np.maximum(similarity, 0) ** sharpness
    return shares / np.maximum(shares.sum(1, keepdims=True), 1e-12), similarity.max(1)


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def forms(phrase: str) -> Iterator[str]:
    """A word or phrase, with other hyphens, and their singular."""
    for form in (phrase, phrase.replace("-", " "), phrase.replace(" ", "-")):
        yield form
        yield from (
            form.removesuffix(old) + new for old, new in _ENDINGS.items() if form.endswith(old)
        )
