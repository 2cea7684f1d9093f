"""pvlr_sdk.kernels on "device" arrays, with a core whose CUDA kernels run under the emulator.

    python emulated_api.py CORE.so

A process of its own, as it imports CORE.so in place of pvlr_sdk._core. Arrays present NumPy's memory as a device's.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest


def load(name: str, loader: Any) -> Any:
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    sys.modules[name] = importlib.util.module_from_spec(spec)
    loader.exec_module(sys.modules[name])
    return sys.modules[name]


load("pvlr_sdk._core", importlib.machinery.ExtensionFileLoader("pvlr_sdk._core", sys.argv[1]))
_tests = Path(__file__).parents[2]
foreign, planes = (
    load(path.stem, importlib.machinery.SourceFileLoader(path.stem, str(path)))
    for path in (_tests / "pvlr_sdk/kernels/foreign_arrays.py", _tests / "planes.py")
)

from pvlr_sdk import errors, kernels  # noqa: E402
from pvlr_sdk.bundle.manifest import InputSpec  # noqa: E402

Cuda, Dlpack = foreign.CudaArray, foreign.DlpackArray


def refused(
    kind: type[errors.PvlrError], words: str, call: Any, *arguments: Any, **options: Any
) -> None:
    with pytest.raises(kind, match=re.escape(words)):
        call(*arguments, **options)


def attention_inputs(dtype: Any, tokens: int = 37, labels: int = 301) -> list[np.ndarray]:
    """Heads split from what a linear layer leaves, (batch, rows, heads, dim)."""
    random = np.random.default_rng(tokens)
    shapes = [(2, rows, 3, 64) for rows in (tokens, labels)] * 2
    return [random.normal(size=shape).astype(dtype).transpose(0, 2, 1, 3) for shape in shapes]


def attention_gives_what_the_host_gives() -> None:
    for dtype, bound in ((np.float32, 2e-6), (np.float16, 2e-3)):
        q_x, k_t, v_x, v_t = attention_inputs(dtype)
        bank = k_t[0], v_t[:1]  # the same labels for both images
        mask = np.arange(2 * 301).reshape(2, 301) % 3 != 0
        expected = kernels.dual_softmax_attention(q_x, bank[0], v_x, bank[1], mask=mask)
        for kind in (Cuda, Dlpack, lambda array: Dlpack(array, versioned=False)):
            merged = np.full((2, 37, 3, 64), np.nan, dtype)
            out = merged.transpose(0, 2, 1, 3), np.full((2, 3, 301, 64), np.nan, dtype)
            given = kind(out[0]), kind(out[1])
            inputs = (kind(q_x), kind(bank[0]), kind(v_x), kind(bank[1]))
            got = kernels.dual_softmax_attention(*inputs, mask=kind(mask), out=given, stream=9)
            assert got[0] is given[0]
            assert got[1] is given[1]
            for one, other in zip(out, expected, strict=True):
                np.testing.assert_allclose(one, other, rtol=0, atol=bound)
            if kind is Dlpack:
                arrays = [*inputs, *given]
                assert all(array.streams == [9] and array.deleted == 1 for array in arrays)


def attention_makes_outputs_of_the_inputs_library() -> None:
    inputs = attention_inputs(np.float32)
    o_x, o_t = kernels.dual_softmax_attention(*map(Cuda, inputs))
    assert (type(o_x), o_x.array.shape, o_t.array.shape) == (Cuda, (2, 3, 37, 64), (2, 3, 301, 64))
    for one, other in zip((o_x, o_t), kernels.dual_softmax_attention(*inputs), strict=True):
        np.testing.assert_allclose(one.array, other, rtol=0, atol=2e-6)
    refused(
        errors.OptionError, "out: expected", kernels.dual_softmax_attention, *map(Dlpack, inputs)
    )


def attention_refuses() -> None:
    attend, inputs = kernels.dual_softmax_attention, attention_inputs(np.float16)
    on_device: list[Any] = [Cuda(array) for array in inputs]

    def changed(place: int, value: Any) -> list[Any]:
        return [value if i == place else array for i, array in enumerate(on_device)]

    refused(
        errors.OptionError,
        "k_t: expected an array on cuda:0, where q_x is, got one on cpu",
        attend,
        *changed(1, inputs[1]),
    )
    other = Dlpack(inputs[2], (foreign.CUDA, 1))
    refused(
        errors.OptionError,
        "v_x: expected an array on cuda:0, where q_x is, got one on cuda:1",
        attend,
        *changed(2, other),
    )
    refused(errors.OptionError, "k_t: expected an array on cpu", attend, inputs[0], *on_device[1:])
    mask = np.ones(301, bool)
    refused(errors.OptionError, "mask: expected an array on cuda:0", attend, *on_device, mask=mask)
    odd = np.zeros(2 * 3 * 301 * 64 + 1, np.float16)[1:].reshape(2, 3, 301, 64)
    refused(
        errors.OptionError,
        "v_t: expected rows must be aligned to 16 bytes",
        attend,
        *changed(3, Cuda(odd)),
    )
    apart = Cuda(np.zeros((2, 3, 37, 64), np.float16)), Cuda(odd)
    refused(
        errors.OptionError,
        "out[1]: expected rows must be aligned to 16 bytes",
        attend,
        *on_device,
        out=apart,
    )
    out = [np.zeros((2, 3, 37, 64), np.float16), np.zeros((2, 3, 301, 64), np.float16)]
    read_only = Cuda(out[0], data=(out[0].ctypes.data, True)), Cuda(out[1])
    refused(
        errors.OptionError, "out[0]: expected a writable array", attend, *on_device, out=read_only
    )
    overlap = Cuda(out[0]), Cuda(inputs[1])
    refused(
        errors.OptionError,
        "out[1]: expected memory apart from k_t",
        attend,
        *on_device,
        out=overlap,
    )
    absent = [Dlpack(array, (foreign.CUDA, 2)) for array in (*inputs, *out)]
    refused(
        errors.DeviceError, "cuda:2: expected a device that", attend, *absent[:4], out=absent[4:]
    )
    refused(errors.OptionError, "stream: expected", attend, *on_device, stream="default")
    refused(errors.DeviceError, "got stream: number 13", attend, *on_device, stream=13)


def head_inputs(dtype: Any) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Tokens, labels, and what else is on the device."""
    random = np.random.default_rng(0)
    x, t = (random.normal(size=shape).astype(dtype) for shape in ((2, 37, 64), (50, 64)))
    vectors = [random.normal(size=size).astype(np.float32) for size in (64, 64, 64, 64, 50, 50)]
    arrays = {
        "x_norm": tuple(vectors[:2]),
        "t_norm": tuple(vectors[2:4]),
        "bias": vectors[4],
        "thresholds": vectors[5],
    }
    return [x, t], {**arrays, "chosen": np.array([49, 3], np.int32)}


