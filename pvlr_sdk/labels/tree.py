"""Parents, synonyms and names in other languages of labels: WordNet's, and those of a file of one's own.

``tree.json`` is written by ``python -m pvlr_training.tree``; a file of one's own has the same form.
"""

from __future__ import annotations

import functools
import os
from collections import Counter
from collections.abc import Collection, Iterable
from itertools import chain
from pathlib import Path
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from .. import errors
from .._util.files import read_file, system_errors
from .._util.plain_json import Limits, read_json
from .._util.validation import did_you_mean, few, first_problem
from ..bundle.schema import MAX_LABEL_LENGTH
from .dictionary import Dictionary, forms
from .meaning import same_labels

T = TypeVar("T")
FILE = Path(__file__).with_name("tree.json")
LIMITS = Limits(size=2**22, values=2**18, depth=4)
"""Of a file."""
_STEPS = 6
"""From a word of the dictionary to what it is a kind of, and so on, until that is a parent."""
_HINT = "docs/tree.md describes the file."


def _folded(table: dict[str, T]) -> dict[str, T]:
    counts = Counter(map(str.casefold, table))
    if twice := [label for label, count in counts.items() if count > 1]:
        raise ValueError(f"{few(twice)} more than once; upper and lower case are the same")
    return {label.casefold(): value for label, value in table.items()}


_Label = Annotated[str, StringConstraints(max_length=MAX_LABEL_LENGTH, pattern=r"\S")]
_Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{2,8})*$")]
_fold = AfterValidator(_folded)


