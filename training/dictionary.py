"""The dictionary of words of pvlr_sdk: WordNet's concrete nouns as mixtures of ImageNet's classes.

    python -m pvlr_training.dictionary --wordnet /usr/share/wordnet --out pvlr_sdk/labels/dictionary.npz

Reads WordNet 3.0 (Debian's package wordnet-base). Encodes 60,000 words; takes about ten minutes.
"""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from rich.progress import track
from timm.data import ImageNetInfo

from pvlr_sdk._util.files import write_files
from pvlr_sdk.labels.dictionary import FILE, shares_of
from pvlr_sdk.labels.words import TEMPLATES, encode_prompts

from .concepts import SHARPNESS, class_names, class_vectors

Floats = NDArray[np.float64]

PAIRS = 16
LEVELS = 15
"""Classes of a word, and the largest cube root of a share. With 8 classes, 80 words of COCO lose 0.2 to 0.6 mAP, with
all 1,000 they gain 0.3 to 0.8."""
SENSES = 3
"""Of a word, in WordNet's order, which is by frequency."""
_OBJECTS = {5, 6}
_CONCRETE = {5, 6, 8, 10, 13, 17, 18, 19, 20, 25, 27}
"""Numbers of WordNet's lexicographer files: animals and artifacts; animal, artifact, body, communication, food, object,
person, phenomenon, plant, shape and substance."""
_BINOMIAL = re.compile(r"[A-Z][a-z]+ [a-z]+")
_WORDS_AT_ONCE = 1000


@dataclass(frozen=True)
class Synset:
    """A meaning with its words, as in WordNet's ``data.noun`` (manual page wndb(5))."""

    file: int
    words: list[str]
    above: list[int]
    is_name: bool


class WordNet:
    """The nouns of WordNet: ``synsets`` by their offsets, and the offsets of each word, the most frequent one first."""

    def __init__(self, folder: Path) -> None:
        self.synsets = dict(map(_synset, _lines(folder / "data.noun")))
        self.senses: dict[str, list[int]] = {}
        for line in _lines(folder / "index.noun"):
            word, _, count, pointers, *rest = line.split()
            offsets = rest[int(pointers) + 2 :][: int(count)]
            self.senses[word.replace("_", " ")] = [int(offset) for offset in offsets]
        self._above: dict[int, frozenset[int]] = {}

    def above(self, offset: int) -> frozenset[int]:
        """A synset and all that it is a kind of."""
        if offset not in self._above:
            parents = (self.above(parent) for parent in self.synsets[offset].above)
            self._above[offset] = frozenset({offset}).union(*parents)
        return self._above[offset]

    @cached_property
    def information(self) -> dict[int, float]:
        """Of each synset, by the number of its kinds (Seco et al., ECAI 2004): 0 for the root, 1 without kinds."""
        kinds = dict.fromkeys(self.synsets, 0)
        for offset in self.synsets:
            for one in self.above(offset):
                kinds[one] += 1
        return {
            offset: 1 - math.log(count) / math.log(len(kinds)) for offset, count in kinds.items()
        }

    def similarity(
        self, offset: int, others: Sequence[int], below: Mapping[int, Sequence[int]]
    ) -> Floats:
        """Lin's similarity (ICML 1998) of a synset and n others: twice the information that they share, by its sum.

        Args:
            offset: the synset.
            others: the other synsets.
            below: for each synset, the indices of those of the others that are a kind of it.
        """
        shared = np.zeros(len(others))
        known = self.information
        for above in self.above(offset):
            if kinds := below.get(above):
                shared[kinds] = np.maximum(shared[kinds], known[above])
        total = known[offset] + np.array([known[other] for other in others])
        similarity: Floats = 2 * shared / np.maximum(total, 1e-12)
        return similarity

    def concrete(self) -> dict[str, list[int]]:
        """The words for what photos can show, with these senses; without names of people, places and species."""
        (taxon, *_) = self.senses["taxonomic group"]
        spelled = {word.lower(): word for synset in self.synsets.values() for word in synset.words}

        def shows(offset: int) -> bool:
            synset = self.synsets[offset]
            return (
                synset.file in _CONCRETE and not synset.is_name and taxon not in self.above(offset)
            )

        found = (
            (word, [one for one in offsets if shows(one)]) for word, offsets in self.senses.items()
        )
        return {
            word: offsets[:SENSES]
            for word, offsets in found
            if offsets and not _BINOMIAL.fullmatch(spelled[word])
        }


