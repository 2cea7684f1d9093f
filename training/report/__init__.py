"""One HTML page about one or more runs: their metrics, their mistakes and their differences."""

from .assemble import report

__all__ = ["report"]
