"""Which photos are held out of training, for thresholds and measures, and which of the others are used."""

from __future__ import annotations

import hashlib


def is_held_out(name: str, share: float) -> bool:
    """Whether the photo with this file name belongs to the ``share`` (0..1) that is held out.

    Decided by a hash of the name, so that a photo stays on its side whatever else is added.
    """
    return _number(name) < share * 1000


def is_used(name: str, share: float) -> bool:
    """Whether the photo belongs to the ``share`` (0..1) of the training photos that is used.

    Decided by another hash of the name: a smaller share is a part of a larger one.
    """
    return _number("used " + name) < share * 1000


def _number(text: str) -> int:
    """0 to 999, the same for the same text."""
    return int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) % 1000
