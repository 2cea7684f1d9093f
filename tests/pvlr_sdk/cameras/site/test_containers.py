"""The profiles for containers: valid, and sufficient for the command."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[4] / "docs/docker"


@pytest.fixture
def service() -> dict[str, Any]:
    return yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]["pvlr"]


@pytest.fixture
def pod() -> dict[str, Any]:
    documents = yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text())
    (deployment,) = (document for document in documents if document["kind"] == "Deployment")
    return deployment["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    ("file", "default"), [("jetpack6", "87"), ("jetpack7", "110"), ("x86", "")]
)
def test_an_image_compiles_for_one_architecture(file, default):
    """A build has no GPU that CMake could ask; the server's GPU is not known here."""
    text = (FOLDER / f"{file}.Dockerfile").read_text()
    assert f"\nARG ARCHITECTURES={default}\n" in text
    assert 'CMAKE_ARGS="-DPVLR_CUDA=ON -DPVLR_CUDA_ARCHITECTURES=$ARCHITECTURES"' in text


@pytest.mark.slow
def test_kubernetes_accepts_its_snippet():
    validate = pytest.importorskip("kubernetes_validate").validate
    for document in yaml.safe_load_all((FOLDER / "kubernetes.yaml").read_text()):
        validate(document, "1.30", strict=True)


def test_both_profiles_give_the_same_rights(service, pod):
    (container,) = pod["containers"]
    assert service["read_only"] is container["securityContext"]["readOnlyRootFilesystem"] is True
    assert service["cap_drop"] == container["securityContext"]["capabilities"]["drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert (
        service["user"]
        == f"{pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}"
    )
    assert service["environment"] == {each["name"]: each["value"] for each in container["env"]}
    assert service["command"] == container["args"][: len(service["command"])]
    assert {"mem_limit", "pids_limit"} <= set(service)
    assert "memory" in container["resources"]["limits"]


@pytest.mark.slow
def test_the_command_needs_no_more_than_these_rights(machine, service):
    """The same restrictions, set by systemd: this is no container engine."""
    user, group = service["user"].split(":")
    state, cache = (volume.split(":")[1] for volume in service["volumes"][1:])
    machine.add(
        "container.service",
        f"[Service]\nUser={user}\nGroup={group}\nProtectSystem=strict\nTemporaryFileSystem=/tmp:mode=1777,noexec\n"
        f"ReadWritePaths=-{state} -{cache}\nCapabilityBoundingSet=\nNoNewPrivileges=yes\n"
        f"ExecStartPre=+mkdir -p {state} {cache}\nExecStartPre=+chown {user}:{group} {state} {cache}\n"
        f"Environment={' '.join(f'{key}={value}' for key, value in service['environment'].items())}\n"
        f"Environment=PVLR_TOKEN={'t' * 32}\nExecStart={machine.pvlr} {shlex.join(service['command'])}\n",
    )
    address, end = "http://127.0.0.1:8000/readyz", "end = time.monotonic() + 20"
    wait = f"""{end}
while "body" not in found and time.monotonic() < end:
    time.sleep(0.2)
    try:
        found["body"] = urllib.request.urlopen("{address}", timeout=5).read().decode()
    except OSError as error:
        found["last"] = repr(error)
found["compiled"] = len(list(pathlib.Path("{cache}/pvlr_sdk/openvino").glob("*.blob")))
"""
    found = machine.observe("container", wait)
    assert (found.get("body"), found["compiled"]) == (
        '{"status":"ok","reason":"","cameras":{}}',
        1,
    ), found
