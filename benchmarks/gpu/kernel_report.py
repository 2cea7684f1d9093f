"""Registers, spills, shared memory and main-loop instructions of the CUDA kernels, from their machine code; no GPU.

    python -m benchmarks.gpu.kernel_report --arch 87 --arch 90 --only float16_64

Compiles every instance with warnings as errors and prints a table in Markdown. Exit status 1 if a kernel uses local
memory (spilled registers) or lacks its tensor-core instructions. Nothing is measured. Needs nvcc with a C++ compiler,
cuobjdump and nvdisasm (pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm).
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from ..common import ROOT, Table, run

FLAGS = ("-std=c++17", "-O3", "--Werror=all-warnings", "-Xcompiler=-Wall,-Wextra,-Werror")
INCLUDES = (f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc/include'}")
KERNELS = ("dual_softmax_attention", "tag_head", "preprocess")
"""Folders of csrc/kernels."""
SHARED = {
    "mma_attention": "{}::kSharedBytes",
    "fp32_attention": "{}::kSharedBytes",
    "tag_head": "{}::kSharedBytes",
    "preprocess_batch": "pvlr::device::kBatchSharedBytes",
}
"""The dynamic shared memory of a function as a C++ expression; ``{}`` is its template arguments. Default: none."""
TENSOR = ("mma_attention", "tag_head")
"""Functions that use tensor cores for two-byte types."""
LARGEST_BLOCK = {75: 64, 80: 163, 86: 99, 87: 163, 89: 99, 90: 227, 100: 227, 110: 227, 120: 99}
"""By compute capability (87 stands for 8.7): the shared memory that a thread block can have, in KiB, from the CUDA C++
Programming Guide 13.0, Technical Specifications per Compute Capability. A kernel that needs more is never launched."""
COLUMNS = {
    "HMMA": ("HMMA",),
    "LDSM": ("LDSM",),
    "LDGSTS": ("LDGSTS",),
    "FMA": ("FFMA", "FADD", "FMUL"),
    "MUFU": ("MUFU",),
    "global": ("LDG", "STG"),
    "shared": ("LDS", "STS"),
    "SHFL": ("SHFL",),
    "BAR": ("BAR",),
}
"""Columns of the main loop, and the instructions counted in each, by the first word of their names."""
_LINE = re.compile(
    r"^\s+/\*([0-9a-f]+)\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_.]*)([^;]*);", re.MULTILINE
)


class CudaError(Exception):
    """A CUDA tool is missing or failed."""


@dataclass(frozen=True)
class Compiled:
    """One kernel in the machine code of one architecture.

    Attributes:
        name, arguments: of the function template.
        dtype: the element type of the tensors.
        registers: per thread.
        local: bytes of local memory per thread: registers that are spilled, or arrays that do not fit in them.
        shared: bytes of shared memory per block, static and dynamic.
        opcodes: the number of instructions in the code by full name, such as ``HMMA.16816.F32``.
        loop: the same of the main loop; empty without a loop. Every instruction counts once, also in branches that are
            rarely taken.
    """

    name: str
    arguments: str
    dtype: str
    capability: int
    registers: int
    local: int
    shared: int
    opcodes: Counter[str]
    loop: Counter[str]

    def problems(self) -> list[str]:
        """Spilled registers, and tensor-core instructions that are missing."""
        found = [f"uses {self.local} bytes of local memory"] if self.local else []
        launched = self.shared <= LARGEST_BLOCK[self.capability] * 1024
        if self.name not in TENSOR or self.dtype == "float32" or not launched:
            return found
        wanted = ["LDSM"]
        if self.capability >= 80:
            wanted += ["HMMA.16816.F32", "LDGSTS"]
        elif self.dtype == "float16":  # Turing's tensor cores do not support bfloat16
            wanted.append("HMMA.1688.F32")
        return found + [
            f"has no {one}"
            for one in wanted
            if not any(name.startswith(one) for name in self.opcodes)
        ]

    def __str__(self) -> str:
        return f"{self.name}<{self.arguments.replace('pvlr::device::', '')}>".replace("> >", ">>")


def main(
    arch: Annotated[
        list[int] | None,
        typer.Option(help=f"Of {', '.join(map(str, LARGEST_BLOCK))}; repeatable. Default: all."),
    ] = None,
    only: Annotated[str, typer.Option(help="Only instances whose file name contains this.")] = "",
) -> int:
    """Compile the kernels and print what they use."""
    capabilities = sorted(set(arch or LARGEST_BLOCK))
    if set(capabilities) - set(LARGEST_BLOCK):
        print(
            f"kernel_report: the supported capabilities are {', '.join(map(str, LARGEST_BLOCK))}",
            file=sys.stderr,
        )
        return 1
    columns = ["kernel", "registers", "spilled, bytes", "shared, bytes", "main loop", *COLUMNS]
    problems = []
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        sources = [
            path for name in KERNELS for path in write_instances(name, work) if only in path.stem
        ]
        try:
            for capability in capabilities:
                kernels = [
                    one for source in sources for one in compile_kernels(source, capability, work)
                ]
                problems += [
                    f"{one} on sm_{capability}: {text}"
                    for one in kernels
                    for text in one.problems()
                ]
                print(
                    f"sm_{capability}\n\n{Table('', columns, [_row(one) for one in kernels]).markdown('---:')}\n"
                )
        except CudaError as error:
            print(f"kernel_report: {error}", file=sys.stderr)
            return 1
    for problem in problems:
        print(problem, file=sys.stderr)
    return int(bool(problems))


def find_tool(name: str) -> str | None:
    """Path of a CUDA program: in CUDA_HOME, in /usr/local/cuda, in a wheel from PyPI, or in PATH."""
    homes = [Path(os.environ[key]) for key in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(key)]
    folders = [home / "bin" for home in [*homes, Path("/usr/local/cuda")]]
    spec = importlib.util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folders += sorted(Path(place).glob("*/bin"))
    found = [folder / name for folder in folders if (folder / name).is_file()]
    return str(found[0]) if found else shutil.which(name)


def write_instances(kernel: str, folder: Path) -> list[Path]:
    """Write the sources that CMake generates from a kernel's ``instance.cu.in`` to a folder of the kernel's name in
    ``folder``, and list them; none without that file."""
    path = ROOT / "csrc/kernels" / kernel / "instance.cu.in"
    template = path.read_text() if path.exists() else ""
    sources = []
    for instance in " ".join(re.findall("^// Instances: (.*)", template, re.MULTILINE)).split():
        kind, _, dim = instance.partition("_")
        sources.append(folder / kernel / f"{kernel}_{instance}.cu")
        sources[-1].parent.mkdir(exist_ok=True)
        sources[-1].write_text(template.replace("@type@", kind).replace("@dim@", dim))
    return sources


def compile_kernels(source: Path, capability: int, work: Path) -> list[Compiled]:
    """Compile the kernels of a source for one architecture (87 is sm_87) with warnings as errors.

    Raises CudaError if it does not compile or a tool is missing.
    """
    cubin = work / f"{source.stem}-{capability}.cubin"
    code = f"-gencode=arch=compute_{capability},code=sm_{capability}"
    _run("nvcc", *FLAGS, *INCLUDES, code, "-cubin", str(source), "-o", str(cubin))
    return read_kernels(cubin, source, capability)


def read_kernels(cubin: Path, source: Path, capability: int) -> list[Compiled]:
    """The kernels of a source in a cubin or an object file for one architecture."""
    resources = _run("cuobjdump", "--dump-resource-usage", str(cubin))
    usage = re.findall(
        r"Function (\w+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", resources
    )
    sass = _functions(_run("cuobjdump", "-sass", str(cubin)))
    names = {symbol: _demangled(symbol) for symbol, *_ in usage}
    expressions = [SHARED.get(name, "0").format(arguments) for name, arguments in names.values()]
    dynamic = dict(
        zip(names, evaluate(f"kernels/{source.parent.name}/kernel.cuh", *expressions), strict=True)
    )
    dtype = source.stem.removeprefix(f"{source.parent.name}_").partition("_")[0]
    kernels = []
    for symbol, registers, stack, shared, local in sorted(usage):
        instructions = _LINE.findall(sass[symbol])
        opcodes = Counter(opcode for _, opcode, _ in instructions)
        sizes = int(registers), int(stack) + int(local), int(shared) + dynamic[symbol]
        kernels.append(
            Compiled(*names[symbol], dtype, capability, *sizes, opcodes, main_loop(instructions))
        )
    return kernels


def main_loop(code: list[tuple[str, str, str]]) -> Counter[str]:
    """The instructions of the main loop by name; none without a loop.

    That is the innermost loop with tensor-core instructions and a barrier, or without such a loop the innermost one
    with the most multiplications. A loop is the code from the target of a backward branch to the branch.

    Args:
        code: (address, opcode, operands) of each instruction, addresses in hexadecimal.
    """
    loops = _loops(code)
    products = [
        place for place, count in loops.items() if _sum(count, "HMMA") and _sum(count, "BAR")
    ]
    candidates = products or list(loops)
    innermost = [
        loops[place]
        for place in candidates
        if not any(_contains(place, other) for other in candidates)
    ]
    return max(
        innermost, key=lambda count: (_sum(count, "HMMA"), _sum(count, "FFMA")), default=Counter()
    )


def _loops(code: list[tuple[str, str, str]]) -> dict[tuple[int, int], Counter[str]]:
    """The instructions of each loop by name, by the indices of its first and last instruction."""
    places = {int(address, 16): index for index, (address, _, _) in enumerate(code)}
    loops = {}
    for end, (_, opcode, operands) in enumerate(code):
        target = re.search(r"0x([0-9a-f]+)\s*$", operands) if opcode.startswith("BRA") else None
        begin = places.get(int(target[1], 16), end) if target else end
        if begin < end:
            loops[begin, end] = Counter(opcode for _, opcode, _ in code[begin : end + 1])
    return loops


def _contains(loop: tuple[int, int], other: tuple[int, int]) -> bool:
    return other != loop and loop[0] <= other[0] and other[1] <= loop[1]


@functools.cache
def evaluate(header: str, *expressions: str) -> list[int]:
    """The values of C++ expressions that need ``header``, computed by a small program without a GPU."""
    if set(expressions) <= {"0"}:
        return [0] * len(expressions)
    lines = [f'  std::printf("%zu\\n", static_cast<std::size_t>({one}));' for one in expressions]
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "probe.cu"
        program = Path(folder) / "probe"
        source.write_text(
            f'#include <cstdio>\n#include "{header}"\nint main() {{\n' + "\n".join(lines) + "\n}\n"
        )
        _run("nvcc", "-std=c++17", *INCLUDES, str(source), "-o", str(program))
        return [int(line) for line in subprocess.check_output([program], text=True).split()]


def _run(tool: str, *arguments: str) -> str:
    path = find_tool(tool)
    if path is None:
        raise CudaError(
            f"{tool} not found: install the CUDA toolkit, or pip install nvidia-cuda-{tool}"
        )
    # cuobjdump looks for it
    folders = [str(Path(found).parent) for found in [find_tool("nvdisasm")] if found]
    environment = {**os.environ, "PATH": os.pathsep.join([*folders, os.environ.get("PATH", "")])}
    done = subprocess.run(
        [path, *arguments], capture_output=True, text=True, env=environment, check=False
    )
    if done.returncode:
        raise CudaError(
            f"{tool} {' '.join(arguments[-3:])}: {(done.stderr or done.stdout).strip()}"
        )
    return done.stdout


def _functions(sass: str) -> dict[str, str]:
    """The disassembly of each function by symbol."""
    parts = re.split(r"^\s*Function : ", sass, flags=re.MULTILINE)[1:]
    return {part.split(maxsplit=1)[0]: part for part in parts}


def _demangled(symbol: str) -> tuple[str, str]:
    text = subprocess.run(
        ["c++filt", symbol], capture_output=True, text=True, check=True
    ).stdout.strip()
    found = re.match(r"(?:void )?(?:\w+::)*(\w+)(?:<(.*)>)?\(", text)
    if not found:
        raise CudaError(f"cannot parse the kernel name {text}")
    return found[1], (found[2] or "").strip()


def _row(one: Compiled) -> list[str]:
    loop = [_sum(one.loop, *words) for words in COLUMNS.values()]
    return [f"`{one}`", *map(str, (one.registers, one.local, one.shared, one.loop.total(), *loop))]


def _sum(counts: Counter[str], *words: str) -> int:
    return sum(count for opcode, count in counts.items() if opcode.split(".")[0] in words)


if __name__ == "__main__":
    run(main)
