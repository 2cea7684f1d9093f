"""The GPU backend: NVIDIA TensorRT, on Jetson boards and GPU servers.

Nothing is deserialised before the manifest, the hashes, the versions and the GPU have been checked (``compatibility``).
``session`` runs the plan, ``context`` is one execution context in it, ``slot`` one frame, ``cuda`` the CUDA calls.
"""

from .backend import TensorRtBackend, load

__all__ = ["TensorRtBackend", "load"]
