"""One HTML page about one or more runs: how good they are, where they go wrong, and how they differ."""

from .assemble import report

__all__ = ["report"]
