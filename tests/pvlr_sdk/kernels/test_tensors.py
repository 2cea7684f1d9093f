"""Other libraries' arrays: their layout is respected, they are released once, and unusable ones raise errors."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import _core, errors
from pvlr_sdk.kernels.tensors import Arguments, stream_handle

_spec = importlib.util.spec_from_file_location(
    "foreign_arrays", Path(__file__).with_name("foreign_arrays.py")
)
assert _spec is not None
foreign = importlib.util.module_from_spec(_spec)
sys.modules["foreign_arrays"] = foreign
_spec.loader.exec_module(foreign)
CudaArray, DlpackArray = foreign.CudaArray, foreign.DlpackArray

NOWHERE = 0x7F0000001000  # an address that must not be read


def _open(value: Any, stream: Any = None) -> _core.Tensor:
    return Arguments("anything", stream)._open(value)


def _facts(tensor: _core.Tensor) -> tuple[Any, ...]:
    return tensor.pointer, tensor.shape, tensor.strides, tensor.type, tensor.device, tensor.writable


ARRAYS = [
    np.zeros((2, 3, 4), np.float32),
    np.zeros((5, 6), np.float16).T,
    np.zeros((4, 9), np.uint8)[::-1, ::2],
    np.zeros(3, bool),
    np.zeros((), np.int64),
    np.zeros((0, 7)),
    np.broadcast_to(np.float32(1), (2, 8)),
]


@pytest.mark.parametrize("array", ARRAYS, ids=str)
def test_every_protocol_tells_the_same(array: np.ndarray) -> None:
    strides = tuple(stride // array.itemsize for stride in array.strides)
    where = array.ctypes.data, array.shape, strides, array.dtype.name
    assert _facts(_open(array)) == (*where, "cpu", array.flags.writeable)
    on_device = (*where, "cuda:0", array.flags.writeable)
    assert _facts(_open(CudaArray(array))) == on_device
    assert _facts(_open(DlpackArray(array))) == on_device
    # Before 1.0 DLPack had no flag for arrays that are read-only.
    assert _facts(_open(DlpackArray(array, versioned=False))) == (*on_device[:-1], True)


@pytest.mark.parametrize(
    ("device", "name"),
    [((1, 0), "cpu"), ((3, 0), "cpu"), ((2, 0), "cuda:0"), ((2, 5), "cuda:5"), ((13, 1), "cuda:1")],
)
@pytest.mark.parametrize("versioned", [True, False])
def test_dlpack_says_where(device: tuple[int, int], name: str, versioned: bool) -> None:
    assert _open(DlpackArray(np.zeros(2, np.float32), device, versioned)).device == name


@pytest.mark.parametrize("versioned", [True, False])
def test_dlpack_offsets_and_missing_strides(versioned: bool) -> None:
    array = np.zeros((1,), np.float32)
    shown = DlpackArray(
        array, versioned=versioned, data=NOWHERE, byte_offset=64, shape=(2, 3, 4), strides=None
    )
    tensor = _open(shown)
    assert (tensor.pointer, tensor.shape, tensor.strides) == (NOWHERE + 64, (2, 3, 4), (12, 4, 1))
    assert tensor.extent == (NOWHERE + 64, NOWHERE + 64 + 2 * 3 * 4 * 4)


def test_bfloat16_of_every_library() -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    array = np.zeros((2, 4), ml_dtypes.bfloat16)
    for value in (array, DlpackArray(array), DlpackArray(array, versioned=False), CudaArray(array)):
        tensor = _open(value)
        assert (tensor.type, tensor.item_bytes, tensor.strides) == ("bfloat16", 2, (4, 1))
    torch = pytest.importorskip("torch")
    assert _open(torch.zeros(3, dtype=torch.bfloat16)).type == "bfloat16"


@pytest.mark.parametrize("versioned", [True, False])
def test_a_capsule_is_taken_once_and_given_back_once(versioned: bool) -> None:
    shown = DlpackArray(np.zeros(4, np.float32), versioned=versioned)
    capsule = shown.capsule()
    tensor = _core.Tensor.from_dlpack(capsule)
    again = tensor.with_batch()
    with pytest.raises(ValueError, match="'used_dltensor"):
        _core.Tensor.from_dlpack(capsule)
    del tensor, capsule
    assert shown.deleted == 0
    del again
    assert shown.deleted == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"major": 2}, "DLPack 2, not 1"),
        ({"lanes": 4}, "4 lanes"),
        ({"code": 5}, "code 5"),
        ({"bits": 4}, "4 bits"),
        ({"data": NOWHERE + 2}, "not aligned"),
        ({"shape": (-1,)}, "negative size"),
    ],
)
def test_dlpack_that_is_refused_is_given_back(changes: dict[str, Any], words: str) -> None:
    shown = DlpackArray(np.zeros(4, np.float32), **changes)
    with pytest.raises(ValueError, match=words):
        _open(shown)
    assert shown.deleted == 1


def test_devices_that_are_not_ours_are_refused() -> None:
    with pytest.raises(ValueError, match="neither the CPU nor CUDA"):
        _open(DlpackArray(np.zeros(4, np.float32), (foreign.ROCM, 0)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"typestr": ">f4"}, "typestr '>f4'"),
        ({"typestr": "<c8"}, "typestr '<c8'"),
        ({"typestr": "<V4"}, "typestr '<V4'"),
        ({"typestr": "float32"}, "typestr 'float32'"),
        ({"typestr": 4}, "entry of the wrong kind"),
        ({"data": NOWHERE}, "entry of the wrong kind"),
        ({"shape": ...}, "has no shape"),
        ({"version": 0}, "older than 1"),
        ({"strides": (6,)}, "whole elements"),
        ({"strides": (4, 4)}, "one stride a dimension"),
        ({"data": (NOWHERE + 1, False)}, "not aligned"),
        ({"mask": object()}, "masked"),
        ({"stream": 0}, "stream is 0"),
    ],
)
def test_cuda_array_interfaces_that_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        _open(CudaArray(np.zeros(4, np.float32), **changes))


def test_cuda_array_interface_keeps_its_object_and_its_stream() -> None:
    array = CudaArray(np.zeros(4, np.float32), strides=None, stream=2, data=(NOWHERE, True))
    before = sys.getrefcount(array)
    tensor = _open(array)
    assert (tensor.ready_on, tensor.strides, tensor.writable) == (2, (1,), False)
    assert sys.getrefcount(array) == before + 1
    del tensor
    assert sys.getrefcount(array) == before
    assert _open(CudaArray(np.zeros(4, np.float32))).ready_on is None


@pytest.mark.parametrize(
    ("stream", "current", "told"), [(77, 77, -1), (77, 0, 77), (None, 0, -1), (None, 77, 1)]
)
def test_pytorch_waits_for_no_event_in_its_own_stream(
    stream: int | None, current: int, told: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch = pytest.importorskip("torch")
    shown = DlpackArray(np.zeros(4, np.float32))

    class OnDevice(torch.Tensor):
        __dlpack_device__ = lambda self: shown.__dlpack_device__()
        __dlpack__ = lambda self, **options: shown.__dlpack__(**options)

    monkeypatch.setattr(
        torch.cuda, "current_stream", lambda device: SimpleNamespace(cuda_stream=current)
    )
    _open(torch.zeros(4).as_subclass(OnDevice), stream)
    assert shown.streams == [told]


@pytest.mark.parametrize(
    ("stream", "expected"), [(None, 1), (0, 1), (1, 1), (2, 2), (NOWHERE, NOWHERE)]
)
def test_the_producer_is_told_our_stream(stream: Any, expected: int) -> None:
    """DLPack has 1 for the default stream, and no 0."""
    shown = DlpackArray(np.zeros(4, np.float32))
    _open(shown, stream)
    assert shown.streams == [expected]
    on_cpu = DlpackArray(np.zeros(4, np.float32), (foreign.CPU, 0))
    _open(on_cpu)
    assert on_cpu.streams == [None]


class _Cupy:
    ptr = 11


class _Standard:
    ptr = 99

    def __cuda_stream__(self) -> tuple[int, int]:
        return 0, 33


def test_streams_of_every_library() -> None:
    shown = [
        None,
        0,
        2,
        np.int64(7).item(),
        SimpleNamespace(cuda_stream=22),
        _Cupy(),
        SimpleNamespace(handle=44),
    ]
    assert [stream_handle(one) for one in shown] == [0, 0, 2, 7, 22, 11, 44]
    assert stream_handle(_Standard()) == 33
    for wrong in ("1", -1, 1.0, True, object(), 2**64):
        with pytest.raises(errors.OptionError, match="stream: expected"):
            stream_handle(wrong)


def test_arrays_that_can_not_be_shared_name_the_argument() -> None:
    torch = pytest.importorskip("torch")
    for value in (
        torch.zeros(3, requires_grad=True),
        np.zeros(3, ">f4"),
        torch.zeros(3).to_sparse(),
    ):
        with pytest.raises(
            errors.OptionError, match="weights: expected an array that can be shared"
        ):
            Arguments("anything", None).view("weights", value)
    for value in ([1.0], "text", None, memoryview(b"1")):
        with pytest.raises(
            errors.OptionError, match="weights: expected a NumPy array, or anything with DLPack"
        ):
            Arguments("anything", None).view("weights", value)


@pytest.mark.skipif(_core.has_cuda(), reason="this core was built with CUDA")
@pytest.mark.parametrize("array", [CudaArray, DlpackArray])
def test_a_core_without_cuda_says_how_to_build_one(array: Any) -> None:
    value = array(np.zeros((1, 1, 4, 32), np.float32))
    with pytest.raises(errors.MissingPartError, match=r"v_x on a GPU.*PVLR_CUDA=1 pip install"):
        Arguments("anything", None).view("v_x", value)