class LabelTree(BaseModel):
    """What is known of labels, in lower case.

    Attributes:
        parents: by label, what it is a kind of, such as "animal"; None: nothing.
        synonyms: by label, other words for it.
        names: by language, such as "de", and label, what is shown instead of the label.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    parents: Annotated[dict[_Label, _Label | None], _fold] = {}
    synonyms: Annotated[dict[_Label, list[_Label]], _fold] = {}
    names: dict[_Language, Annotated[dict[_Label, _Label], _fold]] = {}

    @classmethod
    @functools.cache
    def packaged(cls) -> LabelTree:
        """WordNet's parents and synonyms of COCO's labels and ImageNet's classes."""
        return cls.model_validate(read_json(FILE.read_bytes(), LIMITS))

    @classmethod
    def load(
        cls, path: str | os.PathLike[str] | None = None, labels: Collection[str] | None = None
    ) -> LabelTree:
        """The packaged tree with what a file adds and replaces; None: the packaged one.

        Args:
            path: JSON, such as ``{"parents": {"my mug": "tableware"}, "synonyms": {"couch": ["settee"]},
                "names": {"de": {"dog": "Hund"}}}``.
            labels: those in use: the file may name them, parents and words of the dictionary. None: any label.

        Raises:
            ConfigError: the file is unreadable, is not such JSON, or has an unknown label, one twice, a synonym of two
                labels, or a label below itself.
        """
        if path is None:
            return cls.packaged()
        try:
            with system_errors(errors.ConfigError, str(path), expected="a file", hint=_HINT):
                data = read_file(path, LIMITS.size)
            own = cls.model_validate(read_json(data, LIMITS))
            tree = cls.packaged()._with(own)
            tree._check(own, labels, str(path))
        except ValueError as error:
            if isinstance(error, errors.PvlrError):
                raise
            got = first_problem(error) if isinstance(error, ValidationError) else str(error)
            expected = "parents, synonyms and names of labels"
            raise errors.ConfigError(str(path), expected, got[:500], _HINT) from None
        return tree

    def ancestors(self, label: str) -> tuple[str, ...]:
        """The parent of a label, its parent, and so on. A word that the tree lacks has those of its kind."""
        above = [label]
        while parent := self._parent(above[-1]):
            above.append(parent)
        return tuple(above[1:])

    def name(self, label: str, language: str = "") -> str:
        """What is shown for a label in a language; the label where there is no name."""
        return self.names.get(language, {}).get(label.casefold(), label)

    def levels(self, label: str, language: str = "") -> list[str]:
        """The names of the parents of a label from the top down, and its own."""
        return [self.name(name, language) for name in (*self.ancestors(label)[::-1], label)]

    def checked(self, language: str | None) -> str:
        """A language of the names; "" for None, the labels themselves. Raises OptionError for any other."""
        if language and language not in self.names:
            known = few(sorted(self.names)) or "none"
            hint = f"The file of names has: {known}. pvlr names writes one."
            raise errors.OptionError("language", "a language with names", repr(language), hint)
        return language or ""

    def matching(self, word: str, labels: Iterable[str]) -> list[str]:
        """Those of the labels that a word stands for, also as a synonym or a name in any language, and those below."""
        above = {
            label: {name.casefold() for name in (label, *self.ancestors(label))} for label in labels
        }
        folded = " ".join(word.casefold().split())
        for words in ({folded}, {*forms(folded)}):
            meant = words.union(*(self._meanings.get(form, ()) for form in words))
            if found := [label for label in above if meant & above[label]]:
                return found
        return list(same_labels([word], above).values())

    def _with(self, own: LabelTree) -> LabelTree:
        """Raises ValueError for a synonym of two labels."""
        taken = _folded({word: word for words in own.synonyms.values() for word in words})
        synonyms = {
            label: [word for word in words if word not in taken]
            for label, words in self.synonyms.items()
        }
        for label, words in own.synonyms.items():
            synonyms[label] = [*words, *synonyms.get(label, ())]
        parents = {**self.parents, **own.parents}
        return LabelTree.model_construct(parents=parents, synonyms=synonyms, names=own.names)

    def _check(self, own: LabelTree, labels: Collection[str] | None, source: str) -> None:
        """Raises ValueError for labels of a file that are below themselves, ConfigError for unknown ones."""
        for label in self._above:
            way = [label]
            while parent := self._above.get(way[-1]):
                way.append(parent.casefold())
                if way[-1] in way[:-1]:
                    raise ValueError(f"a label below itself: {' < '.join(way)}")
        if labels is None:
            return
        known = {*map(str.casefold, labels), *self.packaged()._above}
        known |= {parent.casefold() for parent in own.parents.values() if parent}
        for label in (*own.parents, *own.synonyms, *chain.from_iterable(own.names.values())):
            if label not in known and Dictionary.packaged().find(label) is None:
                hint = did_you_mean(label, known, 1) or _HINT
                expected = "labels in use, parents or words of the dictionary"
                raise errors.ConfigError(source, expected, repr(label), hint)

    @functools.cached_property
    def _meanings(self) -> dict[str, set[str]]:
        """The labels of each synonym, and of each name in another language."""
        meanings: dict[str, set[str]] = {}
        for label, words in self.synonyms.items():
            for word in words:
                meanings.setdefault(word.casefold(), set()).add(label)
        for names in self.names.values():
            for label, name in names.items():
                meanings.setdefault(name.casefold(), set()).add(label)
        return meanings

    @functools.cached_property
    def _tops(self) -> dict[str, str]:
        """What is a parent, by its name and its synonyms."""
        tops = {parent.casefold(): parent for parent in self.parents.values() if parent}
        for label, words in self.synonyms.items():
            if label in tops:
                tops |= {word.casefold(): tops[label] for word in words}
        return tops

    @functools.cached_property
    def _above(self) -> dict[str, str | None]:
        """The parent of each label and of each synonym; None: it is at the top."""
        above: dict[str, str | None] = dict.fromkeys(self._tops)
        for label, words in self.synonyms.items():
            above |= {word.casefold(): self.parents.get(label) for word in words}
        return {**above, **self.parents}

    def _parent(self, label: str) -> str | None:
        if label.casefold() in self._above:
            return self._above[label.casefold()]
        word = label
        for _ in range(_STEPS):
            entry = Dictionary.packaged().find(word)
            if entry is None:
                break
            if entry.is_part and entry.name in self._above:
                return entry.name
            word = entry.senses[0].kind
            if top := self._tops.get(word.casefold()):
                return top
        return None
