"""The pages keep their promises: every error has its section, every link leads somewhere, every command exists."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from bisect import bisect
from itertools import accumulate
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pvlr_sdk import errors
from pvlr_sdk.models.find import default_plan

SOURCES = ["*.py", "*.h", "*.cpp", "*.cu", "*.cuh", "*.html", "*.js", "*.css"]
ROOT = Path(__file__).parents[2]
CARDS = [
    *sorted(ROOT.glob("models/*/README.md")),
    *sorted(ROOT.glob("pvlr_sdk/models/*/README.md")),
]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *CARDS]
CLASSES = [
    name
    for name, value in vars(errors).items()
    if inspect.isclass(value)
    and issubclass(value, errors.PvlrError)
    and value.__module__ == errors.__name__
]


def test_the_overview_lists_every_page() -> None:
    linked = set(re.findall(r"\]\(([^)#]+)", (ROOT / "docs/index.md").read_text()))
    listed = {
        str(path.relative_to(ROOT / "docs")) for path in PAGES if path.is_relative_to(ROOT / "docs")
    }
    # which the site and pages list
    below = {name for name in listed if name.startswith(("reference/", "extend/"))}
    assert listed - linked - below == {"index.md"}


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


@pytest.fixture(scope="module")
def texts() -> tuple[tuple[str, ...], list[str]]:
    """The texts of the code, and its f-strings as regular expressions in which values are free."""
    files = [*(ROOT / "pvlr_sdk").rglob("*.py"), *(ROOT / "training").rglob("*.py")]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text()))]
    plain = {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    formatted = {
        "".join(map(_literal, node.values)) for node in nodes if isinstance(node, ast.JoinedStr)
    }
    return (
        tuple(f"{end} {text}" for text in plain if len(text) > 10 for end in ".?"),
        [text for text in formatted if len(text) > 10 and not text.startswith(".*")],
    )


def _literal(part: ast.expr) -> str:
    return (
        re.escape(part.value)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
        else ".*"
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_the_hint_of_an_example_is_in_the_code(name, texts):
    found = re.search(r"\*\*Example\.\*\* `+(.*?)`+\n", _sections()[name])
    plain, formatted = texts
    assert (
        not found
        or found[1].endswith(plain)
        or any(re.search(f"[.?] {text}$", found[1]) for text in formatted)
    )


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if not target.startswith(("http://", "https://", "#")):
            assert (page.parent / target.split("#")[0]).exists(), f"{page.name} links to {target}"


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """What ``pvlr COMMAND --help`` prints, for every command; for one with subcommands, theirs too."""
    from pvlr_sdk.cli import app

    run = CliRunner(env={"COLUMNS": "200"})
    commands: dict[str, list[list[str]]] = {
        str(info.name): [[]] for info in app.registered_commands
    }
    for group in app.registered_groups:
        inner = group.typer_instance.registered_commands
        commands[str(group.name)] = [
            [],
            *([str(info.callback.__name__)] for info in inner if info.callback),
        ]
    return {
        name: "".join(run.invoke(app, [name, *rest, "--help"]).output for rest in subcommands)
        for name, subcommands in commands.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_on_the_pages_exist(page, helps):
    text = page.read_text()
    for command, rest in re.findall(
        r"(?:^|`|&& )pvlr ([a-z][a-z-]*)\b([^`\n]*)", text, re.MULTILINE
    ):
        assert command in helps, f"pvlr {command}"
        for option in re.findall(r"(?<!\S)--[a-z-]+", rest.split("#")[0]):
            assert option in helps[command], f"pvlr {command} {option}"
    if page.name in ("cli.md", "cli_models.md"):
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
        done = subprocess.run(
            [sys.executable, *call], cwd=ROOT, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, "")
        assert any(tag in done.stdout for tag in ("cat", "person"))


def test_no_file_has_a_banned_phrase():
    """banned_phrases.txt lists them; a hit names file, line and words."""
    everywhere, pages = (
        [line for line in part.splitlines() if line[:1] not in ("", "#")]
        for part in (ROOT / "tests/docs/banned_phrases.txt").read_text().split("\n[pages]\n")
    )
    in_code, in_pages = re.compile("|".join(everywhere)), re.compile("|".join(everywhere + pages))
    hits = []
    for path in _listed(*SOURCES, "*.md", "*.yaml"):
        text, starts = _joined(path.read_text().lower())
        name = path.relative_to(ROOT)
        if name.is_relative_to("tests/release/earlier"):  # as those versions wrote them
            continue
        banned = in_pages if path.suffix == ".md" else in_code
        hits += [
            f"{name}:{bisect(starts, found.start())}: {found[0]}" for found in banned.finditer(text)
        ]
    assert not hits, "\n".join(hits)


def test_no_source_file_is_longer_than_contributing_allows():
    (limit,) = re.findall(r"at most (\d+) lines", (ROOT / "CONTRIBUTING.md").read_text())
    sizes = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in _listed(*SOURCES)
    }
    assert {name: size for name, size in sizes.items() if size > int(limit)} == {}


def _listed(*kinds: str) -> list[Path]:
    """The checkout's files whose names fit one of the patterns."""
    listed = subprocess.run(
        ["git", "ls-files", "--", *kinds], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if listed.returncode:
        pytest.skip("no git checkout")
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def _joined(text: str) -> tuple[str, list[int]]:
    """Return the text as one line without comment and quote marks, and the offset at which each line begins."""
    lines = [
        re.sub(r"^\s*(?:#+|//+|\*|>)?\s*", "", line).rstrip() + " " for line in text.splitlines()
    ]
    return "".join(lines), list(accumulate(map(len, lines), initial=0))
