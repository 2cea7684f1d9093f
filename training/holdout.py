"""Which photos are held out of training, for thresholds and measures."""

from __future__ import annotations

import hashlib


def is_held_out(name: str, share: float) -> bool:
    """Whether the photo with this file name belongs to the ``share`` (0..1) that is held out.

    Decided by a hash of the name, so that a photo stays on its side whatever else is added.
    """
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) % 1000 < share * 1000
