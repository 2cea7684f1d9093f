"""A label bank from words: each label is the mean of its encoded prompts (KAP in ``docs/model.md``)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, pairwise

import numpy as np
from numpy.typing import NDArray

from .. import errors
from ..bundle.label_bank import LABEL_NAMES, LabelBank, is_label
from .encoder import MINILM, TextEncoder

TEMPLATES = ("a photo of a {}.", "a photo with a {} in it.", "there is a {} in the scene.")
"""The default prompts; ``{}`` is the label."""
_NO_WORD = re.compile(r"[$={}|<>\\`]")
"""A variable, an assignment or an alternative that nothing has replaced is not a word."""
THRESHOLD = 0.5
"""Of a word, of whose scores nothing is known, and of a label that cannot be cross-validated."""


def bank_from_words(
    words: Iterable[str],
    *,
    templates: Sequence[str] = TEMPLATES,
    descriptions: Mapping[str, str] | None = None,
) -> LabelBank:
    """Encode words with MiniLM, as in training but without PyTorch; needs the extra ``[words]``.

    A row of ``embeddings``, which are (C, 384), is the mean of the unit vectors of a word's prompts. All thresholds
    are 0.5: nothing is known about the scores of a word.

    Args:
        words: C words or short phrases; spaces around and repeated inside a word are removed.
        templates: the prompts of each word, which takes the place of ``{}``.
        descriptions: for any of the words, a line that describes it: one more prompt.

    Raises:
        OptionError: an argument is invalid: no words, one twice (the encoder ignores case), a template without
            ``{}``, or a description of another word.
        MissingPartError: the extra ``[words]`` is not installed.
        OutputError: the encoder cannot be unpacked into the cache of this user.
    """
    names = checked_words(words)
    prompts = prompts_of(names, templates, descriptions or {})
    rows = encode_prompts(prompts)
    text = {"encoder": MINILM, "prompts": prompts[0], "space": MINILM}
    return LabelBank(
        names, rows.astype(np.float16), np.full(len(names), THRESHOLD, np.float32), text
    )


def encode_prompts(prompts: Sequence[Sequence[str]]) -> NDArray[np.float32]:
    """The mean of each word's encoded prompts: (C, 384)."""
    vectors = TextEncoder().encode([prompt for of_word in prompts for prompt in of_word])
    ends = accumulate(map(len, prompts), initial=0)
    return np.stack([vectors[start:end].mean(0) for start, end in pairwise(ends)])


def checked_words(words: Iterable[str]) -> list[str]:
    if isinstance(words, (str, bytes)) or not isinstance(words, Iterable):
        raise _invalid(
            "words",
            "a list of words",
            f"{type(words).__name__}",
            'For example ["forklift", "hard hat"].',
        )
    names: dict[str, str] = {}
    for word in words:
        if not is_label(word) or not word.strip():
            hint = "A word is a noun or a short phrase. Put a longer text into descriptions."
            raise _invalid("words", f"{LABEL_NAMES}, none empty", ascii(word)[:100], hint)
        if mark := _NO_WORD.search(word):
            hint = "Write the word alone, with letters, digits, spaces, hyphens and apostrophes."
            raise _invalid("words", f"a word without {mark[0]}", ascii(word)[:100], hint)
        name = " ".join(word.split())
        folded = name.casefold()  # the encoder ignores case: both would always have the same score
        if folded in names:
            raise _invalid("words", "each word once", f"{name!r} twice", "Remove one of the two.")
        names[folded] = name
    if not names:
        raise _invalid(
            "words", "at least one word", "none", 'For example ["forklift", "hard hat"].'
        )
    return list(names.values())


def prompts_of(
    names: list[str], templates: Sequence[str], descriptions: Mapping[str, str]
) -> list[list[str]]:
    if isinstance(templates, str) or not templates:
        raise _invalid(
            "templates", "a list of templates", repr(templates), "For example ['a photo of a {}.']."
        )
    for template in templates:
        if not isinstance(template, str) or "{}" not in template:
            raise _invalid(
                "templates",
                "a {} in each template",
                repr(template),
                "For example 'a photo of a {}.'.",
            )
    if not isinstance(descriptions, Mapping):
        hint = "For example {'hard hat': 'a helmet that workers wear'}."
        raise _invalid(
            "descriptions", "a mapping from words to text", type(descriptions).__name__, hint
        )
    for name, text in descriptions.items():
        if name not in names:
            raise _invalid(
                "descriptions",
                "words of this bank",
                repr(name),
                "Add it to the words, or remove it.",
            )
        if not isinstance(text, str) or not text.strip():
            raise _invalid(
                "descriptions", f"a description of {name!r}", repr(text), "Write a sentence."
            )
    filled = ([template.replace("{}", name) for template in templates] for name in names)
    return [[*of_word, descriptions[name]] if name in descriptions else of_word
            for name, of_word in zip(names, filled, strict=True)]  # fmt: skip


def _invalid(argument: str, expected: str, got: str, hint: str) -> errors.OptionError:
    return errors.OptionError(argument, expected, got, hint)
