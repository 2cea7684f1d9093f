"""The CUDA sources of the tag head, run on the CPU, and its CPU version: values, flags, races, bounds, determinism."""

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
KERNEL = ROOT / "csrc/kernels/tag_head"
CROSS = "aarch64-linux-gnu-g++"

Case = cases.Case

TYPES = ("float32", "float16", "bfloat16")
CASES = [
    # Small label blocks and large ones, with and without layer norms; widths of part of a slice, one, and several.
    *(Case(t, width=w) for t in TYPES for w in (8, 32, 64, 136, 256)),
    *(
        Case(t, width=w, labels=150, norms=False, multiprocessors=1)
        for t in TYPES
        for w in (24, 64, 200)
    ),
    # Several tiles of tokens, images and blocks; one label bank; maps of chosen labels, one twice, in both layouts.
    *(
        Case(
            t,
            2,
            131,
            35,
            104,
            shared=True,
            chosen=(34, 0, 34, 17),
            tokens_last=last,
            multiprocessors=16,
        )
        for t in TYPES
        for last in (True, False)
    ),
    *(
        Case(t, 2, 257, 67, 40, maps="similarity", tokens_last=False, multiprocessors=1)
        for t in TYPES
    ),
    # Rows normalised ahead: one label bank and one an image, with and without layer norms, both sizes of label blocks.
    *(
        Case(
            t,
            2,
            131,
            300,
            104,
            shared=s,
            norms=s,
            multiprocessors=m,
            maps="similarity",
            tokens_last=not s,
        )
        for t in TYPES
        for s, m in ((True, 1), (False, 64))
    ),
    Case("float32", tokens=4096, labels=3, width=8),
    Case("float16", tokens=2, labels=8191, width=8, maps="none"),
    *(
        Case(t, tokens=33, width=1024, multiprocessors=m)
        for t, m in zip(TYPES, (1, 8, 1), strict=True)
    ),
    *(
        Case(t, tokens=n, labels=c, maps="none")
        for t in TYPES
        for n, c in ((1, 1), (1, 50), (130, 1), (128, 64))
    ),
    # Logits from nothing to a thousand; pooling as a mean and as a maximum; a mean far from zero; all alike; zero rows.
    *(
        Case(t, scale=s, alpha=a)
        for t in TYPES
        for s, a in ((0.0, 1.0), (1000.0, 1.0), (12.0, 0.0), (12.0, 1e4))
    ),
    *(Case(t, offset=o) for t, o in zip(TYPES, (30.0, 8.0, 8.0), strict=True)),
    *(Case(t, equal=True) for t in TYPES),
    *(Case(t, zero=True, norms=False) for t in TYPES),
    # Denormals, and squares that overflow.
    Case("float32", norms=False, value_scale=1e-39, torch_scale=2.0**100),
    Case("bfloat16", norms=False, value_scale=1e-39, torch_scale=2.0**100),
    Case("float16", norms=False, value_scale=3e-7, torch_scale=2.0**10),
    Case("float32", norms=False, value_scale=1e37, torch_scale=2.0**-100),
    *(Case(t, value_scale=1e-39) for t in ("float32", "bfloat16")),
]
# AddressSanitizer makes the emulator's stack switches slow, and qemu everything.
FEW = [case for case in CASES if case.tokens * case.labels < 10_000][::5]


def _run(
    emulator: Any, program: Path, where: str, case: Any, inputs: Any, folder: Path, **options: int
) -> Any:
    (folder / "in").write_bytes(inputs.raw(case.chosen))
    code = cases.TYPES[case.dtype][0]
    sizes = [
        code,
        case.batch,
        case.tokens,
        case.labels,
        case.width,
        int(case.norms),
        int(case.shared),
    ]
    maps = [cases.MAPS[case.maps], len(case.chosen), int(case.tokens_last), case.scale, case.alpha]
    how = [case.multiprocessors, options.get("reverse", 0), options.get("threads", 1)]
    done = emulator.run(
        program, str(folder / "in"), str(folder / "out"), where, *map(str, [*sizes, *maps, *how])
    )
    assert done.returncode == 0, f"{case}: {done.stdout}{done.stderr}"
    return cases.parse((folder / "out").read_bytes(), case)


def _sources(emulator: Any, main: str) -> list[Path]:
    return [*emulator.kernel("tag_head"), HERE / main]


def _build(emulator: Any, kind: str, **options: str) -> Path:
    return emulator.build(_sources(emulator, "main.cpp"), kind=kind, **options)


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
    program = _build(emulator, kind)
    _check_all(emulator, program, "kernel", CASES if kind == "race" else FEW, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "cxx"), [("address", "g++"), ("plain", CROSS)])
def test_host_reference_is_as_good_as_torch(
    emulator: Any, kind: str, cxx: str, tmp_path: Path
) -> None:
    program = _build(emulator, kind, cxx=cxx)
    _check_all(emulator, program, "host", CASES if cxx == "g++" else FEW, tmp_path)


