"""The CUDA sources of batch preprocessing, run on the CPU: values (float64), colours, races, bounds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from . import cases

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[3]

Case, Picture = cases.Case, cases.Picture

YUV = [(f, m, r) for f in ("nv12", "i420") for m in cases.MATRICES for r in cases.RANGES]


def _every_format(height: int, width: int, **more: Any) -> list[Any]:
    packed = [
        Picture(name, height, width, seed=i, **more) for i, name in enumerate(cases.FORMATS[:5])
    ]
    return packed + [Picture(f, height, width, matrix=m, range=r, **more) for f, m, r in YUV]


def _cases(dtype: str) -> list[Any]:
    return [
        # Sizes from one pixel on, downwards and upwards, all in one launch.
        Case(dtype, (27, 33), (*_every_format(1, 1), *_every_format(3, 5))),
        Case(dtype, (20, 70), (*_every_format(101, 203), *_every_format(46, 64))),
        # Strided rows, aligned or not; rows that run upwards.
        Case(
            dtype,
            (19, 35),
            (*_every_format(45, 67, spare=13), *_every_format(44, 68, spare=12, upwards=True)),
        ),
        Case(dtype, (9, 40), (*_every_format(40, 96, lead=1), *_every_format(40, 96, lead=2))),
        # Letterbox, regions of interest at every edge and of one pixel, odd corners, a frame as it is.
        Case(
            dtype,
            (32, 40),
            (
                *_every_format(50, 75, region=(0, 5, 40, 22)),
                *_every_format(50, 75, crop=(31, 17, 44, 33), region=(7, 0, 26, 32)),
            ),
        ),
        Case(
            dtype,
            (17, 34),
            tuple(
                Picture(name, 61, 79, crop=crop, region=region)
                for name in ("bgr", "nv12", "i420", "gray")
                for crop, region in (
                    ((0, 0, 1, 1), (33, 16, 1, 1)),
                    ((78, 60, 1, 1), (0, 0, 34, 17)),
                    ((0, 0, 34, 17), None),
                    ((45, 44, 34, 17), None),
                    ((3, 0, 76, 61), (1, 2, 32, 15)),
                    ((0, 59, 79, 2), (0, 8, 34, 1)),
                    ((77, 0, 2, 61), (16, 0, 2, 17)),
                )
            ),
        ),
    ]


LARGE = [
    Case(
        "float32", (64, 64), (Picture("bgr", 479, 641), Picture("nv12", 480, 640, matrix="bt709"))
    ),
    Case("float16", (72, 96), (Picture("nv12", 1080, 1920, region=(0, 9, 96, 54)),)),
    Case("float32", (1, 1), (Picture("rgba", 300, 2000),)),  # many chunks of one window
    # The longest sides.
    Case("float32", (1, 1), (Picture("gray", 16384, 5), Picture("gray", 5, 16384))),
    Case("float16", (1, 16384), (Picture("gray", 2, 16384), Picture("gray", 1, 7))),
    Case("float16", (16384, 1), (Picture("gray", 16384, 2), Picture("gray", 7, 1))),
    # Powers of two, and as many outputs as inputs.
    Case(
        "float32",
        (16, 64),
        (Picture("rgb", 128, 512), Picture("i420", 16, 64), Picture("bgr", 8, 32)),
    ),
]
CASES = [case for dtype in cases.TYPES for case in _cases(dtype)] + LARGE


def _sources(emulator: Any, main: str = "main.cpp") -> list[Path]:
    return [*emulator.kernel("preprocess"), HERE / main]


def _run(
    emulator: Any, program: Path, where: str, case: Any, folder: Path, reverse: int = 0
) -> NDArray[np.float64]:
    (folder / "in").write_bytes(case.raw())
    done = emulator.run(program, str(folder / "in"), str(folder / "out"), where, str(reverse))
    assert done.returncode == 0, f"{case}: {done.stdout}{done.stderr}"
    result: NDArray[np.float64] = cases.read_output(case, (folder / "out").read_bytes())
    return result


def _check_all(emulator: Any, program: Path, where: str, some: list[Any], folder: Path) -> None:
    def check(case: Any, own: Path) -> None:
        cases.assert_close(case, _run(emulator, program, where, case, own), cases.define(case))

    emulator.for_all(check, some, folder)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["race", "address"])
def test_kernel_is_the_definition(emulator: Any, kind: str, tmp_path: Path) -> None:
    """No race, no unwritten shared memory, no access out of bounds or undefined behaviour, and the right values."""
    program = emulator.build(_sources(emulator), kind=kind)
    _check_all(
        emulator, program, "kernel", CASES if kind == "race" else CASES[:6] + LARGE[:1], tmp_path
    )


@pytest.mark.slow
def test_host_twin_is_the_definition(emulator: Any, tmp_path: Path) -> None:
    program = emulator.build(_sources(emulator), kind="address")
    _check_all(emulator, program, "host", CASES, tmp_path)


@pytest.mark.slow
def test_on_aarch64(emulator: Any, tmp_path: Path) -> None:
    program = emulator.build(_sources(emulator), kind="plain", cxx="aarch64-linux-gnu-g++")
    for where in ("host", "kernel"):
        _check_all(emulator, program, where, _cases("float32")[:3], tmp_path / where)


@pytest.mark.slow
def test_order_of_warps_changes_nothing(emulator: Any, tmp_path: Path) -> None:
    program = emulator.build(_sources(emulator), kind="race")
    case = _cases("float32")[4]
    first, second = (_run(emulator, program, "kernel", case, tmp_path, reverse=r) for r in (0, 1))
    assert np.array_equal(first, second)


@pytest.mark.slow
def test_more_pictures_than_a_launch_takes(emulator: Any, tmp_path: Path) -> None:
    program = emulator.build(_sources(emulator), kind="race")
    case = Case("float16", (3, 4), tuple(Picture("bgr", 5, 3 + i, seed=i) for i in range(70)))
    cases.assert_close(case, _run(emulator, program, "kernel", case, tmp_path), cases.define(case))


@pytest.mark.slow
@pytest.mark.parametrize("where", ["kernel", "host"])
@pytest.mark.parametrize(("name", "matrix", "range_"), YUV)
def test_colours(
    emulator: Any, name: str, matrix: str, range_: str, where: str, tmp_path: Path
) -> None:
    """Every level of luma and of chroma: the standard's formula in float64, and bit for bit what OpenCV does."""
    planes = [np.arange(256, dtype=np.uint8).repeat(4).reshape(32, 32).repeat(2, 0).repeat(2, 1)]
    chroma = np.random.default_rng(1).integers(0, 256, (32, 64), dtype=np.uint8)
    chroma.flat[:8] = (0, 0, 255, 255, 0, 255, 255, 0)
    planes += [chroma] if name == "nv12" else [chroma[:, 0::2], chroma[:, 1::2]]
    picture = Picture(name, 64, 64, matrix=matrix, range=range_, planes=planes)
    case = Case("float32", (64, 64), (picture,))
    program = emulator.build(_sources(emulator), kind="address")
    normalised = _run(emulator, program, where, case, tmp_path)[0].transpose(1, 2, 0)
    got = normalised * cases.STD + cases.MEAN

    y, u, v = cases.samples(picture)
    luma, red_v, green_u, green_v, blue_u = cases.coefficients(picture)
    light = luma * np.maximum(y - (16 if range_ == "limited" else 0), 0)
    exact = np.stack(
        [light + red_v * v, light + green_u * u + green_v * v, light + blue_u * u], axis=-1
    )
    opencv = (matrix, range_) == ("bt601", "limited")
    # OpenCV cuts the factors off after three digits.
    assert np.abs(got - np.clip(exact, 0, 255)).max() < (0.75 if opencv else 0.501)
    if opencv:
        flat = np.concatenate([plane.reshape(-1, 64) for plane in planes])
        code = cv2.COLOR_YUV2RGB_NV12 if name == "nv12" else cv2.COLOR_YUV2RGB_I420
        assert np.abs(got - cv2.cvtColor(flat, code)).max() < 1e-3


