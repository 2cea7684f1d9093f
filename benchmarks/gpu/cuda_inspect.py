"""Compiles CUDA sources and inspects the machine code: registers, spills, shared memory and instructions."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..common import ROOT
from .hot_loop import Instruction, parse

FLAGS = ("-std=c++17", "-O3", "--Werror=all-warnings", "-Xcompiler=-Wall,-Wextra,-Werror")
INCLUDES = (f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc/include'}")
_PTXAS = r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads.*?Used (\d+) registers"


class CudaError(Exception):
    """A CUDA tool is missing or failed."""


@dataclass(frozen=True)
class Compiled:
    """One kernel in the machine code of one architecture; sizes in bytes.

    ``name`` and ``arguments`` are those of the function template; ``opcodes`` counts the instructions in the code (not
    how often they run), by full names such as ``HMMA.16816.F32``. ``code`` is the machine code itself.
    """

    name: str
    arguments: str
    capability: int
    threads: int
    registers: int
    spilled: int
    stack: int
    static_shared: int
    opcodes: Counter[str]
    code: tuple[Instruction, ...] = ()


def find_tool(name: str) -> str | None:
    """Path of a CUDA program: in CUDA_HOME, in /usr/local/cuda, in a wheel from PyPI, or in PATH."""
    homes = [Path(os.environ[key]) for key in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(key)]
    folders = [home / "bin" for home in [*homes, Path("/usr/local/cuda")]]
    spec = importlib.util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or []) if spec else []:
        folders += sorted(Path(place).glob("*/bin"))
    found = [folder / name for folder in folders if (folder / name).is_file()]
    return str(found[0]) if found else shutil.which(name)


def compile_kernels(source: Path, capability: int, work: Path) -> list[Compiled]:
    """Compile the kernels of a source for one architecture (87 is sm_87) with warnings as errors.

    Raises CudaError if it does not compile or a tool is missing.
    """
    cubin = work / f"{source.stem}-{capability}.cubin"
    code = f"-gencode=arch=compute_{capability},code=sm_{capability}"
    messages = _run("nvcc", *FLAGS, *INCLUDES, "-Xptxas=-v", code, "-cubin", str(source), "-o", str(cubin)).stderr
    usage = _usage(messages)
    threads = _threads(_run("cuobjdump", "-elf", str(cubin)).stdout)
    code = _code(_run("cuobjdump", "-sass", str(cubin)).stdout)
    kernels = []
    for symbol, (spilled, stack, registers, shared) in sorted(usage.items()):
        name, arguments = _demangled(symbol)
        known = (name, arguments, capability, threads[symbol], registers, spilled, stack, shared)
        opcodes = Counter(one.opcode for one in code[symbol])
        kernels.append(Compiled(*known, opcodes, tuple(code[symbol])))
    return kernels


def write_instances(kernel: str, folder: Path, csrc: Path = ROOT / "csrc") -> list[Path]:
    """Write the sources that CMake generates from a kernel's ``instance.cu.in``, and list them; none without one."""
    path = csrc / "kernels" / kernel / "instance.cu.in"
    template = path.read_text() if path.exists() else ""
    sources = []
    for instance in " ".join(re.findall("^// Instances: (.*)", template, re.MULTILINE)).split():
        kind, _, dim = instance.partition("_")
        sources.append(folder / f"{kernel}_{instance}.cu")
        sources[-1].write_text(template.replace("@type@", kind).replace("@dim@", dim))
    return sources


def evaluate(header: str, expressions: Sequence[str], work: Path) -> list[int]:
    """The values of C++ expressions that need ``header``, computed by a small program without a GPU."""
    source, program = work / "probe.cu", work / "probe"
    lines = [f'  std::printf("%zu\\n", static_cast<std::size_t>({one}));' for one in expressions]
    source.write_text(f'#include <cstdio>\n#include "{header}"\nint main() {{\n' + "\n".join(lines) + "\n}\n")
    _run("nvcc", "-std=c++17", *INCLUDES, str(source), "-o", str(program))
    done = subprocess.run([program], capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


def tool_versions() -> dict[str, str]:
    """Versions of the compiler and of the disassembler."""
    versions = {}
    for tool in ("nvcc", "cuobjdump"):
        found = re.search(r"V(\d[\d.]+)", _run(tool, "--version").stdout)
        versions[tool] = found[1] if found else "unknown"
    return versions


def _run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = find_tool(tool)
    if path is None:
        raise CudaError(f"{tool} not found: install the CUDA toolkit, or pip install nvidia-cuda-{tool}")
    folders = [str(Path(found).parent) for found in [find_tool("nvdisasm")] if found]  # cuobjdump looks for it
    environment = {**os.environ, "PATH": os.pathsep.join([*folders, os.environ.get("PATH", "")])}
    done = subprocess.run([path, *arguments], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise CudaError(f"{tool} {arguments[-3]}: {(done.stderr or done.stdout).strip()}")
    return done


def _usage(messages: str) -> dict[str, tuple[int, int, int, int]]:
    """Resources that ptxas -v reports: (spilled, stack, registers, static shared memory) by symbol."""
    usage = {}
    for part in re.split(r"Compiling entry function '", messages)[1:]:
        found = re.search(_PTXAS, part, re.DOTALL)
        if not found:
            raise CudaError("the output of ptxas is not understood; this nvcc may be too new for the report")
        stack, stores, loads, registers = map(int, found.groups())
        shared = re.search(r"(\d+) bytes smem", part)
        usage[part.split("'", 1)[0]] = (stores + loads, stack, registers, int(shared[1]) if shared else 0)
    return usage


def _threads(elf: str) -> dict[str, int]:
    """Threads per block by symbol, from the launch bounds of the kernels."""
    threads = {}
    for part in re.split(r"^\.nv\.info\.", elf, flags=re.MULTILINE)[1:]:
        found = re.search(r"EIATTR_MAX_THREADS\s+Format:\s+\w+\s+Value:\s+0x(\w+) 0x(\w+) 0x(\w+)", part)
        if not found:
            raise CudaError(f"{part.split()[0]} has no __launch_bounds__ to read its block size from")
        x, y, z = (int(number, 16) for number in found.groups())
        threads[part.split()[0]] = x * y * z
    return threads


def _code(sass: str) -> dict[str, list[Instruction]]:
    """Instructions by symbol."""
    parts = re.split(r"^\s*Function : ", sass, flags=re.MULTILINE)[1:]
    return {part.split(maxsplit=1)[0]: parse(part) for part in parts}


def _demangled(symbol: str) -> tuple[str, str]:
    """The name of a function template and its arguments."""
    text = subprocess.run(["c++filt", symbol], capture_output=True, text=True, check=True).stdout.strip()
    found = re.match(r"(?:void )?(?:\w+::)*(\w+)(?:<(.*)>)?\(", text)
    if not found:
        raise CudaError(f"cannot parse the kernel name {text}")
    return found[1], (found[2] or "").strip()
