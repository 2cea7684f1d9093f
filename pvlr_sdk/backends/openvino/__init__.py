"""The CPU backend: OpenVINO, on x86 and ARM."""

from .backend import OpenVinoBackend
from .loading import load
from .network import Network, open_core, read_network, supports_bf16

__all__ = ["Network", "OpenVinoBackend", "load", "open_core", "read_network", "supports_bf16"]