@pytest.mark.slow
def test_kernels_on_aarch64(emulator: Any, tmp_path: Path) -> None:
    program = _build(emulator, "plain", cxx=CROSS)
    _check_all(emulator, program, "kernel", FEW[::4], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("where", ["kernel", "host"])
@pytest.mark.parametrize("dtype", TYPES)
def test_nan_and_infinity_raise_the_flag(
    emulator: Any, dtype: str, where: str, tmp_path: Path
) -> None:
    """In a token: all labels of that image. In a label: that label. In a bias: the same, in all images."""
    program = _build(emulator, "race")
    for bad in (torch.nan, torch.inf, -torch.inf):
        for norms in (True, False):
            case = Case(
                dtype, 2, 140, 37, 48, norms=norms, maps="none", multiprocessors=1 if norms else 8
            )
            inputs = cases.make_inputs(case)
            clean = _run(emulator, program, where, case, inputs, tmp_path)
            inputs.x[1, 133, 40] = bad
            inputs.t[0, 21, 3] = bad
            inputs.bias[36] = bad
            got = _run(emulator, program, where, case, inputs, tmp_path)
            expected = torch.zeros(2, 37, dtype=torch.uint8)
            expected[1] = 1
            expected[0, [21, 36]] = 1
            assert torch.equal(got.nonfinite, expected)
            assert torch.equal(got.nonfinite != 0, ~got.logits.isfinite())
            assert torch.equal(got.logits[expected == 0], clean.logits[expected == 0])
            assert not got.tags[got.logits.isnan()].any()


@pytest.mark.slow
def test_order_of_warps_and_number_of_threads_change_nothing(emulator: Any, tmp_path: Path) -> None:
    program = _build(emulator, "race")
    for case in (
        Case("float16", 1, 131, 70, 72),
        Case("float32", 2, 131, 70, 72, multiprocessors=1),
    ):
        inputs = cases.make_inputs(case)
        kernels = [
            _run(emulator, program, "kernel", case, inputs, tmp_path, reverse=r) for r in (0, 1)
        ]
        hosts = [
            _run(emulator, program, "host", case, inputs, tmp_path, threads=n)
            for n in (1, 2, 7, 1000)
        ]
        for first, *others in (kernels, hosts):
            assert all(
                torch.equal(a, b) for other in others for a, b in zip(first, other, strict=True)
            )


@pytest.mark.slow
def test_chosen_labels_that_are_none_leave_their_map(emulator: Any, tmp_path: Path) -> None:
    program = _build(emulator, "address")
    case = Case("float16", chosen=(3, 20, -1, 19))
    inputs = cases.make_inputs(case)
    for where in ("kernel", "host"):
        got = _run(emulator, program, where, case, inputs, tmp_path)
        assert (got.maps[:, 1:3] == 7).all()
        exact = cases.predict(inputs, replace(case, chosen=(3, 19)), torch.float64).maps
        assert (got.maps[:, [0, 3]] - exact).abs().max() < 1e-3


@pytest.mark.slow
def test_launcher_names_the_wrong_argument(emulator: Any) -> None:
    done = emulator.run(emulator.build(_sources(emulator, "test_launcher.cpp"), kind="race"))
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr


def _barriers() -> list[int]:
    """Where each barrier and wait of the kernel is."""
    text = (KERNEL / "kernel.cuh").read_text()
    return [
        match.start() for match in re.finditer(r"__syncthreads\(\);|copy_async_wait<0>\(\);", text)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("position", _barriers())
def test_every_barrier_is_needed(emulator: Any, position: int, tmp_path: Path) -> None:
    """Without it the race check ends the program: neither a superfluous barrier nor one that isn't tested."""
    copy = tmp_path / "csrc"
    shutil.copytree(ROOT / "csrc", copy)
    source = copy / "kernels/tag_head/kernel.cuh"
    text = source.read_text()
    source.write_text(text[:position] + re.sub(r"^[^;]*;", "(void)0;", text[position:]))

    def ends_with(plain: str) -> int:
        main = tmp_path / f"mutant_{plain}.cpp"
        main.write_text(MUTANT.replace("PLAIN", plain))
        return int(emulator.run(emulator.build([main], kind="race", csrc=copy)).returncode)

    # the latter has one barrier less
    assert any(ends_with(plain) == 70 for plain in ("false", "true"))


MUTANT = """
#include <vector>
#include "kernels/tag_head/kernel.cuh"
int main() {
  pvlr::TagHeadParams p{};
  p.batch = 1;
  p.tokens = 140;
  p.labels = 16;
  p.width = 136;  // three slices: the last lies where the scores go
  std::vector<__half> x(140 * 136), t(16 * 136);
  std::vector<float> logits(16), maps(16 * 140);
  p.x = x.data();
  p.t = t.data();
  p.x_strides = p.t_strides = {0, 136};
  p.logits = logits.data();
  p.maps = maps.data();
  p.maps_count = 16;
  p.maps_label_stride = 140;
  p.maps_token_stride = 1;
  std::vector<__half> workspace((140 + 16) * 136);
  p.workspace = workspace.data();
  using Shape = pvlr::device::TagHeadShape<__half, 16, 1, 128, PLAIN>;
  return pvlr::device::launch_tag_head<Shape>(p, nullptr).ok() ? 0 : 1;
}
"""
