"""Signatures of bundles: who may sign, the keys, and the versions that were in use."""

from .opening import accept, open_bundle, read_manifest
from .verify import Trust, TrustLike, resolve

__all__ = ["Trust", "TrustLike", "accept", "open_bundle", "read_manifest", "resolve"]