def _lines(path: Path) -> Iterator[str]:
    """Without the licence, whose lines begin with a space."""
    with path.open() as file:
        yield from (line for line in file if not line.startswith(" "))


def _synset(line: str) -> tuple[int, Synset]:
    offset, file, _, count, *rest = line.partition(" | ")[0].split()
    end = 2 * int(count, 16)
    words = [re.sub(r"\(\w+\)$", "", word).replace("_", " ") for word in rest[:end:2]]
    pointers = [
        rest[start : start + 4] for start in range(end + 1, end + 1 + 4 * int(rest[end]), 4)
    ]
    above = [int(target) for symbol, target, *_ in pointers if symbol in ("@", "@i")]
    return int(offset), Synset(
        int(file), words, above, any(symbol == "@i" for symbol, *_ in pointers)
    )


def mixtures(words: Sequence[str], classes: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """The shares (n, K) of ImageNet's classes in each word, and the best cosine (n,), by the language model."""
    vectors = encode_prompts(
        [[template.replace("{}", word) for template in TEMPLATES] for word in words]
    )
    return shares_of(vectors.astype(np.float64), classes.astype(np.float64), SHARPNESS)


def encoded(names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """The classes with the largest shares of each word, as differences of their sorted numbers, the cube roots of these
    shares in 4 bits, and the cosine of the best in 8, by the language model."""
    vectors = class_vectors()
    classes = []
    parts = []
    cosines = []
    for start in track(range(0, len(names), _WORDS_AT_ONCE), "encoding"):
        shares, best = mixtures(names[start : start + _WORDS_AT_ONCE], vectors)
        largest = np.sort(np.argsort(-shares, kind="stable")[:, :PAIRS], 1)
        kept = np.take_along_axis(shares, largest, 1)
        classes.append(np.diff(largest, axis=1, prepend=0))
        parts.append(
            np.round(LEVELS * np.cbrt(kept / np.maximum(kept.max(1, keepdims=True), 1e-12)))
        )
        cosines.append(np.round(255 * np.clip(best, 0, 1)))
    steps = np.concatenate(classes)
    return {
        "classes": np.stack([steps % 256, steps // 256]).astype(
            np.uint8
        ),  # apart, they become smaller
        "shares": np.concatenate(parts).astype(np.uint8),
        "cosines": np.concatenate(cosines).astype(np.uint8),
    }


class Sense(NamedTuple):
    """A meaning of a word."""

    synset: int
    agreement: float
    """With the classes of the word: the mean similarity, weighted by their shares."""
    ambiguous: bool
    """It is an animal and a more frequent sense an artifact, or the reverse."""


def senses_of(
    wordnet: WordNet, words: Mapping[str, Sequence[int]], encoding: Mapping[str, NDArray[Any]]
) -> dict[str, Any]:
    """The senses of each word, first the one that agrees best with ``encoding``, the result of :func:`encoded`."""
    classes = class_synsets()
    below = _classes_below(wordnet, classes)
    synsets = sorted({offset for senses in words.values() for offset in senses})
    numbers = {offset: number for number, offset in enumerate(synsets)}
    similarities = {
        offset: wordnet.similarity(offset, classes, below).astype(np.float32) for offset in synsets
    }
    names = sorted(words)
    low, high = encoding["classes"].astype(int)
    indices = np.cumsum(low + 256 * high, 1)
    every: list[Sense] = []
    for name, largest, parts in zip(names, indices, encoding["shares"], strict=True):
        shares = parts.astype(np.float64) ** 3
        every += _ranked(wordnet, words[name], largest, shares, similarities)
    agreements = np.array([sense.agreement for sense in every])
    return {
        "counts": np.array([len(words[name]) for name in names], np.uint8),
        "synsets": np.array([numbers[sense.synset] for sense in every], np.uint16),
        "agreements": np.round(255 * agreements).astype(np.uint8),
        "ambiguous": np.array([sense.ambiguous for sense in every], np.uint8),
        **_taxonomy(wordnet, synsets, below),
    }


def class_synsets() -> list[int]:
    """The synset of each of ImageNet's classes."""
    info = ImageNetInfo("imagenet-1k")
    return [int(info.index_to_label_name(index)[1:]) for index in range(info.num_classes())]


def _classes_below(wordnet: WordNet, classes: Sequence[int]) -> dict[int, list[int]]:
    """For each synset, the indices of the classes that are a kind of it; without synsets that have none."""
    below: dict[int, list[int]] = {}
    for index, offset in enumerate(classes):
        for above in wordnet.above(offset):
            below.setdefault(above, []).append(index)
    return below


def _ranked(
    wordnet: WordNet,
    offsets: Sequence[int],
    classes: NDArray[np.int_],
    shares: Floats,
    similarities: Mapping[int, NDArray[np.float32]],
) -> list[Sense]:
    """The senses of a word, the one that agrees best with its classes first.

    Args:
        offsets: the senses in WordNet's order.
        classes, shares: (K,) the word's classes, and their shares, which need not sum to 1.
        similarities: of each synset with all classes.
    """
    files = [wordnet.synsets[offset].file for offset in offsets]
    senses = []
    for place, (offset, file) in enumerate(zip(offsets, files, strict=True)):
        agreement = float(shares @ similarities[offset][classes] / shares.sum())
        other_objects = set(files[:place]) & _OBJECTS - {file}
        senses.append(Sense(offset, agreement, file in _OBJECTS and bool(other_objects)))
    return sorted(senses, key=lambda sense: -sense.agreement)


def _taxonomy(
    wordnet: WordNet, synsets: Sequence[int], below: Mapping[int, Sequence[int]]
) -> dict[str, NDArray[Any]]:
    """What each of ``synsets`` is a kind of, and the classes below each node, which is a synset with classes.

    ``nodes`` has the node of each synset, 65535 if no class is below it; ``ends`` the end of each node's part of
    ``below``.
    """
    nodes = {offset: number for number, offset in enumerate(sorted(below))}
    parents = [wordnet.synsets[offset].above[:1] for offset in synsets]
    return {
        "nodes": np.array([nodes.get(offset, 65535) for offset in synsets], np.uint16),
        "kinds": _text(wordnet.synsets[above[0]].words[0] if above else "" for above in parents),
        "below": np.concatenate([below[offset] for offset in nodes]).astype(np.uint16),
        "ends": np.cumsum([len(below[offset]) for offset in nodes]).astype(np.uint32),
    }


def _text(lines: Iterable[str]) -> NDArray[np.uint8]:
    return np.frombuffer("\n".join(lines).encode(), np.uint8)


def main(
    wordnet: Annotated[Path, typer.Option(help="The folder of WordNet 3.0.")] = Path(
        "/usr/share/wordnet"
    ),
    out: Annotated[Path, typer.Option("--out", "-o", help="The file to write.")] = FILE,
) -> None:
    """Build the dictionary of words."""
    source = WordNet(wordnet)
    words = source.concrete()
    encoding = encoded(sorted(words))
    texts = {"words": _text(sorted(words)), "concepts": _text(class_names())}
    file = io.BytesIO()
    np.savez_compressed(file, **texts, **encoding, **senses_of(source, words, encoding))
    write_files({out: file.getvalue()})
    print(f"{out}: {len(file.getvalue()) / 1e6:.2f} MB")


if __name__ == "__main__":
    typer.run(main)
