"""The compiled kernels, for arrays on the CPU and on CUDA devices, without copies.

They accept NumPy arrays and arrays of any library with DLPack or ``__cuda_array_interface__``: PyTorch, CuPy, PyCUDA.
All arrays of a call must be on one device. On a CUDA device the work is queued in ``stream``: the call does not block
and allocates only from a stream-ordered pool, so it can be captured in a CUDA graph. As DLPack specifies, ``stream``
waits for arrays that another stream is still writing; results are ready in ``stream``.
"""

from __future__ import annotations

from .attention import DIMS, dual_softmax_attention
from .preprocess import preprocess
from .tag_head import TagHead, tag_head
from .tensors import has_cuda

__all__ = [
    "DIMS",
    "TagHead",
    "dual_softmax_attention",
    "has_cuda",
    "preprocess",
    "tag_head",
]