@pytest.mark.slow
def test_launcher_names_the_wrong_argument(emulator: Any) -> None:
    done = emulator.run(emulator.build(_sources(emulator, "test_launcher.cpp"), kind="address"))
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stdout + done.stderr


PLANTED = {
    "no barrier before the line is read": (
        r"__syncwarp\(\);(?=\s+const int end)",
        "",
        "uninitialised",
    ),
    "no barrier before the line is written again": (
        r"__syncwarp\(\);(?=\s+\}\s+const float inverse)",
        "",
        "race",
    ),
    "a window that is one column short": (
        r"x < task\.end\)",
        "x + kQuad < task.end)",
        "uninitialised",
    ),
    "a whole word at the edge": (
        r"x \+ kQuad <= frame\.width",
        "x < frame.width",
        "AddressSanitizer",
    ),
    "a row too many": (r"y < task\.down\.end", "y <= task.down.end", "AddressSanitizer"),
}


@pytest.mark.slow
@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bugs_are_caught(emulator: Any, bug: str, tmp_path: Path) -> None:
    pattern, replacement, report = PLANTED[bug]
    copy = tmp_path / "csrc"
    shutil.copytree(ROOT / "csrc", copy)
    source = copy / "kernels/preprocess/kernel.cuh"
    spoilt, found = re.subn(pattern, replacement, source.read_text())
    assert found == 1
    source.write_text(spoilt)
    main = tmp_path / "mutant.cpp"
    main.write_text(MUTANT)
    kind = "address" if report == "AddressSanitizer" else "race"
    done = emulator.run(emulator.build([main], kind=kind, csrc=copy))
    assert done.returncode != 0
    assert report in done.stderr


MUTANT = """
#include <vector>
#include "kernels/preprocess/kernel.cuh"
int main() {  // a grey frame whose last word is cut off
  std::vector<unsigned char> frame(29 * 348 + 347);
  std::vector<float> out(3 * 10 * 40);
  pvlr::device::BatchArguments a{};
  pvlr::BatchFrame& entry = a.frames[0];
  entry.planes[0] = frame.data();
  entry.pitches[0] = 348;
  entry.format = pvlr::PixelFormat::kGray;
  entry.width = 347;
  entry.height = 30;
  entry.crop = {0, 0, 347, 30};
  entry.region = {0, 0, 40, 10};
  a.dst = out.data();
  a.dst_width = 40;
  a.dst_height = 10;
  return pvlr::device::launch_preprocess<float>(a, 1, nullptr).ok() ? 0 : 1;
}
"""