def head_gives_what_the_host_gives() -> None:
    numbers = {"scale": 12.0, "alpha": 0.5, "maps": "weights"}
    for dtype, bound in ((np.float32, 5e-6), (np.float16, 5e-3)):
        inputs, arrays = head_inputs(dtype)
        expected = kernels.tag_head(*inputs, **arrays, **numbers)
        for kind in (Cuda, Dlpack):
            out = [np.full(one.shape, 7).astype(one.dtype) for one in expected]
            given = {
                name: tuple(map(kind, one)) if isinstance(one, tuple) else kind(one)
                for name, one in arrays.items()
            }
            outputs = kernels.TagHead(*map(kind, out))
            got = kernels.tag_head(*map(kind, inputs), **given, **numbers, out=outputs, stream=9)
            assert got is outputs
            logits, scores, tags, nonfinite, maps = out
            for one, other in zip(
                (logits, scores, maps), (expected[0], expected[1], expected[4]), strict=True
            ):
                np.testing.assert_allclose(one, other, rtol=0, atol=bound)
            assert np.array_equal(tags, scores >= arrays["thresholds"])
            assert not nonfinite.any()


def head_refuses() -> None:
    (x, t), arrays = head_inputs(np.float16)
    numbers = {"scale": 12.0, "alpha": 0.5}
    on_device = [Cuda(x), Cuda(t)]
    wanted = "expected an array on cuda:0, where x is, got one on cpu"
    refused(
        errors.OptionError,
        f"bias: {wanted}",
        kernels.tag_head,
        *on_device,
        bias=arrays["bias"],
        **numbers,
    )
    some = {"maps": "weights", "chosen": [1, 2]}
    refused(
        errors.OptionError, f"chosen: {wanted}", kernels.tag_head, *on_device, **some, **numbers
    )
    odd = Cuda(np.zeros(50 * 64 + 1, np.float16)[1:].reshape(50, 64))
    refused(
        errors.OptionError,
        "t: expected rows must be aligned",
        kernels.tag_head,
        on_device[0],
        odd,
        **numbers,
    )
    norm = Cuda(np.zeros(64, np.float32)), Cuda(np.zeros(65, np.float32)[1:])
    wanted = "x_norm[1]: expected must be aligned"
    refused(errors.OptionError, wanted, kernels.tag_head, *on_device, x_norm=norm, **numbers)


