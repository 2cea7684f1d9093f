"""Packaging and the release workflow: versions agree, steps do what they state, extras have what their code imports."""

from __future__ import annotations

import ast
import contextlib
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from pvlr_sdk import __version__

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    tomllib = pytest.importorskip("tomllib")  # in the standard library from Python 3.11 on
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def release() -> dict[str, Any]:
    return yaml.safe_load((ROOT / ".github/workflows/release.yml").read_text())["jobs"]


def _script(job: dict[str, Any], name: str) -> str:
    (step,) = (step for step in job["steps"] if step.get("name", "").startswith(name))
    return step["run"]


def _bash(script: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a step's script as GitHub does."""
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
    environment = {"PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", **variables}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("tag", "code"),
    [(f"v{__version__}", 0), (f"v{__version__}.1", 1), (__version__, 1), ("v9.9.9", 1)],
)
def test_a_release_needs_the_tag_of_its_version(release, tag, code):
    done = _bash(_script(release["sdist"], "Check that the tag"), ROOT, GITHUB_REF_NAME=tag)
    assert done.returncode == code, done.stdout + done.stderr
    assert ("::error::" in done.stdout) == bool(code)


def test_a_release_needs_a_section_in_the_changelog(release, tmp_path):
    (tmp_path / "pvlr_sdk").mkdir()
    (tmp_path / "pvlr_sdk/__init__.py").write_text('__version__ = "3.0.0"\n')
    (tmp_path / "CHANGELOG.md").write_text("# Changelog\n\n## [2.0.0]\n")
    done = _bash(
        _script(release["sdist"], "Check that the tag"), tmp_path, GITHUB_REF_NAME="v3.0.0"
    )
    assert (done.returncode, done.stdout) == (1, "::error::CHANGELOG.md has no section [3.0.0]\n")


def test_the_hashes_of_a_release_can_be_checked(release, tmp_path):
    (tmp_path / "dist").mkdir()
    for name in ("pvlr_sdk-1.tar.gz", "pvlr_sdk-1-cp311-cp311-manylinux_2_28_x86_64.whl"):
        (tmp_path / "dist" / name).write_text(name)
    (tmp_path / "sbom").mkdir()
    (tmp_path / "sbom/pvlr-sdk.cdx.json").write_text("{}")
    assert _bash(_script(release["publish"], "Write the hashes"), tmp_path).returncode == 0
    assert len((tmp_path / "SHA256SUMS").read_text().splitlines()) == 3
    check = (
        "mkdir -p all && cp dist/* sbom/* all && cd all && sha256sum --check --strict ../SHA256SUMS"
    )
    assert _bash(check, tmp_path).returncode == 0
    (tmp_path / "dist/pvlr_sdk-1.tar.gz").write_text("another")
    assert _bash(check, tmp_path).returncode == 1


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_pin_their_actions_and_have_no_rights_unasked(workflow):
    uses = re.findall(r"uses: (\S+)(.*)", workflow.read_text())
    assert uses
    for action, comment in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action), action
        assert re.fullmatch(r" # v\d+\.\d+\.\d+", comment), action
    assert yaml.safe_load(workflow.read_text())["permissions"] == {"contents": "read"}


def test_wheels_are_built_and_tried_for_every_supported_python(project, release):
    prefix = "Programming Language :: Python :: 3."
    minors = [
        name.removeprefix(prefix)
        for name in project["project"]["classifiers"]
        if name.startswith(prefix)
    ]
    assert project["tool"]["cibuildwheel"]["build"].split() == [f"cp3{minor}-*" for minor in minors]
    assert release["install"]["strategy"]["matrix"]["python"] == [f"3.{minor}" for minor in minors]
    assert project["project"]["requires-python"] == f">=3.{minors[0]}"


def test_libpvlr_is_built_with_the_openvino_of_its_extra(project):
    (version,) = re.findall(
        r"^openvino==(\S+) ", (ROOT / "csrc/wheel.txt").read_text(), re.MULTILINE
    )
    assert project["project"]["optional-dependencies"]["cpp"] == [f"openvino=={version}"]


def _name(requirement: str) -> str:
    """``Jinja2>=3.1`` -> ``jinja2``, normalised."""
    return re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-").replace(".", "-")


def _packages(project: dict[str, Any], *extras: str) -> set[str]:
    """Normalised names of what an installation with these extras requires."""
    optional = project["project"]["optional-dependencies"]
    lines = [
        *project["project"]["dependencies"],
        *(line for extra in extras for line in optional[extra]),
    ]
    found = set()
    for line in lines:
        if nested := re.match(r"pvlr-sdk\[(.*)\]", line):
            found |= _packages(project, *nested[1].split(","))
        else:
            found.add(_name(line))
    return found


def test_the_extra_all_has_every_extra_of_users(project):
    optional = set(project["project"]["optional-dependencies"])
    users = optional - {"all", "ray", "tensorrt", "test", "test-all", "dev", "docs"}
    assert _packages(project, "all") == _packages(project, *users)


def _imports(folder: Path) -> set[str]:
    """Top-level names of all absolute imports below a folder, also those inside functions."""
    found = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
                found.add(node.module.partition(".")[0])
    return found - sys.stdlib_module_names - {"pvlr_sdk", "pvlr_training", "training"}


def _with_dependencies(names: set[str]) -> set[str]:
    """The distributions of these names that are installed here, with all that they require."""
    found: set[str] = set()
    while names:
        found |= names
        lines = []
        for name in names:
            with contextlib.suppress(importlib.metadata.PackageNotFoundError):
                lines += importlib.metadata.requires(name) or []
        names = {_name(line) for line in lines if "extra ==" not in line} - found
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "extras"), [("training", ["train"]), ("pvlr_sdk/cameras/serve", ["serve"])]
)
def test_an_extra_has_every_package_that_its_code_imports(project, folder, extras):
    of_module = importlib.metadata.packages_distributions()
    available = _with_dependencies(_packages(project, *extras))
    for module in _imports(ROOT / folder):
        names = {_name(name) for name in of_module.get(module, [])}
        assert names & available, (
            f"{folder} imports {module}, which the extra {extras} does not install"
        )
