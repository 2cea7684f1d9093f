"""Teaches labels of an open plan from a few photos, without PyTorch (``docs/teach.md``)."""

from .bank import forget
from .photos import Photos
from .teach import LabelReport, Mistake, Teaching, teach

__all__ = ["LabelReport", "Mistake", "Photos", "Teaching", "forget", "teach"]