def preprocess_gives_what_the_host_gives() -> None:
    random = np.random.default_rng(0)
    spec = InputSpec(
        width=40, height=24, resize="letterbox", mean=(120, 110, 100), std=(60, 50, 70)
    )
    shapes, orders = (
        [(31, 50, 3), (20, 20), (36, 32), (9, 70, 4)],
        ["bgr", "gray", "nv12-bt709", "rgba"],
    )
    frames = [random.integers(0, 256, shape, np.uint8) for shape in shapes]
    frames[0] = frames[0][::-1, 2:-3]
    regions = [(0, (3, 4, 30, 20)), (2, (0, 0, 32, 24)), (3, (1, 1, 60, 7)), (1, (0, 0, 20, 20))]
    for dtype, bound in (("float32", 1e-5), ("float16", 2e-3)):
        expected = kernels.preprocess(frames, spec, order=orders, regions=regions, dtype=dtype)
        for kind in (Cuda, Dlpack):
            out = np.full((4, 3, 24, 40), np.nan, dtype)
            on_device = [kind(frame) for frame in frames]
            kernels.preprocess(
                on_device, spec, order=orders, regions=regions, dtype=dtype, out=kind(out), stream=5
            )
            np.testing.assert_allclose(out, expected, rtol=0, atol=bound)
    made = kernels.preprocess([Cuda(frames[1])], spec, order="gray")
    assert (type(made), made.array.dtype) == (Cuda, np.float32)
    elsewhere = [Cuda(frames[0]), Dlpack(frames[0], (foreign.CUDA, 1))]
    words = "frames[1]: expected an array on cuda:0, where frames[0] is"
    refused(errors.OptionError, words, kernels.preprocess, elsewhere, spec)
    out = np.zeros((1, 3, 24, 40), np.float32)
    refused(
        errors.OptionError,
        "out: expected an array on cuda:0",
        kernels.preprocess,
        elsewhere[:1],
        spec,
        out=out,
    )


def the_tensorrt_backend_preprocesses() -> None:
    from pvlr_sdk.backends.tensorrt.pixels import open_pixels
    from pvlr_sdk.frames.device import DeviceArray

    spec = InputSpec(
        width=40, height=24, resize="letterbox", mean=(120, 110, 100), std=(60, 50, 70)
    )
    pixels = open_pixels(spec)
    assert pixels is not None
    random = np.random.default_rng(1)
    whole = random.integers(0, 256, (40, 60, 3), np.uint8)
    yuv = random.integers(0, 256, (36, 32), np.uint8)
    for frame, order in (
        (whole, "rgb"),
        (whole[5:31, 7:52], "bgr"),
        (yuv, "nv12"),
        (yuv, "i420-full"),
    ):
        array = DeviceArray(frame.ctypes.data, frame.shape, frame.strides, None, frame)
        out = np.full((1, 3, 24, 40), np.nan, np.float32)
        assert pixels.takes([array], order)
        pixels.preprocess([pixels.prepare([array], order)], out.ctypes.data, 5)
        np.testing.assert_allclose(
            out, kernels.preprocess([frame], spec, order=order), rtol=0, atol=1e-5
        )
    for order in planes.ORDERS:
        results = []
        for parts in ([yuv], planes.planes_of(yuv, order)):
            there = [
                DeviceArray(part.ctypes.data, part.shape, part.strides, None, part)
                for part in parts
            ]
            assert pixels.takes(there, order)
            results.append(np.full((1, 3, 24, 40), np.nan, np.float32))
            pixels.preprocess([pixels.prepare(there, order)], results[-1].ctypes.data, 5)
        np.testing.assert_array_equal(*results)
    alpha = random.integers(0, 256, (9, 9, 4), np.uint8)[:, :, :3]
    array = DeviceArray(alpha.ctypes.data, alpha.shape, alpha.strides, None, alpha)
    assert not pixels.takes([array], "bgr")


CHECKS = (
    attention_gives_what_the_host_gives,
    attention_makes_outputs_of_the_inputs_library,
    attention_refuses,
    head_gives_what_the_host_gives,
    head_refuses,
    preprocess_gives_what_the_host_gives,
    the_tensorrt_backend_preprocesses,
)

if __name__ == "__main__":
    assert kernels.has_cuda()
    for check in CHECKS:
        check()
    print("ok")
