"""The tools of a release have hashes, and its bill of materials is valid and complete."""

from __future__ import annotations

import base64
import contextlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / ".github/requirements"
RELEASE = (ROOT / ".github/workflows/release.yml").read_text()


def _pins(path: Path) -> dict[str, str]:
    """``NAME==VERSION`` lines, by normalised name."""
    found = re.findall(r"^([\w.-]+)==([\w.]+)", path.read_text(), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


@pytest.mark.parametrize("name", ["build", "release"])
def test_each_tool_has_its_version_and_hashes(name):
    text = (REQUIREMENTS / f"{name}.txt").read_text()
    entries = re.split(r"^(?=\S)", text, flags=re.MULTILINE)
    entries = [entry for entry in entries if entry.strip() and not entry.startswith("#")]
    for entry in entries:
        assert re.match(r"[\w.-]+==[\w.]+ \\\n(    --hash=sha256:[0-9a-f]{64}( \\)?\n)+", entry), (
            entry
        )
    assert "WARNING" not in text
    wanted, pinned = _pins(REQUIREMENTS / f"{name}.in"), _pins(REQUIREMENTS / f"{name}.txt")
    assert wanted.items() <= pinned.items()


def test_what_builds_the_package_is_what_it_requires():
    tomllib = pytest.importorskip("tomllib")  # in the standard library from Python 3.11 on
    requires = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert {re.match(r"[\w-]+", line)[0] for line in requires} == set(
        _pins(REQUIREMENTS / "build.in")
    )


def test_the_release_installs_nothing_without_a_hash_but_what_it_releases():
    steps = [step for job in yaml.safe_load(RELEASE)["jobs"].values() for step in job["steps"]]
    scripts = [step.get("run", "") for step in steps] + [str(step.get("env", {})) for step in steps]
    commands = [
        line
        for script in scripts
        for line in script.splitlines()
        if re.search(r"\bpipx? .*(install|run)\b", line)
    ]
    assert len(commands) == 7
    for command in commands:
        assert "--require-hashes" in command or "--only-binary :all:" in command, command


def test_only_the_job_that_builds_nothing_can_sign():
    """What SLSA Build L2 rests on, besides machines of GitHub."""
    assert "SLSA v1.0 Build L2" in RELEASE
    jobs = yaml.safe_load(RELEASE)["jobs"]
    assert [name for name, job in jobs.items() if "permissions" in job] == ["publish"]
    runners = {str(job["runs-on"]).partition("-")[0] for job in jobs.values()}
    assert runners == {"ubuntu", "${{ matrix.runner }}"}
    steps = jobs["publish"]["steps"]
    builders = re.compile(r"\bbuild (--|\.)|cibuildwheel|pip wheel|cmake")
    assert not [step for step in steps if builders.search(step.get("run", ""))]
    order = [step.get("uses", step.get("name", "")).partition("@")[0] for step in steps]
    attested = order.index("actions/attest-build-provenance")
    assert order[attested + 1].startswith("Check that the provenance")
    assert order[attested + 2] == "pypa/gh-action-pypi-publish"


@pytest.mark.skipif(not shutil.which("jq"), reason="no jq")
@pytest.mark.parametrize("wrong", [None, "hash", "missing file", "commit", "type"])
def test_a_provenance_of_other_files_or_another_commit_stops_the_release(wrong, tmp_path):
    """All of it that can be verified offline: the certificate of the signature is issued by a run of the workflow."""
    sums = {"a.whl": "a" * 64, "b.tar.gz": "b" * 64}
    (tmp_path / "SHA256SUMS").write_text("".join(f"{sha}  {name}\n" for name, sha in sums.items()))
    if wrong == "hash":
        sums["a.whl"] = "c" * 64
    elif wrong == "missing file":
        del sums["a.whl"]
    commit = ("e" if wrong == "commit" else "d") * 40
    statement = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": name, "digest": {"sha256": sha}} for name, sha in sums.items()],
        "predicateType": f"https://slsa.dev/provenance/{'v0.2' if wrong == 'type' else 'v1'}",
        "predicate": {
            "buildDefinition": {"resolvedDependencies": [{"digest": {"gitCommit": commit}}]}
        },
    }
    payload = base64.b64encode(json.dumps(statement).encode()).decode()
    (tmp_path / "bundle").write_text(json.dumps({"dsseEnvelope": {"payload": payload}}))
    (step,) = (
        step
        for step in yaml.safe_load(RELEASE)["jobs"]["publish"]["steps"]
        if step.get("name", "").startswith("Check that the provenance")
    )
    done = subprocess.run(
        ["bash", "-eo", "pipefail", "-c", step["run"]],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "BUNDLE": "bundle", "GITHUB_SHA": "d" * 40},
        check=False,
    )
    assert (done.returncode == 0) == (wrong is None)


def _environment(folder: Path) -> Path:
    """A virtual environment with links to the metadata of the packages that the SDK requires."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    names, found = {"pvlr-sdk"}, set()
    for line in (
        (ROOT / "pyproject.toml")
        .read_text()
        .split("dependencies = [")[1]
        .partition("]")[0]
        .split('"')[1::2]
    ):
        names.add(line)
    while names - found:
        name = re.match(r"[\w.-]+", (names - found).pop())[0]
        found |= {line for line in names if re.match(rf"{re.escape(name)}(?![\w.-])", line)}
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            distribution = importlib.metadata.distribution(name)
            link = packages / f"{name}.dist-info"
            if not link.exists():
                link.symlink_to(distribution._path)
            names |= (
                {line for line in distribution.requires or [] if "extra ==" not in line}
                if name != "pvlr-sdk"
                else set()
            )
    return folder


def _bill(folder: Path) -> dict[str, Any]:
    """As the release makes it."""
    pytest.importorskip("cyclonedx_py")
    (command,) = re.findall(r"run: cyclonedx-py (.*)", RELEASE)
    arguments = command.replace(" device ", f" {_environment(folder / 'device')} ").replace(
        "pyproject.toml", f"{ROOT}/pyproject.toml"
    )
    subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", *arguments.split()],
        cwd=folder,
        check=True,
        capture_output=True,
    )
    return json.loads((folder / "pvlr-sdk.cdx.json").read_text())


@pytest.mark.slow
def test_the_bill_of_materials_is_valid_and_complete(tmp_path):
    bill = _bill(tmp_path)
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    text = (tmp_path / "pvlr-sdk.cdx.json").read_text()
    assert (
        JsonStrictValidator(SchemaVersion.from_version(bill["specVersion"])).validate_str(text)
        is None
    )
    assert (
        JsonStrictValidator(SchemaVersion.from_version(bill["specVersion"])).validate_str("{}")
        is not None
    )
    assert (bill["bomFormat"], bill["metadata"]["component"]["name"]) == ("CycloneDX", "pvlr-sdk")
    versions = {component["name"].lower(): component for component in bill["components"]}
    for name in ("numpy", "opencv-python", "openvino", "pydantic", "rich", "safetensors", "typer"):
        assert versions[name]["version"] == importlib.metadata.version(name)
        assert versions[name]["purl"].startswith(f"pkg:pypi/{name}@")
