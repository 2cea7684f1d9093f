"""Where the model looked, at a resolution that is enough to be drawn over a picture."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..result import TagResult
from .models import AttentionMap

_LONGER_SIDE = 32


def weights(result: TagResult, label: str) -> NDArray[np.float32]:
    """float32 (rows, columns) over the tagged part of the frame, the largest being 1; the longer side has 32 cells.

    Raises:
        UnknownLabelError: the model has no such label.
    """
    height, width = result.frame_size
    longer = max(height, width)
    size = max(1, round(_LONGER_SIDE * height / longer)), max(1, round(_LONGER_SIDE * width / longer))
    heat = result.attention(label, size)
    return heat / max(heat.max(), np.finfo(np.float32).tiny)


def attention_map(result: TagResult, label: str) -> AttentionMap:
    """The same for an answer of the API."""
    heat = weights(result, label)
    rows, columns = heat.shape
    shortened = np.round(heat.ravel().astype(np.float64), 3).tolist()
    return AttentionMap(label=label, rows=rows, columns=columns, weights=shortened)
