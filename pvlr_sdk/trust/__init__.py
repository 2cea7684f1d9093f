"""Signatures of files: who may sign, the keys, and the versions that were in use."""

from .verify import Trust, TrustLike, accept, resolve

__all__ = ["Trust", "TrustLike", "accept", "resolve"]
