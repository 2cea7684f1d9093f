"""What a word means to a network that knows ImageNet's classes, and how far that can be trusted."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from .. import errors
from .dictionary import Dictionary, Entry, Floats, Sense
from .expectation import expectations, sentence
from .phrases import why_no_word

Grade: TypeAlias = Literal["class", "doubtful", "unknown"]
Encode: TypeAlias = Callable[[Sequence[str]], tuple[Floats, float]]
"""From the prompts of a word to the shares of the concepts and the best cosine."""

_HINT = "Teach the label with photos (pvlr teach), choose another word or sense (pvlr words), or describe it."
_TEACH = (
    "A word stands for one thing, whatever else is there. "
    "Teach the label with photos that show it and photos that do not: pvlr teach."
)
WARNINGS = 20
"""The most warnings of one kind in the log."""
_log = logging.getLogger(__name__)
_STEPS = 6
"""From a word to what it is a kind of, and so on, in a search for a label."""
_SHOWN = 5
_NEAR = 0.45
"""The cosine at or above which a concept is similar to a word, and ..."""
_AGREES = 0.35
"""... the agreement at or above which WordNet says so too: chosen on the words of docs/open_labels.md."""


@dataclass(frozen=True, eq=False)
class Meaning:
    """What stands for a word.

    Attributes:
        word: the word or phrase.
        entry: what the dictionary has for it. The name differs for a plural, and for a phrase of which only the last
            words are in the dictionary.
        sense: the index of the sense in ``entry.senses``.
        grade: ``class``: a class, or what some classes are kinds of, and the language model agrees. ``doubtful``:
            only one of the two knows it, as for words that are spelled alike, or the sense is ambiguous, or it is only
            the last word of the phrase. ``unknown``: no concept is similar.
        concepts: the names and shares of the most similar concepts, the largest first.
    """

    word: str
    entry: Entry
    sense: int
    grade: Grade
    concepts: tuple[tuple[str, float], ...]

    @property
    def shares(self) -> Floats:
        """(K,): the shares of all concepts; their sum is 1."""
        return self.entry.shares(self.sense)

    def described(self) -> str:
        """The largest shares in words, such as "forklift 64 %, corkscrew 8 %"."""
        return ", ".join(f"{name} {100 * share:.0f} %" for name, share in self.concepts[:3])

    def read_as(self) -> str:
        """That only the end of a phrase is in the dictionary, such as "read as vest, "; empty: it is not so."""
        return f"read as {self.entry.name}, " if self.entry.is_part else ""

    def warning(self) -> str:
        """The warning about a word that is ``doubtful`` or ``unknown``."""
        kind = self.entry.senses[self.sense].kind
        word = f"{self.word} ({kind})" if kind else self.word
        tags = f"{self.read_as()}tags what resembles {self.described()}"
        return f"{word}: {self.grade}, {tags}; pvlr words shows its senses"

    def provenance(self) -> dict[str, object]:
        """What a label bank keeps of it."""
        sense = self.entry.senses[self.sense].kind
        return {
            "grade": self.grade,
            "entry": self.entry.name,
            "sense": sense,
            "concepts": dict(self.concepts),
            "expected": expectations(self.grade),
        }


def meanings(
    words: Mapping[str, Sequence[str]],
    concepts: Sequence[str],
    as_text: Collection[str],
    encode: Encode,
    senses: Mapping[str, str],
    *,
    labels: Collection[str] = (),
    force: bool = False,
) -> list[Meaning]:
    """The meaning of each word.

    It does not depend on what is installed: of a phrase that is not in the dictionary, the last words that are stand
    for it. The language model encodes the words of ``as_text``, and all of other concepts than ImageNet's.

    Args:
        words: words or phrases, with their prompts.
        concepts: the names of the K concepts.
        as_text: the words that the language model has to encode.
        encode: the language model.
        senses: for any of the words, what it is a kind of, or the number of its sense, from 1.
        labels: those that may be proposed instead of words that are refused.
        force: accept words that no concept is similar to.

    Raises:
        OptionError: words are not in the dictionary or unknown, or no word can stand for a phrase, all of them named;
            ``senses`` has another word or sense.
        MissingPartError: the language model is needed and not installed.
    """
    if others := [word for word in senses if word not in words]:
        raise errors.OptionError(
            "senses", "senses of the words", repr(others[0]), f"The words are {', '.join(words)}."
        )
    is_text = {
        word: word in as_text or Dictionary.packaged().concepts != concepts for word in words
    }
    refused = {word: why for word in words if (why := why_no_word(word))}
    hint = _TEACH if refused else _HINT
    all_meanings = []
    for word, prompts in words.items():
        if word in refused:
            continue
        entry = _entry(word, prompts, is_text[word], encode)
        if entry is None:
            refused[word] = "which neither is in the dictionary nor ends with a noun that is"
            continue
        meaning = _meaning(word, entry, concepts, senses.get(word))
        all_meanings.append(meaning)
        if meaning.grade == "unknown" and not force:
            refused[word] = f"whose nearest concepts are {meaning.described()}"
            if label := kind_among(word, labels):
                refused[word] += f", and which is a kind of {label!r}, a label"
    if refused:
        got = "; ".join(f"{word!r}, {why}" for word, why in refused.items())
        raise errors.OptionError("words", "words for what the model knows", got, hint)
    return all_meanings


def kind_among(word: str, labels: Collection[str]) -> str | None:
    """The first of the labels that a word is a kind of, such as "person" of a pedestrian; None: there is none."""
    kind = word
    for _ in range(_STEPS):
        entry = Dictionary.packaged().find(kind)
        if entry is None or entry.is_part:
            return None
        kind = entry.senses[0].kind
        if kind in labels:
            return kind
    return None


def senses_of(word: str) -> list[Meaning]:
    """Each sense of a word, the one that stands for the word first.

    Empty if the dictionary has neither the word nor the end of the phrase.
    """
    dictionary = Dictionary.packaged()
    if not (entry := dictionary.find(word)):
        return []
    return [
        _meaning(word, entry, dictionary.concepts, str(number + 1))
        for number in range(len(entry.senses))
    ]


def _entry(word: str, prompts: Sequence[str], is_text: bool, encode: Encode) -> Entry | None:
    """None: neither the word nor the end of the phrase is in the dictionary."""
    if not is_text:
        return Dictionary.packaged().find(word)
    shares, cosine = encode(prompts)
    return Entry(word, shares, cosine, (Sense("", -1, 0.0, False, ()),))


def _meaning(word: str, entry: Entry, concepts: Sequence[str], sense: str | None) -> Meaning:
    index = 0 if sense is None else _index(entry, word, sense)
    shares = entry.shares(index)
    named: dict[str, float] = {}  # some of ImageNet's classes have the same name
    for concept in np.argsort(-shares, kind="stable")[:_SHOWN]:
        named[concepts[concept]] = round(
            named.get(concepts[concept], 0.0) + float(shares[concept]), 3
        )
    nearest = tuple(
        sorted(
            ((name, share) for name, share in named.items() if share > 0), key=lambda pair: -pair[1]
        )
    )
    return Meaning(word, entry, index, grade_of(entry, index), nearest)


def _index(entry: Entry, word: str, sense: str) -> int:
    kinds = [sense.kind for sense in entry.senses]
    if sense.isdecimal() and 0 < int(sense) <= len(kinds):
        return int(sense) - 1
    if sense in kinds:
        return kinds.index(sense)
    raise errors.OptionError(
        "senses",
        f"a sense of {word!r}: {', '.join(kinds)}",
        repr(sense),
        f"pvlr words {word!r} shows them.",
    )


def grade_of(entry: Entry, index: int) -> Grade:
    """How well a sense of a word can be expected to work; docs/open_labels.md has the accuracy by grade."""
    sense = entry.senses[index]
    agrees = sense.agreement >= _AGREES
    if sense.below and agrees and not sense.ambiguous and not entry.is_part:
        return "class"
    return "doubtful" if agrees or entry.cosine >= _NEAR else "unknown"


def same_labels(words: Collection[str], labels: Collection[str]) -> dict[str, str]:
    """The words that are one of the labels, or a synonym of it in the sense that comes first, with the label.

    Raises:
        OptionError: two words are the same label.
    """
    find = Dictionary.packaged().find
    names = {label.casefold(): label for label in labels}
    synsets: dict[int, str] = {}
    for label in labels:
        if (entry := find(label)) and not entry.is_part:
            synsets.setdefault(entry.senses[0].synset, label)
    same_by_word: dict[str, str] = {}
    for word in words:
        same = names.get(word.casefold())
        if same is None and (entry := find(word)) and not entry.is_part:
            same = synsets.get(entry.senses[0].synset)
        if same is None:
            continue
        if other := next(
            (word_before for word_before, label in same_by_word.items() if label == same), None
        ):
            raise errors.OptionError(
                "words",
                "each label once",
                f"{other!r} and {word!r}, which are both {same!r}",
                "Remove one of the words.",
            )
        same_by_word[word] = same
    return same_by_word


def warn(word_meanings: Sequence[Meaning]) -> None:
    """Log what to expect of words by their grades, the first warnings, and how many more there are."""
    for grade in dict.fromkeys(meaning.grade for meaning in word_meanings):
        names = [meaning.word for meaning in word_meanings if meaning.grade == grade]
        more = f" and {len(names) - WARNINGS} more" if len(names) > WARNINGS else ""
        _log.warning("%s%s: %s", ", ".join(names[:WARNINGS]), more, sentence(grade))
    warnings = [meaning.warning() for meaning in word_meanings if meaning.grade != "class"]
    for warning in warnings[:WARNINGS]:
        _log.warning("%s", warning)
    if len(warnings) > WARNINGS:
        _log.warning("and %d more words that are doubtful or unknown", len(warnings) - WARNINGS)
