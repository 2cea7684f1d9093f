"""The compiled kernels, for arrays on the CPU and on CUDA devices, without copies.

They take NumPy arrays, and those of any library with DLPack or ``__cuda_array_interface__``: PyTorch, CuPy, PyCUDA.
All arrays of a call lie on one device. On a CUDA device the work is queued in ``stream``: the call neither waits nor
allocates but from a pool in the stream's order, so that it may be captured in a CUDA graph. Arrays that another stream
is still working on are waited for there, as DLPack says; results are ready in ``stream``.
"""

from __future__ import annotations

from .attention import DIMS, dual_softmax_attention
from .preprocess import preprocess
from .tag_head import TagHead, tag_head
from .tensors import has_cuda

__all__ = ["DIMS", "TagHead", "dual_softmax_attention", "has_cuda", "preprocess", "tag_head"]
