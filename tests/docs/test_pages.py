"""The pages keep their promises: every error has its section, every link leads somewhere, every command exists."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pvlr_sdk import errors
from pvlr_sdk.bundle import default_plan

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CLASSES = [
    name
    for name, value in vars(errors).items()
    if inspect.isclass(value) and issubclass(value, errors.PvlrError) and value.__module__ == errors.__name__
]


def _sections() -> dict[str, str]:
    parts = re.split(r"^### (.+)$", (ROOT / "docs/errors.md").read_text(), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def test_every_error_has_its_section_and_every_section_its_error():
    assert sorted(_sections()) == sorted(CLASSES)


@pytest.mark.parametrize("name", CLASSES)
def test_a_section_says_when_shows_a_message_and_what_to_do(name):
    section = _sections()[name]
    for part in ("**When.** ", "**Example.** ", "**What to do.** "):
        assert section.count(part) == 1
    # help_anchor is what messages and the doctor point to.
    anchor = getattr(errors, name)("x", expected="y", got="z", hint="w").help_anchor
    assert anchor == f"docs/errors.md#{name.lower()}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith(("http://", "https://", "#")):
            assert (page.parent / target.split("#")[0]).exists(), f"{page.name} links to {target}"


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """What ``pvlr COMMAND --help`` prints, for every command."""
    from pvlr_sdk.cli import app

    run = CliRunner(env={"COLUMNS": "200"})
    commands = [info.name for info in app.registered_commands]
    return {name: run.invoke(app, [name, "--help"]).output for name in commands if name}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_on_the_pages_exist(page, helps):
    text = page.read_text()
    for command, rest in re.findall(r"(?:^|`|&& )pvlr ([a-z]+)\b([^`\n]*)", text, re.MULTILINE):
        assert command in helps, f"pvlr {command}"
        for option in re.findall(r"(?<!\S)--[a-z-]+", rest.split("#")[0]):
            assert option in helps[command], f"pvlr {command} {option}"
    if page.name == "cli.md":
        for option in re.findall(r"`(--[a-z-]+)", text):
            assert option == "--help" or any(option in page for page in helps.values()), option


def test_the_first_lines_of_the_readme_run():
    """The three Python lines and the tagging command, with the model that comes with the package."""
    try:
        default_plan()
    except errors.PlanNotFoundError:
        pytest.skip("this checkout has no bundled model")
    text = (ROOT / "README.md").read_text()
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    (command,) = re.findall(r"&& pvlr (tag .*)", text)
    for call in (["-c", code], ["-c", "from pvlr_sdk.cli import main; main()", *command.split()]):
        done = subprocess.run([sys.executable, *call], cwd=ROOT, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        assert any(tag in done.stdout for tag in ("cat", "person"))
