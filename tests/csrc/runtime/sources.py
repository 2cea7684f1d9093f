"""Compiles libpvlr's sources with an engine of the tests' own (fake_engine/engine.cpp) in place of OpenVINO.

All of the program is then compiled with a sanitizer; OpenVINO's libraries are not, and hide or invent errors.
"""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from ..library import ROOT

FAKE = Path(__file__).parent / "fake_engine"
RUNTIME = ROOT / "csrc/runtime"
# All of the library that is not for one engine.
LIBRARY = [
    *RUNTIME.glob("*.cpp"),
    *RUNTIME.glob("bundle/*.cpp"),
    *RUNTIME.glob("trust/*.cpp"),
    *ROOT.glob("csrc/host/preprocess/*.cpp"),
]
LIBRARY += [RUNTIME / "engine/no_tensorrt.cpp"]
WARNINGS = ["-Wall", "-Wextra", "-Wshadow", "-Werror"]
FOLDERS = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'csrc/include'}"]


def clang() -> str:
    """The newest clang++."""
    found = [
        path
        for path in map(shutil.which, ["clang++", *(f"clang++-{v}" for v in range(30, 13, -1))])
        if path
    ]
    return found[0] if found else "clang++"


class Sources:
    """Builds programs; a source is compiled once, those of the library together but for those that tests change."""

    def __init__(
        self,
        folder: Path,
        compiler: str,
        compile_flags: Iterable[str],
        link_flags: Iterable[str],
        *changed: Path,
    ) -> None:
        self.folder, self._changed = folder, changed
        self._compiler = [compiler, "-std=c++17", "-O1", "-g1", "-pthread"]
        self._compile_flags, self._link_flags = [*compile_flags], [*link_flags]
        self._objects: dict[tuple[Path, str], Path] = {}

    def check(self, main: str) -> None:
        """Skip the test unless a small program compiles, and runs to its end."""
        program = self.folder / "probe"
        headers = "".join(
            f"#include <{name}>\n" for name in ("nlohmann/json.hpp", "openssl/evp.h", "png.h")
        )
        (self.folder / "probe.cpp").write_text(headers + main)
        command = [
            *self._compiler,
            *self._compile_flags,
            *self._link_flags,
            self.folder / "probe.cpp",
            "-o",
            program,
        ]
        for step in (command, [program, "-runs=1"]):
            try:
                subprocess.run(step, check=True, capture_output=True, text=True)
            except (OSError, subprocess.CalledProcessError) as error:
                reason = getattr(error, "stderr", "") or str(error)
                pytest.skip(
                    f"no sanitized programs on this machine; .ci/run lists the packages ({reason[:200]})"
                )

    def program(
        self, name: str, sources: list[Path], changes: Mapping[str, tuple[str, str]] | None = None
    ) -> Path:
        """The program of FAKE/name.cpp and ``sources``; ``changes`` replaces a text of a file."""
        own = dict(changes or {})
        together = [one for one in sources if RUNTIME in one.parents and one not in self._changed]
        library = self.folder / "library.cpp"
        library.write_text("".join(f'#include "{source}"\n' for source in sorted(together)))
        objects = [self._object(FAKE / f"{name}.cpp", None)]
        # takes longer to compile than to run
        objects += [self._object(library, None, "-O0")] if together else []
        objects += [
            self._object(source, own.pop(str(source.relative_to(ROOT)), None))
            for source in sources
            if source not in together
        ]
        assert not own
        program = self.folder / f"{name}-{len(changes or ())}"
        libraries = ["-lcrypto", "-lpng"]
        subprocess.run(
            [*self._compiler, *self._link_flags, *objects, *libraries, "-o", program], check=True
        )
        return program

    def _object(self, source: Path, change: tuple[str, str] | None, *options: str) -> Path:
        text = source.read_text()
        if change:
            assert text.count(change[0]) == 1, f"{source.name} has no '{change[0]}'"
            text = text.replace(*change)
        key = source, text
        if key not in self._objects:
            made = self.folder / f"{len(self._objects)}-{source.name}"
            made.write_text(text)
            flags = [
                *WARNINGS,
                *self._compile_flags,
                *options,
                *FOLDERS,
                f"-iquote{source.parent}",
                f'-DPVLR_VERSION="{_version()}"',
            ]
            subprocess.run(
                [*self._compiler, *flags, "-c", made, "-o", made.with_suffix(".o")], check=True
            )
            self._objects[key] = made.with_suffix(".o")
        return self._objects[key]


@functools.cache
def _version() -> str:
    (version,) = re.findall(
        r'^__version__ = "(.*)"', (ROOT / "pvlr_sdk/_util/version.py").read_text(), re.MULTILINE
    )
    return version
