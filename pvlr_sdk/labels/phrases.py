"""Phrases that no word can stand for: they say what is absent, or how things relate to each other."""

from __future__ import annotations

import re

from .dictionary import Dictionary

_NEGATIONS = {
    "no", "not", "non", "never", "none", "without", "w/o", "sans", "minus", "except", "missing", "lacking", "lacks",
    "absent", "isn't", "aren't", "doesn't", "don't", "hasn't", "nobody",
}  # fmt: skip
_RELATIONS = {
    "on", "in", "at", "under", "underneath", "beneath", "behind", "near", "beside", "between", "above", "below", "over",
    "against", "inside", "outside", "into", "onto", "across", "around", "with", "has", "have", "wears",
    "wearing", "holding", "carrying", "riding", "using", "driving", "pushing", "pulling", "eating", "leaning",
    "sitting", "standing", "lying", "entering", "leaving", "blocking", "climbing",
}  # fmt: skip
_RELATION_OF_TWO = re.compile(r"\b(next to|close to|far from|in front of|out of|on top of)\b")
_NEGATIVE = re.compile(r"non-\w+|un\w+ed|\w+less")
"""Prefixes and suffixes, of "non-smoker", "unmasked" and "helmetless"."""
_NOT_NEGATIVE = {
    "wireless", "cordless", "stainless", "united", "seamless", "driverless", "sleeveless", "strapless",
}  # fmt: skip
_SIGN = re.compile(r"no[ -].+ (sign|symbol|sticker)s?")


def why_no_word(phrase: str) -> str | None:
    """Why a word cannot stand for a phrase, as the end of a sentence about it; None: it can.

    Phrases of the dictionary are names of things, such as "jack-in-the-box".
    """
    text = " ".join(phrase.casefold().split())
    entry = Dictionary.packaged().find(text)
    words = text.split()
    is_name = entry is not None and not entry.is_part
    if _SIGN.fullmatch(text) or (is_name and text not in _NEGATIONS):
        return None
    if any(word in _NEGATIONS or _is_negative(word) for word in words):
        return "which says what is absent"
    if _RELATION_OF_TWO.search(text) or _RELATIONS & {*words[1:-1]}:
        return "which relates things"
    if len(words) > 1 and words[-1] in {"standing", "sitting", "lying", "entering", "leaving"}:
        return "which says what something does"
    return None


def _is_negative(word: str) -> bool:
    if word in _NOT_NEGATIVE or not _NEGATIVE.fullmatch(word):
        return False
    return Dictionary.packaged().find(word) is None
