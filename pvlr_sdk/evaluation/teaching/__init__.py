"""Teaches labels of an open plan from a few photos, without PyTorch (``docs/teach.md``)."""

from .bank import forget
from .learn import LabelReport, Mistake, learn
from .photos import Photos
from .teach import Teaching, teach

__all__ = ["LabelReport", "Mistake", "Photos", "Teaching", "forget", "learn", "teach"]
