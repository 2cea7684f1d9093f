"""The CPU backend: OpenVINO, the same code path on x86 and ARM."""

from .backend import OpenVinoBackend
from .network import INPUT, LOGITS, SIMILARITY, Network, open_core, read_network, supports_bf16

__all__ = ["INPUT", "LOGITS", "SIMILARITY", "Network", "OpenVinoBackend", "open_core", "read_network", "supports_bf16"]
