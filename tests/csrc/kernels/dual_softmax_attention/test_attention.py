"""The CUDA sources of dual-softmax attention, run on the CPU: values (float64), races, bounds, determinism."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from . import cases  # noqa: E402

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[3]
KERNEL = ROOT / "csrc/kernels/dual_softmax_attention"

Case = cases.Case

AARCH64 = "aarch64-linux-gnu-g++"  # its programs run under qemu
TYPES = ("float32", "float16", "bfloat16")
SMALL = 64 * 1024  # a device with too little shared memory for the large label blocks

CASES = [
    *(Case(t, dim=d) for t in TYPES for d in (32, 64, 96, 128)),
    # Several label blocks in one thread block, of the large kind in two-byte types; a mask.
    *(
        Case(t, dim=d, tokens=77, labels=301, mask=1, multiprocessors=1)
        for t in TYPES
        for d in (32, 64, 96, 128)
    ),
    # Everything split and merged; the small kind; a mask a batch entry, one without any label; a shared label bank.
    *(
        Case(t, 2, 1, 70, 267, d, mask=2, shared=True, multiprocessors=16, shared_bytes=SMALL)
        for t in TYPES
        for d in (32, 64, 96, 128)
    ),
    *(
        Case(t, tokens=n, labels=c)
        for t in TYPES
        for n, c in ((1, 1), (1, 50), (50, 1), (32, 64), (31, 65), (49, 20))
    ),
    # Logits from 0 to more than 1000; denormals; identical tokens.
    *(
        Case(t, heads=6, tokens=61, labels=83, scale=s)
        for t in TYPES
        for s in (0.0, 1e-6, 30.0, 300.0)
    ),
    *(
        Case(t, tokens=40, labels=70, value_scale=s)
        for t, s in (("float32", 1e-39), ("float16", 3e-7))
    ),
    *(Case(t, tokens=40, labels=70, equal=True) for t in TYPES),
    # References move in many tiles, or in none after the first.
    *(
        Case(t, dim=d, tokens=197, labels=601, rising=r, multiprocessors=1)
        for t in TYPES[1:]
        for d, r in ((32, 16.0), (32, -16.0), (64, 40.0), (128, 40.0))
    ),
]

# The largest numbers of tokens and of labels, each with few of the other: large workspaces and many splits.
WIDE = [
    Case("float16", heads=1, tokens=4095, labels=33, dim=32, multiprocessors=64),
    Case("bfloat16", heads=1, tokens=33, labels=8191, dim=32, multiprocessors=16),
    Case("float32", heads=1, tokens=17, labels=8191, dim=32, multiprocessors=1),
]
TURING = [replace(case, shared_bytes=SMALL) for case in CASES if case.dtype != "float32"][::3]


def _sources(emulator: Any, main: str = "main.cpp") -> list[Path]:
    return [*emulator.kernel("dual_softmax_attention"), HERE / main]


def _run(
    emulator: Any, program: Path, where: str, case: Any, inputs: Any, folder: Path, reverse: int = 0
) -> Any:
    code, dtype = cases.TYPES[case.dtype]
    (folder / "in").write_bytes(inputs.raw())
    sizes = [
        code,
        case.batch,
        case.heads,
        case.tokens,
        case.labels,
        case.dim,
        case.mask,
        int(case.shared),
    ]
    numbers = map(str, [*sizes, case.shared_bytes, case.multiprocessors, reverse])
    done = emulator.run(program, str(folder / "in"), str(folder / "out"), where, *numbers)
    assert done.returncode == 0, f"{case}: {done.stdout}{done.stderr}"
    flat = torch.frombuffer(bytearray((folder / "out").read_bytes()), dtype=dtype)
    split = case.batch * case.heads * case.tokens * case.dim
    shape = (case.batch, case.heads, -1, case.dim)
    return flat[:split].view(shape), flat[split:].view(shape)


def _check_all(emulator: Any, program: Path, where: str, some: list[Any], folder: Path) -> None:
    def check(case: Any, own: Path) -> None:
        inputs = cases.make_inputs(case)
        cases.assert_as_good_as_torch(
            inputs, _run(emulator, program, where, case, inputs, own), case
        )

    emulator.for_all(check, some, folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["race", "address", "turing"])
def test_kernels_are_as_good_as_torch(emulator: Any, kind: str, tmp_path: Path) -> None:
    """No race, no unwritten shared memory, no access out of bounds or undefined behaviour, and the right values."""
    program = emulator.build(_sources(emulator), kind=kind)
    # AddressSanitizer makes stack switches slow
    some = {
        "race": CASES + WIDE,
        "address": CASES[::5],
        "turing": TURING,
    }
    _check_all(emulator, program, "kernel", some[kind], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "cxx"), [("address", "g++"), ("plain", AARCH64)])
def test_host_reference_is_as_good_as_torch(
    emulator: Any, kind: str, cxx: str, tmp_path: Path
) -> None:
    program = emulator.build(_sources(emulator), kind=kind, cxx=cxx)
    _check_all(emulator, program, "host", CASES if cxx == "g++" else CASES[::3], tmp_path)


@pytest.mark.slow
def test_kernels_on_aarch64(emulator: Any, tmp_path: Path) -> None:
    program = emulator.build(_sources(emulator), kind="plain", cxx=AARCH64)
    _check_all(emulator, program, "kernel", CASES[1::16], tmp_path)


@pytest.mark.slow
def test_order_of_warps_changes_nothing(emulator: Any, tmp_path: Path) -> None:
    program = emulator.build(_sources(emulator), kind="race")
    for case in (Case("float16", tokens=70, labels=301), Case("float32", tokens=70, labels=90)):
        inputs = cases.make_inputs(case)
        first, second = (
            _run(emulator, program, "kernel", case, inputs, tmp_path, reverse=r) for r in (0, 1)
        )
        assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.slow
def test_launcher_names_the_wrong_argument(emulator: Any) -> None:
    done = emulator.run(emulator.build(_sources(emulator, "test_launcher.cpp"), kind="race"))
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr


BARRIER = r"__syncthreads\(\);|__syncthreads_or(?=\()|copy_async_wait<0>\(\);"


def _barriers() -> list[tuple[str, int]]:
    """Each barrier and wait in the kernels, as file and position."""
    found = []
    for name in ("mma_kernel.cuh", "fp32_kernel.cuh"):
        text = (KERNEL / name).read_text()
        found += [(name, match.start()) for match in re.finditer(BARRIER, text)]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("name", "position"), _barriers())
def test_every_barrier_is_needed(emulator: Any, name: str, position: int, tmp_path: Path) -> None:
    """Without it the race check ends the program: neither a superfluous barrier nor one that isn't tested."""
    copy = tmp_path / "csrc"
    shutil.copytree(ROOT / "csrc", copy)
    source = copy / "kernels/dual_softmax_attention" / name
    text = source.read_text()
    without = re.sub(
        rf"^(?:{BARRIER})", lambda match: "(void)0;" * match[0].endswith(";"), text[position:]
    )
    source.write_text(text[:position] + without)
    if "fp32" in name:
        mutants = [MUTANT.replace("TYPE", "float").replace("SHAPE", "Fp32Shape<128>")]
    else:
        # The weights overwrite other warps' keys only where their rows differ, in the second.
        shapes = ["MmaShape<__half, 32, 4, 1, 2>", "MmaShape<__half, 64, 4, 1, 1>"]
        mutants = [MUTANT.replace("TYPE", "__half").replace("SHAPE", shape) for shape in shapes]

    def ends_with(number: int) -> int:
        main = tmp_path / f"mutant{number}.cpp"
        main.write_text(mutants[number])
        return int(emulator.run(emulator.build([main], kind="race", csrc=copy)).returncode)

    assert any(ends_with(number) == 70 for number in range(len(mutants)))


