"""The page is self-contained and safe with untrusted names, and every invalid argument raises its error."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from pvlr_sdk.cli import app
from pvlr_sdk.errors import (
    CheckpointError,
    FrameError,
    ImageNotFoundError,
    LabelsFileError,
    OptionError,
    PvlrError,
)
from pvlr_training.report import report

Run = Callable[..., Path]
Page = Callable[..., dict[str, Any]]

HOSTILE = (
    "</script><script>alert(1)</script>",
    "Größe \"x\" & 'y' <b>",
    "__proto__",
    "猫 \u2028 {{ 7 * 7 }}",
)
VOID = {"meta", "link", "img", "br", "input"}


class Strict(HTMLParser):
    """Checks that elements are closed; collects ids and references. No element is a script."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        assert tag != "script"
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "action", "srcset", "data", "poster"):
                self.references.append(value or "")
            assert not name.startswith("on")
            assert name != "style"

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def check(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    parser = Strict()
    parser.feed(text)
    parser.close()
    assert parser.open == []
    assert len(set(parser.ids)) == len(parser.ids)
    assert all(
        one.startswith("data:") or one.removeprefix("#") in parser.ids for one in parser.references
    )
    for word in ("http:", "https:", "@import", "url("):
        assert word not in text


@pytest.mark.slow
def test_a_page_is_whole_and_loads_nothing(make_run: Run, write_page: Page, tmp_path: Path) -> None:
    runs = make_run("a", epochs=1), make_run("b")
    data = write_page(*runs)
    check(tmp_path / "page.html")
    assert {row["key"]: row["values"] for row in data["settings"]} == {
        "train.head.epochs": ["1", "0"],
        "train.finetune.epochs": ["1", "0"],
    }


def test_hostile_names_stay_text(make_run: Run, write_page: Page, tmp_path: Path) -> None:
    run = make_run("<img src=x onerror=alert(2)>", labels=HOSTILE)
    data = write_page(run)
    assert tuple(data["labels"]) == HOSTILE
    check(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert "{{ 7 * 7 }}" in text  # labels are not templates


@pytest.mark.slow
def test_a_run_with_one_label(make_run: Run, write_page: Page, tmp_path: Path) -> None:
    (run,) = write_page(make_run(labels=("only",)))["runs"]
    check(tmp_path / "page.html")
    assert run["mAP"] == run["classes"][0]["ap"] is not None
    assert run["confusions"] == []


def test_labels_that_no_photo_shows_are_not_measured(
    make_run: Run, write_page: Page, folder: Path, tmp_path: Path
) -> None:
    labels = tmp_path / "some.csv"
    labels.write_text("file,red,green\n1.png,1,0\n2.png,0,0\n")
    (run,) = write_page(make_run(), images=folder, labels=labels)["runs"]
    red, green, blue = run["classes"]
    assert (red["positives"], blue["images"]) == (1, 0)
    assert (green["ap"], blue["recall"]) == (None, None)
    assert red["precision_at_recall"] != green["precision_at_recall"] == [None] * 3
    assert run["mAP"] == red["ap"]


def test_without_photos(make_run: Run, write_page: Page) -> None:
    run = make_run()
    data = write_page(run, mistakes=0)
    assert (data["pictures"], data["runs"][0]["mistakes"]) == ([], [])


@pytest.mark.slow
def test_a_run_that_was_renamed(make_run: Run, write_page: Page, tmp_path: Path) -> None:
    """Its label file is in the folder itself, as ``pvlr train IMAGES`` writes it."""
    run = make_run(labels=("only",))
    first = write_page(run)["runs"][0]
    (tmp_path / "run.csv").rename(run / "run.csv")
    assert write_page(run.rename(tmp_path / "better"))["runs"][0] == {**first, "name": "better"}


@pytest.mark.slow
def test_progress_and_what_the_command_prints(make_run: Run, tmp_path: Path) -> None:
    run, terminal = make_run(), io.StringIO()
    page = report(
        [run / "model.safetensors"],
        tmp_path / "p.html",
        console=Console(file=terminal, force_terminal=True),
    )
    count = page["runs"][0]["images"]
    looked_at = count + len(page["runs"][0]["failed"])
    assert f"{looked_at}/{looked_at}" in terminal.getvalue()
    assert "run" in terminal.getvalue()
    command = ["report", str(run), "-o", str(tmp_path / "q.html")]
    plain, figures = CliRunner().invoke(app, command), CliRunner().invoke(app, [*command, "--json"])
    assert (plain.exit_code, plain.stdout) == (0, f"{tmp_path / 'q.html'}\n")
    assert figures.exit_code == 0
    assert json.loads(figures.stdout)["runs"][0]["images"] == count


def test_each_wrong_argument_has_its_error(
    make_run: Run, write_page: Page, folder: Path, tmp_path: Path
) -> None:
    run, empty = make_run(), tmp_path / "empty"
    empty.mkdir()
    (empty / "state.safetensors").write_text("{}")
    labels = folder / "labels.csv"
    cases: list[tuple[type[PvlrError], str, tuple[Path, ...], dict[str, Any]]] = [
        (OptionError, "different runs, got none", (), {}),
        (OptionError, "the same folder twice", (run, run), {}),
        (OptionError, "--mistakes", (run,), {"mistakes": -1}),
        (OptionError, "both --images and --labels", (run,), {"images": folder}),
        (
            ImageNotFoundError,
            "no such folder",
            (run,),
            {"images": tmp_path / "none", "labels": labels},
        ),
        (LabelsFileError, "'tset'", (run,), {"split": "tset"}),
        (CheckpointError, "an unfinished run", (empty,), {}),
        (CheckpointError, "nowhere", (tmp_path / "nowhere",), {}),
        (FrameError, "0.png", (run,), {"images": empty, "labels": labels}),
    ]
    for kind, message, runs, options in cases:
        with pytest.raises(kind, match=message):
            write_page(*runs, **options)
    assert not (tmp_path / "page.html").exists()


@pytest.mark.slow
def test_the_page_in_a_browser(make_run: Run, write_page: Page, tmp_path: Path) -> None:
    """No console errors, untrusted names shown as text, every bar and picture drawn, no finding of axe."""
    sync_api = pytest.importorskip("playwright.sync_api")
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    runs = make_run(labels=HOSTILE, epochs=1), make_run("<b>other</b>")
    data = write_page(*runs)
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(**_chromium())
        except sync_api.Error:
            pytest.skip("no Chromium on this machine")
        page = browser.new_context(offline=True, viewport={"width": 360, "height": 800}).new_page()
        problems: list[str] = []
        page.on("console", lambda message: problems.append(message.text))
        page.on("dialog", lambda dialog: problems.append(dialog.message))
        page.on(
            "request",
            lambda request: problems.extend(
                [request.url] * (not request.url.startswith(("file:", "data:")))
            ),
        )
        page.goto((tmp_path / "page.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        names = {name.strip() for name in page.locator(".labels tbody th").all_text_contents()}
        assert len(names) == len(HOSTILE) + 3
        assert all(
            any(name.startswith(label) for name in names) for label in (*HOSTILE[:3], HOSTILE[3][0])
        )
        # A bar for each label, of the run that has it; the other run has other labels.
        assert page.locator(".labels rect[class^=run]").count() == len(names)
        # Whole images, each once per run: what is wrong in it may be at its edge.
        cards = page.locator(".card img")
        assert cards.first.evaluate("image => getComputedStyle(image).objectFit") == "contain"
        each = [[one["picture"] for one in run["mistakes"]] for run in data["runs"]]
        assert cards.count() == sum(len(set(one)) for one in each) < sum(map(len, each))
        assert [one["id"] for one in axe.Axe().run(page).response["violations"]] == []
        browser.close()
    assert problems == []


def _chromium() -> dict[str, Any]:
    """The system's Chromium if there is one, else Playwright's."""
    system = next(
        (
            path
            for path in ("/usr/bin/chromium", "/usr/bin/chromium-browser")
            if Path(path).exists()
        ),
        None,
    )
    return {"executable_path": system, "args": ["--no-sandbox"]} if system else {}


def test_the_lowest_average_precision_comes_first(
    make_run: Run, write_page: Page, tmp_path: Path
) -> None:
    classes = {one["label"]: one["ap"] for one in write_page(make_run())["runs"][0]["classes"]}
    rows = re.findall(r'<th scope="row">(\w+) <small>', (tmp_path / "page.html").read_text())
    assert rows == sorted(classes, key=classes.__getitem__)
    assert len(set(classes.values())) == 3
