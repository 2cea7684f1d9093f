"""Batch preprocessing on a GPU compared with the CPU version, which tests/csrc/kernels compares with float64."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from pvlr_sdk.bundle.manifest import InputSpec  # noqa: E402
from pvlr_sdk.kernels import preprocess  # noqa: E402

BOUNDS = {"float32": 1e-4, "float16": 2e-3, "bfloat16": 2e-2}
ORDERS = ["bgr", "gray", "nv12-bt709", "i420-full", "rgba"]
SHAPES = [(31, 50, 3), (20, 20), (36, 32), (60, 44), (9, 70, 4)]
REGIONS = [
    (0, (3, 4, 30, 20)),
    (2, (0, 0, 32, 24)),
    (4, (1, 1, 60, 7)),
    *((i, (0, 0, 20, 9)) for i in range(5)),
]


@pytest.mark.sanitized
@pytest.mark.parametrize("resize", ["stretch", "letterbox"])
@pytest.mark.parametrize("dtype", BOUNDS)
def test_a_batch_is_what_the_cpu_gives(resize: str, dtype: str) -> None:
    random = np.random.default_rng(0)
    frames = [torch.from_numpy(random.integers(0, 256, shape, np.uint8)) for shape in SHAPES]
    spec = InputSpec(width=56, height=40, resize=resize, mean=(120, 110, 100), std=(60, 50, 70))
    regions = REGIONS * 6  # more than one launch
    on_device = [frame.cuda() for frame in frames]
    got = preprocess(on_device, spec, order=ORDERS, regions=regions, dtype=dtype)
    exact = preprocess(frames, spec, order=ORDERS, regions=regions)
    torch.testing.assert_close(got.float().cpu(), exact, rtol=0, atol=BOUNDS[dtype])


def test_1080p_frames_and_a_graph() -> None:
    spec = InputSpec(width=288, height=288, mean=(120, 110, 100), std=(60, 50, 70))
    frames = [torch.randint(0, 256, (1080, 1920, 3), dtype=torch.uint8) for _ in range(3)]
    on_device = [frame.cuda() for frame in frames]
    out = torch.empty(3, 3, 288, 288, device="cuda")
    preprocess(on_device, spec, out=out)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        preprocess(on_device, spec, out=out, stream=torch.cuda.current_stream())
    frames.reverse()
    for one, other in zip(on_device, frames, strict=True):
        one.copy_(other)
    graph.replay()
    torch.testing.assert_close(out.cpu(), preprocess(frames, spec), rtol=0, atol=1e-4)
