"""Bank conflicts of the kernels, counted by the thread emulator (tests/emulator/banks.h).

Needs g++ and CUDA's headers.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from ..common import ROOT
from .cuda_inspect import CudaError, find_tool, write_instances

KERNELS = ("dual_softmax_attention", "tag_head")
CALLS = (
    *(f"attention {tokens} {labels} {dim}" for tokens, labels in ((96, 300), (64, 20)) for dim in (32, 64, 96, 128)),
    *(f"tag_head 160 {labels} 256 {last}" for labels in (80, 600) for last in ("tokens_last", "labels_last")),
)
"""Arguments of bank_conflicts.cpp: sizes that use every shape of the kernels."""
_FLAGS = ("-std=c++17", "-O1", "-fno-strict-aliasing", "-DPVLR_SIMT=80")


def count(calls: tuple[str, ...], work: Path, csrc: Path = ROOT / "csrc") -> list[dict[str, Any]]:
    """Phases and conflicts of each call, with the sources in ``csrc``. Builds the emulator in ``work``.

    Raises:
        CudaError: CUDA's headers or the compiler are missing, or a program fails.
    """
    program = _build(work, csrc)
    results = []
    for call in calls:
        phases, conflicts = map(int, _run([str(program), *call.split()]).split())
        results.append({"call": call, "phases": phases, "conflicts": conflicts})
    return results


def _build(work: Path, csrc: Path) -> Path:
    nvcc = find_tool("nvcc")
    if nvcc is None:
        raise CudaError("nvcc not found: CUDA's headers are beside it")
    headers = Path(nvcc).resolve().parents[1] / "include"
    includes = [f"-I{csrc}", f"-I{csrc / 'include'}", f"-I{ROOT / 'tests'}", f"-isystem{headers}"]
    # The emulator itself must not be instrumented, and the linker must not add the sanitizer's library.
    kernels = [Path(__file__).with_suffix(".cpp")]
    kernels += [source for name in KERNELS for source in _sources(name, work, csrc)]
    hosts = [source for name in KERNELS for source in (csrc / "host" / name).glob("*.cpp")]
    plain = [*(ROOT / "tests/emulator").glob("*.cpp"), *hosts]
    objects = []
    for sources, flags in ((kernels, ["-fsanitize=thread"]), (plain, [])):
        for source in sources:
            objects.append(work / f"{source.parent.name}-{source.name}.o")
            command = ["g++", *_FLAGS, *flags, *includes, "-w", "-xc++", "-c", str(source), "-o", str(objects[-1])]
            _run(command)
    # Only float16 is called, so the instances of the other types are left out.
    missing = "-Wl,--unresolved-symbols=ignore-in-object-files"
    _run(["g++", "-static", missing, *map(str, objects), "-o", str(work / "bank_conflicts")])
    return work / "bank_conflicts"


def _sources(name: str, work: Path, csrc: Path) -> list[Path]:
    """A kernel's launcher and its instances of float16."""
    instances = [path for path in write_instances(name, work, csrc) if "_float16" in path.name]
    return [csrc / f"kernels/{name}/launcher.cu", *instances]


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise CudaError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise CudaError(f"{' '.join(command[:2])}: {done.stderr.strip()}")
    return done.stdout
