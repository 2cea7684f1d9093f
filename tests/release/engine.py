"""Containers of the tests: buildah and podman with a store of their own, and a Debian as base."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

TOOLS = ("buildah", "mmdebstrap", "podman", "podman-compose")
MISSING = [tool for tool in TOOLS if shutil.which(tool) is None]
WHY_NOT = (
    f"needs root and Debian's {', '.join(MISSING or TOOLS)}" if MISSING or os.geteuid() else ""
)
# How to reach the network from here, for the time of a build.
NETWORK = ("/etc/pip.conf", "/etc/ssl/certs/ca-certificates.crt")
BASE_PACKAGES = "python3,python3-venv,python-is-python3,ca-certificates"


class Engine:
    """Commands of podman and buildah on images in ``folder``; the machine's own images are not seen.

    Without the overlay file system, or with STORAGE_DRIVER=vfs, each layer and container is a copy.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        overlay = "\toverlay\n" in Path("/proc/filesystems").read_text()
        driver = "overlay" if overlay else "vfs"
        storage = f'driver = "{driver}"\ngraphroot = "{folder}/store"\nrunroot = "{folder}/run"\n'
        (folder / "storage.conf").write_text(f"[storage]\n{storage}")
        # crun refuses the mixed cgroups that some machines have.
        runtime = 'runtime = "runc"\n' if shutil.which("runc") else ""
        (folder / "containers.conf").write_text(f"[engine]\n{runtime}")
        self._environment = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
            "CONTAINERS_CONF": str(folder / "containers.conf"),
            "PODMAN_IGNORE_CGROUPSV1_WARNING": "1",
        }

    def call(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def run(self, *command: str | Path) -> str:
        """What a command prints that must succeed."""
        done = self.call(*command)
        assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout.strip()

    def has(self, image: str) -> bool:
        return self.call("buildah", "inspect", "--type=image", image).returncode == 0

    def build(self, tag: str, file: Path, context: Path, *arguments: str) -> None:
        """Build an image without a container runtime, as ``docker build`` does with one."""
        mounts = [f"--volume={path}:{path}:ro" for path in NETWORK if Path(path).exists()]
        limits = [f"--ulimit={name}=20000:20000" for name in ("nofile", "nproc")]
        values = [f"--build-arg={argument}" for argument in arguments]
        command = ["buildah", "build", "--isolation=chroot", "--format=docker"]
        self.run(*command, *mounts, *limits, *values, f"--tag={tag}", f"--file={file}", context)

    def make_base(self) -> list[str]:
        """Arguments of the Dockerfile for a minimal Debian 13, or for the image PVLR_TEST_BASE."""
        if base := os.environ.get("PVLR_TEST_BASE"):
            return [f"BASE={base}"]
        arguments = ["BASE=localhost/base", "HEADERS=python3-dev"]
        if self.has("localhost/base"):
            return arguments
        archive = self.folder / "base.tar"
        option = '--aptopt=Acquire::Check-Valid-Until "false"'  # mirrors may be snapshots
        lean = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "locale", "man")]
        options = ["--variant=minbase", f"--include={BASE_PACKAGES}", option, *lean]
        self.run("mmdebstrap", *options, "trixie", archive)
        container = self.run("buildah", "from", "scratch")
        self.run("buildah", "add", "--quiet", container, archive, "/")
        self.run("buildah", "commit", "--quiet", "--rm", container, "localhost/base")
        archive.unlink()
        return arguments

    def close(self) -> None:
        self.call("podman", "rm", "--all", "--force", "--volumes")
        self.call("podman", "rmi", "--all", "--force")
