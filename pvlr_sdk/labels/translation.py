"""Translations of labels from a dictionary in the format of dictd(8), such as FreeDict's, which Debian packages."""

from __future__ import annotations

import gzip
import math
import re
import string
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from .. import errors
from .tree import LabelTree

_DIGITS = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
_LARGEST = 2**29
_MARK = re.compile(r"<[^>]*>|\[[^\]]*\]|\([^)]*\)|\{[^}]*\}")
_COMMA = re.compile(r", (?![^<\[(]*[>\])])")
_NOUN = re.compile(r"<(n|masc|fem|neut|pl)\b")
_SUBJECT = re.compile(r"\[([a-z]+)\.?\]")
_MARKS = re.compile(r"^\s*(?:\[[^\]]*\]\s*)*")
_RARE = {"coll", "slang", "pej", "ugs", "humor", "vulg", "veraltet", "veraltend", "obs", "dated"}
_FITTING = {
    "animal": "zool ornith agr", "food": "cook bot agr", "plant": "bot agr", "vehicle": "auto transp aviat naut agr",
    "electronics": "comp electr telco", "clothing": "textil", "sports equipment": "sport", "musical instrument": "mus",
    "container": "transp", "kitchenware": "cook", "building": "agr arch", "measuring instrument": "meteo",
}  # fmt: skip
"""Subjects that FreeDict names in brackets, and that fit what is below a label of the tree."""
_SYNONYM = 0.6
"""The weight of an entry of a synonym, where that of the label is 1."""


def translated(tree: LabelTree, labels: Iterable[str], dictionary: Path) -> dict[str, str]:
    """The translation of each label, of those that the dictionary has.

    Of the meanings of a word, that of the label is the one that its synonyms share, that names them, or has a subject
    that fits its parents; else the one with the most examples.

    Args:
        dictionary: the index, whose name ends with ``.index``; the text is next to it, ``.dict.dz`` or ``.dict``.

    Raises:
        OptionError: it is not such a dictionary, or is damaged.
    """
    words = {label: (label, *tree.synonyms.get(label.casefold(), ())) for label in labels}
    wanted = {word.casefold() for forms in words.values() for word in forms}
    try:
        entries = _entries(dictionary, wanted)
    except (OSError, EOFError, ValueError, LookupError) as error:
        raise errors.OptionError(
            "dictionary",
            "the .index of a dictd dictionary, with .dict.dz beside it",
            f"{dictionary}: {error}"[:300],
            "Debian has FreeDict's: apt-get install dict-freedict-eng-deu, then "
            "/usr/share/dictd/freedict-eng-deu.index.",
        ) from None
    return {label: best for label, forms in words.items() if (best := _best(tree, forms, entries))}


def _entries(index: Path, wanted: set[str]) -> dict[str, list[str]]:
    text = index.with_suffix(".dict.dz")
    with gzip.open(text) if text.exists() else text.with_suffix("").open("rb") as file:
        data = file.read(_LARGEST)
    entries: dict[str, list[str]] = defaultdict(list)
    for line in index.read_text("utf-8").splitlines():
        word, start, count, *_ = line.split("\t")
        if word.casefold() in wanted:
            part = data[_number(start) : _number(start) + _number(count)].decode()
            if part not in entries[word.casefold()]:
                entries[word.casefold()].append(part)
    return entries


def _number(text: str) -> int:
    value = 0
    for digit in text:
        value = 64 * value + _DIGITS.index(digit)
    return value


def _best(tree: LabelTree, words: tuple[str, ...], entries: dict[str, list[str]]) -> str | None:
    """The translation with the highest weight, over the label and its synonyms."""
    kinds = (words[0], *tree.ancestors(words[0]))
    fitting = {subject for name in kinds for subject in _FITTING.get(name, "").split()}
    own: dict[str, float] = defaultdict(float)
    others: dict[str, float] = defaultdict(float)
    for word in words:
        weights = own if word == words[0] else others
        synonyms = [f"{{{other}}}" for other in words if other != word]
        for entry in entries.get(word.casefold(), ()):
            for name, weight in _weighed(entry, word, synonyms, fitting):
                weights[name] = max(weight, weights[name])
    names = {name: own[name] + _SYNONYM * others[name] for name in (*own, *others)}
    return max(names, key=names.__getitem__, default=None)


def _weighed(
    entry: str, word: str, synonyms: list[str], fitting: set[str]
) -> Iterator[tuple[str, float]]:
    """The nouns of an entry, with their weights."""
    head, _, body = entry.partition("\n")
    line, _, notes = body.partition("\n")
    if not head.casefold().startswith(word.casefold()) or "<v>" in head or "<adj>" in line:
        return
    marks = "".join(_MARKS.findall(line)[:1])
    subjects = {*_SUBJECT.findall(line)} - _RARE - {"alt", "geh"}
    weight = math.log2(2 + min(notes.count("{"), 8) / 2 + notes.count('"')) + head.startswith(word)
    weight += 3 * any(synonym in notes for synonym in synonyms)
    weight += 2 * bool(subjects & fitting) - 3 * bool(subjects - fitting)
    weight -= bool(marks.strip()) + 0.5 * (line.split("[")[-1].strip(" .]") in _RARE)
    for place, text in enumerate(_COMMA.split(line[len(marks) :])[:4]):
        name = " ".join(_MARK.split(text)[0].split())
        is_rare = not _RARE.isdisjoint(_SUBJECT.findall(text))
        if name and not re.search(r"[/…;:.]", name):
            is_short = name.count(" ") < 2
            noun = _NOUN.search(text) is not None
            yield name, weight - 0.4 * place + 3 * noun + 2 * is_short - 2 * is_rare
