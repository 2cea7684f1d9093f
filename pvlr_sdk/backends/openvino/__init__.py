"""The CPU backend: OpenVINO, on x86 and ARM, and on Intel's GPUs and NPUs."""

from .backend import OpenVinoBackend
from .compilation import Network, open_core, read_network
from .device import supports_bf16
from .loading import load

__all__ = ["Network", "OpenVinoBackend", "load", "open_core", "read_network", "supports_bf16"]
