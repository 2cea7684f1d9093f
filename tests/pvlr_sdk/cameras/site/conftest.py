"""A machine for services: a real systemd in new namespaces (systemd.sh)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk.cameras.site import Site, SiteConfig

ROOT = Path(__file__).parents[4]
NAMESPACES = ["unshare", "--mount", "--pid", "--net", "--uts", "--ipc", "--fork", "--kill-child"]
SITE = """
plan: /probe/plan/engine.plan
threads: 1
cameras: {door: 'test://?fps=10&size=64x48'}
events: {thresholds: {cat: 0}, labels: [cat], min_duration: 0.1}
sinks: [{kind: jsonl, path: /var/lib/pvlr/events.jsonl}]
"""


class Machine:
    """Has the checkout in /opt, and ``folder`` as /probe with the tiny plan; /etc/pvlr has a site that uses it."""

    python = f"/opt/python/bin/python3.{sys.version_info.minor}"
    pvlr = f'{python} -c "from pvlr_sdk.cli import main; main()"'
    environment = "PYTHONPATH=/opt/source:/opt/packages PYTHONDONTWRITEBYTECODE=1 LD_LIBRARY_PATH=/opt/python/lib"

    def __init__(self, folder: Path, plan: Path) -> None:
        self.folder = folder
        folder.chmod(0o755)
        (folder / "plan").mkdir()
        for path in plan.parent.glob("engine.*"):
            (folder / "plan" / path.name).write_bytes(path.read_bytes())
        (folder / "etc/pvlr").mkdir(parents=True)
        (folder / "etc/pvlr/site.yaml").write_text(SITE)

    def add(self, name: str, text: str) -> None:
        """Add a unit, or a part of one."""
        path = self.folder / "etc/systemd/system" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def observe(self, name: str, script: str) -> dict[str, Any]:
        """Start a service; then run a script, which fills the dict ``found``, as root outside the service's sandbox."""
        finish = (
            'pathlib.Path("/probe/found.json").write_text(json.dumps(found)); '
            'subprocess.run(["systemctl", "exit"])'
        )
        indented = "\n".join(f"    {line}" for line in script.splitlines())
        whole = "import json, pathlib, subprocess, time, urllib.request\nfound = {}\ntry:\n"
        status = f'subprocess.run(["systemctl", "status", "{name}"], capture_output=True, text=True).stdout'
        whole += f"{indented}\nexcept BaseException as error:\n    found.update(error=repr(error), service={status})\n"
        whole += f"finally:\n    {finish}\n"
        (self.folder / "observe.py").write_text(whole)
        unit = f"[Unit]\nAfter={name}.service\nDefaultDependencies=no\n[Service]\nType=oneshot\nTimeoutStartSec=60\n"
        self.add("observe.service", f"{unit}ExecStart={self.python} /probe/observe.py\n")
        self.add("test.target", f"[Unit]\nWants={name}.service observe.service\n")
        log = "StandardOutput=file:/probe/log.txt\nStandardError=file:/probe/log.txt\n"
        self.add(f"{name}.service.d/log.conf", f"[Service]\nEnvironment={self.environment}\n{log}")
        places = {
            sys.base_prefix: "/opt/python",
            sysconfig.get_path("purelib"): "/opt/packages",
            str(ROOT): "/opt/source",
        }
        command = [
            *NAMESPACES,
            str(Path(__file__).with_name("systemd.sh")),
            str(self.folder),
            "test.target",
        ]
        command += [f"{source}={place}" for source, place in places.items()]
        try:
            subprocess.run(command, timeout=120, check=True)
        finally:  # empty cgroups outlive the processes in them
            remove = "mount -t cgroup2 cgroup2 /mnt && find /mnt/pvlr-systemd-test -depth -type d -exec rmdir {} +"
            subprocess.run(["unshare", "--mount", "sh", "-c", remove], check=False)
        log = self.folder / "log.txt"
        found = json.loads((self.folder / "found.json").read_text())
        assert "error" not in found, (found, log.read_text() if log.exists() else "")
        return found


@pytest.fixture
def machine(tmp_path: Path, plan: Path) -> Machine:
    if os.geteuid() or not Path("/lib/systemd/systemd").exists() or not shutil.which("unshare"):
        pytest.skip("needs root and systemd")
    mount = [*NAMESPACES, "mount", "-t", "cgroup2", "cgroup2", "/mnt"]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to make namespaces and cgroups")
    return Machine(tmp_path, plan)


ALWAYS = {"thresholds": {"cat": 0.0}, "labels": ["cat"], "min_duration": 0.1}


@pytest.fixture
def make_site(plan: Path) -> Iterator[Callable[..., Site]]:
    sites: list[Site] = []

    def make(*, cameras: Any = None, tagger: Any = None, **raw: Any) -> Site:
        cameras = cameras or {"door": "test://?fps=60&size=64x48"}
        raw = {"plan": str(plan), "threads": 1, "cameras": cameras, "events": ALWAYS, **raw}
        sites.append(Site(SiteConfig.parse(raw, source="test"), tagger=tagger))
        return sites[-1]

    yield make
    for site in sites:
        site.stop()
