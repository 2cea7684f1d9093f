"""The CPU backend: OpenVINO, on x86 and ARM, and on Intel's GPUs and NPUs."""

from .backend import OpenVinoBackend
from .compilation import Network, open_core, read_network
from .loading import load
from .precision import supports_bf16

__all__ = ["Network", "OpenVinoBackend", "load", "open_core", "read_network", "supports_bf16"]