MUTANT = """
#include <vector>
#include "kernels/dual_softmax_attention/kernel.cuh"
int main() {
  using Shape = pvlr::device::SHAPE;
  pvlr::DualSoftmaxAttentionParams p{};
  p.batch = p.heads = 1;
  p.tokens = 70;
  p.labels = 150;
  p.dim = Shape::kDim;
  const std::int64_t dim = p.dim;
  std::vector<TYPE> q(70 * Shape::kDim), k(150 * Shape::kDim), o_x(q), o_t(k);
  p.q_x = p.v_x = q.data();
  p.k_t = p.v_t = k.data();
  p.o_x = o_x.data();
  p.o_t = o_t.data();
  p.q_x_strides = p.v_x_strides = p.o_x_strides = {70 * dim, 70 * dim, dim};
  p.k_t_strides = p.v_t_strides = p.o_t_strides = {150 * dim, 150 * dim, dim};
  const auto plan = pvlr::device::plan_attention(p, Shape::kColumns, 1);
  std::vector<float> workspace(plan.workspace_bytes / 4);
  p.workspace = workspace.data();
  const auto arguments = pvlr::device::attention_arguments(p, plan);
  return pvlr::device::launch_attention<TYPE, Shape>(arguments, nullptr).ok() ? 0 : 1;
}
"""
