"""Arrays with the interfaces of other libraries: both versions of DLPack, and __cuda_array_interface__. Their memory is
NumPy's, or an address that must not be read; they claim to be on a device."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

CPU, CUDA, CUDA_HOST, ROCM, CUDA_MANAGED = 1, 2, 3, 10, 13
INT, UNSIGNED, FLOAT, BFLOAT, BOOL = 0, 1, 2, 4, 6
_CODES = {"i": INT, "u": UNSIGNED, "f": FLOAT, "b": BOOL}
READ_ONLY = 1
_ALIVE: list[Any] = []  # exported tensors, never freed: their consumers may outlive the array


class _DLTensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


_Deleter = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Managed(ctypes.Structure):
    _fields_ = [("tensor", _DLTensor), ("context", ctypes.c_void_p), ("deleter", _Deleter)]


class _Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", _Deleter),
        ("flags", ctypes.c_uint64),
        ("tensor", _DLTensor),
    ]


_new_capsule = ctypes.pythonapi.PyCapsule_New
_new_capsule.restype = ctypes.py_object
_new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


class DlpackArray:
    """An array with ``__dlpack__``; ``streams`` and ``deleted`` record its use.

    ``versioned`` False: an old library, which knows no ``max_version``. ``changes`` replace fields of the C structs:
    shape, strides (None: contiguous), data, byte_offset, code, bits, lanes, major, flags.
    """

    def __init__(
        self,
        array: np.ndarray,
        device: tuple[int, int] = (CUDA, 0),
        versioned: bool = True,
        **changes: Any,
    ):
        self.array = array
        self.device = device
        self.versioned = versioned
        self.changes = changes
        self.streams: list[Any] = []
        self.deleted = 0

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.device

    def __dlpack__(self, *, stream: Any = None, **options: Any) -> object:
        if options and not self.versioned:
            raise TypeError("__dlpack__() got an unexpected keyword argument 'max_version'")
        self.streams.append(stream)
        return self.capsule()

    def capsule(self) -> object:
        array, changes = self.array, self.changes
        shape = changes.get("shape", array.shape)
        strides = changes.get(
            "strides", tuple(stride // array.itemsize for stride in array.strides)
        )
        bfloat = array.dtype.name == "bfloat16"
        tensor = _DLTensor(
            data=changes.get("data", array.ctypes.data),
            device_type=self.device[0],
            device_id=self.device[1],
            ndim=len(shape),
            code=changes.get("code", BFLOAT if bfloat else _CODES.get(array.dtype.kind, 0)),
            bits=changes.get("bits", array.itemsize * 8),
            lanes=changes.get("lanes", 1),
            shape=(ctypes.c_int64 * len(shape))(*shape),
            strides=None if strides is None else (ctypes.c_int64 * len(strides))(*strides),
            byte_offset=changes.get("byte_offset", 0),
        )

        def delete(_address: int) -> None:
            self.deleted += 1

        deleter = _Deleter(delete)
        if self.versioned:
            flags = changes.get("flags", 0 if array.flags.writeable else READ_ONLY)
            managed: Any = _Versioned(changes.get("major", 1), 0, None, deleter, flags, tensor)
        else:
            managed = _Managed(tensor, None, deleter)
        _ALIVE.extend([managed, deleter])
        name = b"dltensor_versioned" if self.versioned else b"dltensor"
        return _new_capsule(ctypes.addressof(managed), name, None)


class CudaArray:
    """An array with ``__cuda_array_interface__`` alone, as PyCUDA's; also constructed from shape and dtype."""

    __module__ = "pycuda.gpuarray"

    def __init__(self, array: Any, dtype: Any = None, **changes: Any) -> None:
        self.array = np.full(array, 77, dtype) if isinstance(array, tuple) else array
        self.changes = changes

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        array = self.array
        entries = {
            "shape": array.shape,
            "typestr": array.dtype.str,
            "data": (array.ctypes.data, not array.flags.writeable),
            "strides": array.strides,
            "version": 3,
            **self.changes,
        }
        return {key: value for key, value in entries.items() if value is not ...}
