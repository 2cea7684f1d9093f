"""Labels of one's own, without PyTorch: banks from words (``docs/model.md``), and labels taught from a few photos
(``docs/teach.md``)."""

from ..bundle.label_bank import LabelBank
from .edit import forget
from .knowledge import Knowledge
from .learning import LabelReport, Mistake, learn
from .teaching import Photos, Teaching, teach
from .words import bank_from_words

__all__ = [
    "Knowledge",
    "LabelBank",
    "LabelReport",
    "Mistake",
    "Photos",
    "Teaching",
    "bank_from_words",
    "forget",
    "learn",
    "teach",
]
