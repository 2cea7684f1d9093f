"""The timing of the CUDA kernels, as far as possible without a GPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.common import ROOT

torch = pytest.importorskip("torch")


def _times(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.gpu.kernels_gpu", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_a_short_run_on_the_cpu(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    done = _times("--device", "cpu", "--short", "--json", path)
    assert done.returncode == 0, done.stderr
    data = json.loads(path.read_text())
    assert data["conditions"]["card"].startswith("CPU")
    assert [row["kernel"] for row in data["rows"]] == ["attention", "preprocess", "tag_head"]
    attention, *others = (row["times"] for row in data["rows"])
    assert list(attention) == ["ours", "eager", "torch.compile", "2 SDPA"]
    assert all(list(times) == ["ours", "eager", "torch.compile"] for times in others)
    assert all(min(row["times"].values()) > 0 and not row["wrong"] for row in data["rows"])
    assert "B=1 N=49 C=20" in done.stdout


@pytest.mark.slow
def test_wrong_results_fail(tmp_path: Path) -> None:
    """With a kernel that answers zeros."""
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from pvlr_sdk import kernels\n"
        "kernels.dual_softmax_attention = lambda *inputs, out, **options: [one.zero_() for one in out]\n"
        "from benchmarks.gpu import kernels_gpu\n"
        "kernels_gpu.run(kernels_gpu.main)\n"
    )
    command = [
        sys.executable,
        wrong,
        "--device",
        "cpu",
        "--short",
        "--dtype",
        "float32",
        "--json",
        tmp_path / "x",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, "definition: attention B=1 N=49 C=20: ours\n" in done.stderr) == (
        1,
        True,
    ), done.stderr


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so() -> None:
    done = _times()
    assert done.returncode == 3
    # The last line: PyTorch may warn of a CUDA toolkit without a driver before it.
    assert done.stderr.splitlines()[-1].startswith("kernels_gpu: no GPU: PyTorch ")
