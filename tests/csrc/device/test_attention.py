"""Dual-softmax attention on a GPU: values, streams, graphs, strides. benchmarks/gpu/trt_check.sh runs these."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from pvlr_sdk import errors  # noqa: E402
from pvlr_sdk.kernels import dual_softmax_attention  # noqa: E402
from tests.csrc.kernels.dual_softmax_attention import cases  # noqa: E402

TYPES = ("float32", "float16", "bfloat16")


def _on_device(inputs: Any) -> tuple[list[Any], Any]:
    tensors = [x.cuda() for x in (inputs.q_x, inputs.k_t, inputs.v_x, inputs.v_t)]
    return tensors, None if inputs.mask is None else inputs.mask.cuda()


def _check(case: Any) -> None:
    inputs = cases.make_inputs(case)
    tensors, mask = _on_device(inputs)
    got = dual_softmax_attention(*tensors, mask=mask)
    torch.cuda.synchronize()
    cases.assert_as_good_as_torch(inputs, tuple(one.cpu() for one in got), case)


@pytest.mark.sanitized
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("dim", [32, 64, 96, 128])
def test_small_and_odd_sizes(dtype: str, dim: int) -> None:
    for tokens, labels in ((1, 1), (33, 35), (77, 301), (31, 65)):
        _check(
            cases.Case(dtype, batch=2, tokens=tokens, labels=labels, dim=dim, mask=2, shared=True)
        )


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("dim", [32, 64, 96, 128])
def test_large_sizes(dtype: str, dim: int) -> None:
    _check(cases.Case(dtype, tokens=784, labels=4585, dim=dim))
    _check(cases.Case(dtype, batch=8, heads=3, tokens=197, labels=83, dim=dim, mask=1))
    _check(cases.Case(dtype, heads=1, tokens=4096, labels=8192, dim=dim))


@pytest.mark.parametrize("dtype", TYPES)
def test_extreme_values(dtype: str) -> None:
    for scale in (0.0, 1e-6, 30.0, 300.0):
        _check(cases.Case(dtype, heads=6, tokens=61, labels=83, scale=scale))
    _check(cases.Case(dtype, tokens=40, labels=70, equal=True))


@pytest.mark.parametrize("dtype", TYPES)
def test_same_bits_from_run_to_run(dtype: str) -> None:
    tensors, _ = _on_device(cases.make_inputs(cases.Case(dtype, batch=1, tokens=784, labels=4585)))
    first = dual_softmax_attention(*tensors)
    for _ in range(20):
        again = dual_softmax_attention(*tensors)
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_strides_and_out_without_copies() -> None:
    """Heads split from (batch, rows, heads * dim), as a linear layer leaves them; written into such a tensor."""
    fused = torch.randn(2, 30, 2, 4, 64, device="cuda", dtype=torch.float16)
    bank = torch.randn(9, 2, 4, 64, device="cuda", dtype=torch.float16)
    q_x, v_x = (fused[:, :, i].transpose(1, 2) for i in (0, 1))
    k_t, v_t = (bank[:, i].transpose(0, 1) for i in (0, 1))
    out = (
        torch.full((2, 30, 4, 64), torch.nan, device="cuda", dtype=torch.float16).transpose(1, 2),
        None,
    )
    out = out[0], torch.empty(2, 4, 9, 64, device="cuda", dtype=torch.float16)
    got = dual_softmax_attention(q_x, k_t, v_x, v_t, out=out)
    assert got[0] is out[0]
    assert got[1] is out[1]
    inputs = cases.Inputs(q_x.cpu(), k_t[None].cpu(), v_x.cpu(), v_t[None].cpu())
    cases.assert_as_good_as_torch(inputs, tuple(one.cpu() for one in out))


def test_streams_wait_for_what_was_queued_before() -> None:
    """The inputs are still being computed in another stream when the kernel is called."""
    side = torch.cuda.Stream()
    slow = torch.randn(4096, 4096, device="cuda")
    q_x = torch.zeros(1, 2, 64, 32, device="cuda")
    torch.cuda.synchronize()
    for _ in range(20):
        slow = slow @ slow * 1e-4
    q_x += 1
    o_x, _ = dual_softmax_attention(q_x, q_x, q_x, q_x, stream=side)
    side.synchronize()
    assert torch.equal(o_x.cpu(), torch.ones(1, 2, 64, 32))


def test_a_cuda_graph_replays_it() -> None:
    """With a workspace, which becomes a part of the graph; replayed on other contents."""
    tensors, _ = _on_device(
        cases.make_inputs(cases.Case("float16", tokens=196, labels=301, heads=2))
    )
    out = torch.empty_like(tensors[0]), torch.empty_like(tensors[1])
    dual_softmax_attention(*tensors, out=out)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        dual_softmax_attention(*tensors, out=out, stream=torch.cuda.current_stream())
    tensors[0].copy_(torch.randn_like(tensors[0]))
    for _ in range(3):
        graph.replay()
    expected = dual_softmax_attention(*tensors)
    assert all(torch.equal(a, b) for a, b in zip(out, expected, strict=True))


class _Interface:
    """A tensor that shows ``__cuda_array_interface__`` alone, as PyCUDA's do."""

    def __init__(self, tensor: Any, **more: Any) -> None:
        self.tensor = tensor
        self.__cuda_array_interface__ = {**tensor.__cuda_array_interface__, **more}


def test_the_stream_of_cuda_array_interface_is_waited_for() -> None:
    side = torch.cuda.Stream()
    slow = torch.randn(4096, 4096, device="cuda")
    q_x = torch.zeros(1, 2, 64, 32, device="cuda")
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        for _ in range(20):
            slow = slow @ slow * 1e-4
        q_x += 1
    shown = _Interface(q_x, version=3, stream=side.cuda_stream)
    out = torch.empty_like(q_x), torch.empty_like(q_x)
    dual_softmax_attention(*[shown] * 4, out=out)
    torch.cuda.current_stream().synchronize()
    assert torch.equal(out[0].cpu(), torch.ones(1, 2, 64, 32))


def test_cuda_array_interface() -> None:
    tensors = [torch.randn(1, 2, 40, 64, device="cuda", dtype=torch.float16) for _ in range(4)]
    out = [torch.empty_like(tensors[0]) for _ in range(2)]
    dual_softmax_attention(*map(_Interface, tensors), out=tuple(map(_Interface, out)))
    assert all(
        torch.equal(a, b) for a, b in zip(out, dual_softmax_attention(*tensors), strict=True)
    )


def test_what_the_device_refuses_names_the_argument() -> None:
    good = torch.zeros(1, 1, 4, 32, device="cuda", dtype=torch.float16)
    odd = torch.zeros(4 * 32 + 1, device="cuda", dtype=torch.float16)[1:].view(1, 1, 4, 32)
    with pytest.raises(errors.OptionError, match="v_t: expected rows must be aligned"):
        dual_softmax_attention(good, good, good, odd)
    with pytest.raises(errors.OptionError, match="k_t: expected an array on cuda:0"):
        dual_softmax_attention(good, good.cpu(), good, good)
