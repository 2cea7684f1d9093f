"""Signatures of bundles: who may sign, the keys, and the versions that were in use."""

from .verify import Trust, TrustLike, accept, open_bundle, read_manifest, resolve

__all__ = ["Trust", "TrustLike", "accept", "open_bundle", "read_manifest", "resolve"]
