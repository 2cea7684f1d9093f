"""What to expect of the tags of a word by its grade: how many are right, and how many of the photos with it are found.

Measured with ``pvlr-lite2-open`` on words whose labels are known (docs/open_labels.md): the mean of the words, and the
interval with 95 % of them. Where 3 of 100 photos show a word: rarer words have fewer right tags.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

Share: TypeAlias = tuple[int, int, int]
"""In percent: the mean, and the interval with 95 % of the words."""

EXPECTED: dict[str, dict[str, dict[str, Share]]] = {
    "class": {
        "f1": {"right": (67, 14, 99), "found": (49, 5, 97)},
        "precise": {"right": (82, 26, 99), "found": (26, 0, 93)},
    },
    "doubtful": {
        "f1": {"right": (47, 4, 98), "found": (37, 0, 79)},
        "precise": {"right": (59, 3, 97), "found": (9, 0, 55)},
    },
}
AT_CAMERAS = {"f1": 24, "precise": 2}
"""Percent of the frames with a word of grade ``class`` that are found at fixed cameras: the mean of five words."""


def expectations(grade: str) -> dict[str, dict[str, list[int]]] | None:
    """As a label bank keeps them, by operating point; None: nothing is known of this grade."""
    if grade not in EXPECTED:
        return None
    return {
        point: {name: list(share) for name, share in shares.items()}
        for point, shares in EXPECTED[grade].items()
    }


def short(grade: str, point: str = "f1") -> str:
    """For a table, such as "67 % (14 to 99)": the share of right tags, and of found photos."""
    if grade not in EXPECTED:
        return "not measured"
    return brief(EXPECTED[grade][point])


def brief(shares: Mapping[str, Sequence[int]]) -> str:
    """The shares of one operating point in words, such as "right 67 % (14 to 99), found 49 % (5 to 97)"."""
    return ", ".join(f"{name} {_text(share)}" for name, share in shares.items())


def sentence(grade: str) -> str:
    """What to expect at both operating points, and at cameras."""
    if grade not in EXPECTED:
        return f"grade {grade}, whose accuracy is not measured"
    points = "; ".join(f"at {point} {short(grade, point)}" for point in EXPECTED[grade])
    where = "of tags and photos, where 3 of 100 photos show it, fewer right if it is rarer"
    cameras = f"at fixed cameras about {AT_CAMERAS['f1']} and {AT_CAMERAS['precise']} % are found: teach it"
    return f"grade {grade}: {points} ({where}); {cameras}"


def _text(share: Sequence[int]) -> str:
    mean, low, high = share
    return f"{mean} % ({low} to {high})"
