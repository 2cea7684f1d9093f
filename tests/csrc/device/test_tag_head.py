"""The tag head on a GPU: values, flags, graphs. benchmarks/gpu/trt_check.sh runs these."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from pvlr_sdk.kernels import TagHead, tag_head  # noqa: E402
from tests.csrc.kernels.tag_head import cases  # noqa: E402

TYPES = ("float32", "float16", "bfloat16")


def _call(inputs: Any, case: Any, **options: Any) -> Any:
    norms = {
        name: None if pair is None else tuple(one.cuda() for one in pair)
        for name, pair in (("x_norm", inputs.x_norm), ("t_norm", inputs.t_norm))
    }
    vectors = {"bias": inputs.bias.cuda(), "thresholds": inputs.thresholds.cuda()}
    chosen = torch.tensor(case.chosen, dtype=torch.int32).cuda() if case.chosen else None
    maps = None if case.maps == "none" else case.maps
    numbers = {"scale": case.scale, "alpha": case.alpha, "maps": maps, "chosen": chosen}
    return tag_head(inputs.x.cuda(), inputs.t.cuda(), **norms, **vectors, **numbers, **options)


def _check(case: Any) -> None:
    inputs = cases.make_inputs(case)
    got = _call(inputs, case)
    torch.cuda.synchronize()
    found = [None if one is None else one.cpu() for one in (got.logits, got.scores, got.maps)]
    flags = (one.cpu().to(torch.uint8) for one in (got.tags, got.nonfinite))
    cases.assert_as_good_as_torch(inputs, cases.Outputs(*found, *flags), case)


@pytest.mark.sanitized
@pytest.mark.parametrize("dtype", TYPES)
def test_small_and_odd_sizes(dtype: str) -> None:
    for tokens, labels, width in ((1, 1, 8), (49, 20, 136), (131, 35, 104), (257, 67, 40)):
        _check(cases.Case(dtype, 2, tokens, labels, width, shared=True))
    # large blocks
    _check(cases.Case(dtype, 300, 33, 70, 72, chosen=(69, 0, 69), maps="similarity"))


@pytest.mark.parametrize("dtype", TYPES)
def test_large_sizes(dtype: str) -> None:
    _check(cases.Case(dtype, 1, 784, 4585, 256, chosen=(4584,)))
    _check(cases.Case(dtype, 1, 4095, 8191, 64, maps="none"))
    _check(cases.Case(dtype, 8, 197, 83, 1024))


@pytest.mark.parametrize("dtype", TYPES)
def test_extreme_values(dtype: str) -> None:
    for scale, alpha in ((0.0, 1.0), (1000.0, 1.0), (12.0, 0.0), (12.0, 1e4)):
        _check(cases.Case(dtype, scale=scale, alpha=alpha))
    _check(cases.Case(dtype, zero=True, norms=False))


def test_nan_raises_the_flag() -> None:
    case = cases.Case("float16", 2, 140, 37, 48, maps="none")
    inputs = cases.make_inputs(case)
    inputs.x[1, 133, 40] = torch.nan
    got = _call(inputs, case)
    assert got.nonfinite.cpu().tolist() == [[False] * 37, [True] * 37]


def test_a_cuda_graph_replays_it() -> None:
    x, t = torch.randn(2, 81, 256).half().cuda(), torch.randn(80, 256).half().cuda()
    out = TagHead(torch.empty(2, 80).cuda())
    tag_head(x, t, scale=12.0, alpha=0.5, out=out)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        tag_head(x, t, scale=12.0, alpha=0.5, out=out, stream=torch.cuda.current_stream())
    x.copy_(torch.randn(2, 81, 256))
    graph.replay()
    replayed = out.logits.clone()
    expected = tag_head(x, t, scale=12.0, alpha=0.5, stream=torch.cuda.current_stream())
    assert torch.equal(replayed, expected.logits)
