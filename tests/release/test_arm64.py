"""The wheel for AArch64 in an emulated Debian, with OpenVINO's own wheel for AArch64.

Needs Debian 13, root, PVLR_TEST_AARCH64=1, the packages of csrc/wheel.sh, and
``apt-get install mmdebstrap arch-test qemu-user-binfmt g++-aarch64-linux-gnu``. Takes a quarter of an hour on an idle
machine. PVLR_TEST_ARM64 names a folder that keeps wheel and system.
"""

from __future__ import annotations

import faulthandler
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk import Tagger

ROOT = Path(__file__).parents[2]
PHOTOS = ROOT / "docs/images"
NAMES = ["astronaut", "chelsea", "coffee"]
EMULATOR = Path("/proc/sys/fs/binfmt_misc/qemu-aarch64")
SCORES = """
import json, sys
from pvlr_sdk import Tagger
tagger = Tagger(precision="fp32")
for path in sys.argv[1:]:
    print(json.dumps(tagger.predict(path).scores.tolist()))
"""
# Parts that need neither another machine nor other packages.
QUICK = ["tests/pvlr_sdk/result", "tests/pvlr_sdk/kernels"]


def _why_not() -> str:
    if os.environ.get("PVLR_TEST_AARCH64") != "1":
        return "takes minutes: set PVLR_TEST_AARCH64=1"
    if os.geteuid() or not shutil.which("mmdebstrap"):
        return "needs root and mmdebstrap"
    if not EMULATOR.exists():
        mount = "mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc"
        return f"no {EMULATOR}: {mount} && /usr/lib/systemd/systemd-binfmt"
    return ""


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(_why_not()), reason=_why_not()),
]


class System:
    """A Debian for AArch64 in a folder, with the checkout at /src and the wheel at /opt/site."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "root"
        self._site = folder / "site"
        if not self._site.exists():
            self._make(folder)

    def _make(self, folder: Path) -> None:
        environment = {**os.environ, "PYTHON": "/usr/bin/python3"}
        script = ROOT / "csrc/wheel.sh"
        subprocess.run([script, "build", "aarch64", folder / "dist"], env=environment, check=True)
        packages = "--include=python3,libgl1,libglib2.0-0t64"
        option = '--aptopt=Acquire::Check-Valid-Until "false"'  # mirrors may be snapshots
        target = ["--architectures=arm64", "--variant=minbase", packages, option, "trixie"]
        subprocess.run(["mmdebstrap", *target, self.root], check=True)
        (wheel,) = (folder / "dist").iterdir()
        arguments = ["--no-compile", "--target", self._site, f"{wheel}[serve,sign]"]
        tools = ["hypothesis", "onnx", "pytest", "pytest-xdist", "pyyaml", "requests"]
        install = [script, "fetch", "install", "aarch64", "3.13", *arguments, *tools]
        subprocess.run(install, env=environment, check=True)

    def run(self, *command: str) -> str:
        """What a command prints inside the system; mounts are gone after it."""
        mounts = (
            'mkdir -p "$0/src" "$0/opt/site"; mount --bind "$1" "$0/src"; mount -t proc proc "$0/proc"; '
            'mount --bind "$2" "$0/opt/site"; mount --rbind /dev "$0/dev"; mount -t tmpfs tmpfs "$0/tmp"; '
            'mount --rbind /sys "$0/sys"; '  # where hwloc of OpenVINO finds the CPUs; without, it crashes
            'shift 2; exec chroot "$0" "$@"'
        )
        values = ["HOME=/root", "LANG=C.UTF-8", "PATH=/usr/bin:/bin", "PYTHONPATH=/opt/site"]
        inside = ["/usr/bin/env", "-i", *values, "PYTHONDONTWRITEBYTECODE=1", *command]
        shell = ["unshare", "--mount", "sh", "-ec", mounts, self.root, ROOT, self._site]
        done = subprocess.run([*shell, *inside], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout[-5000:]}\n{done.stderr[-5000:]}"
        return done.stdout


@pytest.fixture(autouse=True)
def an_hour() -> None:
    """Instead of ten minutes for each test: emulated, a frame in int8 takes many seconds."""
    faulthandler.dump_traceback_later(3600, exit=True)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> System:
    kept = os.environ.get("PVLR_TEST_ARM64")
    return System(Path(kept) if kept else tmp_path_factory.mktemp("arm64"))


def test_it_tags_a_photo(system: System) -> None:
    assert system.run("uname", "-m") == "aarch64\n"
    assert "person" in system.run(
        "python3", "-m", "pvlr_sdk", "tag", "/src/docs/images/astronaut.jpg"
    )


def test_the_doctor_finds_no_problem(system: System) -> None:
    report = json.loads(system.run("python3", "-m", "pvlr_sdk", "doctor", "--json"))
    assert (report["system"]["machine"], report["problems"]) == ("aarch64", [])


def test_scores_in_fp32_are_those_of_this_machine(system: System) -> None:
    """Within what docs/stability.md promises for a plan in fp32."""
    photos = [f"/src/docs/images/{name}.jpg" for name in NAMES]
    lines = system.run("python3", "-c", SCORES, *photos).splitlines()
    with Tagger(precision="fp32") as tagger:
        here = [tagger.predict(PHOTOS / f"{name}.jpg").scores for name in NAMES]
    assert np.abs(np.array([json.loads(line) for line in lines]) - here).max() < 1e-5


def test_a_quick_part_of_the_suite_passes(system: System) -> None:
    """Of the wheel, not of the checkout, whose compiled core is for another machine."""
    script = (
        "rm -rf /tmp/suite; mkdir /tmp/suite; cp -r /src/tests /src/docs /src/pyproject.toml /tmp/suite;"
        f"cd /tmp/suite && python3 -m pytest -q -p no:cacheprovider {' '.join(QUICK)}"
    )
    assert " passed" in system.run("sh", "-ec", script)
