"""NVIDIA's ``tensorrt``, as far as the SDK uses it: test_types.py compares its signatures with those of the stubs.

Its plans are the ONNX network, which ONNX Runtime computes on a :class:`FakeCuda`'s memory. Tests change ``world``:
the GPU, and the failures.
"""

# ruff: noqa: F401, F403
from .builder import *
from .runtime import *
from .types import *
from .world import MAGIC, world

__version__ = "10.3.0"
