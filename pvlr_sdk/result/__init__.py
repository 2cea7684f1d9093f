"""The result of tagging one frame, and its pictures."""

from .result import FrameReference, LabelSpace, TagResult, Tile
from .tags import Tag, checked_top_k, sigmoid, thresholds_for

__all__ = [
    "FrameReference",
    "LabelSpace",
    "Tag",
    "TagResult",
    "Tile",
    "checked_top_k",
    "sigmoid",
    "thresholds_for",
]
