"""The memory on the page, in a real Chromium: search, why, review by keyboard, phone, axe-core."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk.cameras.memory import search as find
from pvlr_sdk.cameras.memory.precision import to_review
from pvlr_sdk.cameras.memory.reader import Reader
from tests.pvlr_sdk.cameras.memory.conftest import Site
from tests.pvlr_sdk.cameras.memory.test_drift import live

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.slow
DOOR = {"door": "test://?fps=10&size=320x240&seed=1"}


@pytest.fixture
def served(serve: Callable[..., Any], remembered: Path) -> Any:
    return serve(
        DOOR,
        events={"thresholds": {}, "labels": []},
        memory={"folder": str(remembered), "samples_per_hour": 0},
    )


def shot(page: Any, name: str) -> None:
    if folder := os.environ.get("PVLR_PICTURES"):
        page.wait_for_timeout(300)
        page.screenshot(path=f"{folder}/{name}.png")


@pytest.mark.parametrize(
    ("width", "scheme"), [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")]
)
def test_a_search_and_why_an_event_was_reported(
    served: Any, visit: Callable[..., Any], width: int, scheme: str
) -> None:
    Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
    page = visit(served.url, viewport={"width": width, "height": 844}, color_scheme=scheme)
    page.get_by_label("Search events").fill("car")
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#memory > [role=status]")).to_have_text(
        "24 shown, the best first."
    )
    pictures = page.locator("#memory .gallery img")
    pictures.last.scroll_into_view_if_needed()
    page.wait_for_function(
        "() => [...document.querySelectorAll('#memory img')].every((one) => one.naturalWidth)"
    )
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.locator("#memory").scroll_into_view_if_needed()
    shot(page, f"memory-search-{width}-{scheme}")
    faults = Axe().run(page, context="#memory").response["violations"]
    page.locator("#memory .gallery button").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Began: average 0.").wait_for()
    sync_api.expect(dialog.get_by_role("img", name="Score from ")).to_be_visible()
    sync_api.expect(
        dialog.get_by_text("moving average; thresholds 0.50 and 0.40 (dashed)")
    ).to_be_visible()
    sync_api.expect(
        dialog.get_by_text("Other labels (thresholds): cat 0.30 (0.50)")
    ).to_be_visible()
    sync_api.expect(dialog.locator("#moment-title")).to_have_text(re.compile(r", \d\d:\d\d:\d\d$"))
    path = dialog.locator(".average").get_attribute("d")
    assert path.count("L") > 50
    sync_api.expect(dialog.get_by_text("0.050 below the threshold").first).to_be_visible()
    dialog.get_by_label("Attention map").check()
    sync_api.expect(dialog.locator("> img")).to_have_attribute(
        "src", re.compile(r"/pictures/\d+\?attention=true$")
    )
    page.wait_for_function("() => document.querySelector('dialog.moment > img').naturalWidth")
    box = dialog.bounding_box()
    assert (box["x"] >= 0, box["x"] + box["width"] <= width) == (True, True)
    shot(page, f"memory-why-{width}-{scheme}")
    faults += Axe().run(page, context="dialog.moment").response["violations"]
    page.keyboard.press("Escape")
    sync_api.expect(dialog).to_be_hidden()
    page.get_by_role("button", name="Review", exact=True).click()
    sync_api.expect(dialog.get_by_role("button", name="Yes")).to_be_visible()
    shot(page, f"memory-review-{width}-{scheme}")
    faults += Axe().run(page, context="dialog.moment").response["violations"]
    assert faults == []


def test_events_are_reviewed_by_keyboard(
    served: Any, visit: Callable[..., Any], remembered: Path
) -> None:
    page, reader = visit(served.url), Reader(remembered)
    page.get_by_role("button", name="Review", exact=True).focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    title, note = dialog.locator("#moment-title"), dialog.get_by_role("status")
    sync_api.expect(dialog.get_by_role("button", name="Undo")).to_be_disabled()
    sync_api.expect(note).to_contain_text("Drawn at random")
    names = []
    for number, key in enumerate("ynsyy"):
        names.append(title.text_content())
        page.keyboard.press(key)
        sync_api.expect(note).to_contain_text(f"{number + 1} answered.")
        sync_api.expect(title).not_to_have_text(names[-1])
    page.keyboard.press("u")
    sync_api.expect(title).to_have_text(names[-1])
    sync_api.expect(note).to_contain_text("4 answered.")
    assert sorted(one for one, _ in reader.answers().values()) == ["no", "unclear", "yes", "yes"]
    began = time.monotonic()
    for number in range(4, 40):
        sync_api.expect(note).to_contain_text(f"{number} answered.")
        page.keyboard.press("Y" if number % 2 else "y")
    sync_api.expect(title).to_have_text("All are answered")
    print(f"36 answers in {time.monotonic() - began:.1f} s")
    sync_api.expect(note).to_contain_text(
        "40 answered. car: not proven that at least 90 % of events are right: about 95 %"
    )
    assert len(reader.answers()) == 40
    page.keyboard.press("u")
    sync_api.expect(note).to_contain_text("39 answered.")
    assert len(reader.answers()) == 39


@pytest.mark.parametrize("width", [1280, 390])
def test_sampled_frames_are_reviewed_by_keyboard(
    serve: Callable[..., Any], visit: Callable[..., Any], sampled: Path, width: int
) -> None:
    Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
    memory = {"folder": str(sampled), "samples_per_hour": 0}
    served = serve(DOOR, events={"thresholds": {}, "labels": []}, memory=memory)
    page = visit(served.url, viewport={"width": width, "height": 844})
    page.get_by_role("button", name="Review frames").focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    title, note = dialog.locator("#moment-title"), dialog.get_by_role("status")
    sync_api.expect(note).to_contain_text("Does the frame show it?")
    shot(page, f"memory-frames-{width}")
    assert Axe().run(page, context="dialog.moment").response["violations"] == []
    first = title.text_content()
    page.keyboard.press("y")
    sync_api.expect(note).to_contain_text("1 answered.")
    sync_api.expect(note).to_contain_text("1 yes, 0 no")
    page.keyboard.press("u")
    sync_api.expect(title).to_have_text(first)
    for number in range(4):
        page.keyboard.press("n")
        sync_api.expect(note).to_contain_text(f"{number + 1} answered.")
    sync_api.expect(title).to_have_text("All are answered")
    answers = [
        one for (one,) in Reader(sampled).query("SELECT answer FROM answers WHERE event IS NULL")
    ]
    assert (answers, Reader(sampled).answers()) == (["no"] * 4, {})


def test_events_that_look_alike_are_answered_together(
    served: Any, visit: Callable[..., Any], remembered: Path
) -> None:
    Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
    page, reader = visit(served.url, viewport={"width": 375, "height": 812}), Reader(remembered)
    page.get_by_role("button", name="Review", exact=True).click()
    dialog = page.get_by_role("dialog")
    title, note, together = (
        dialog.locator("#moment-title"),
        dialog.get_by_role("status"),
        dialog.get_by_label("Answer all alike"),
    )
    sync_api.expect(title).to_contain_text("Is this a car?")
    drawn = to_review(reader, "car", 40)
    place = next(number for number, row in enumerate(drawn) if find.alike(reader, row))
    for number in range(place):
        page.keyboard.press("y")
        sync_api.expect(note).to_contain_text(f"{number + 1} answered.")
    sync_api.expect(dialog.get_by_text("Answer all alike: these 9 too (A)")).to_be_visible()
    sync_api.expect(together).not_to_be_checked()
    shown = title.text_content()
    page.keyboard.press("a")
    sync_api.expect(together).to_be_checked()
    assert page.evaluate("document.documentElement.scrollWidth") == 375
    assert dialog.evaluate("(one) => one.scrollWidth <= one.clientWidth")
    shot(page, "memory-alike-375")
    assert Axe().run(page, context="dialog.moment").response["violations"] == []
    page.keyboard.press("n")
    sync_api.expect(note).to_contain_text(f"{place + 10} answered.")
    assert [one for one, _ in reader.answers().values()].count("no") == 10
    sync_api.expect(together).to_be_hidden()
    page.keyboard.press("u")
    sync_api.expect(title).to_have_text(shown)
    sync_api.expect(note).to_contain_text(re.compile(rf"\b{place} answered\."))
    assert len(reader.answers()) == place
    sync_api.expect(together).not_to_be_checked()
    for number in range(place, 40):
        page.keyboard.press("y")
        sync_api.expect(note).to_contain_text(f"{number + 1} answered.")
    sync_api.expect(title).to_have_text("All are answered")


def test_a_message_for_a_word_that_cannot_be_searched(
    served: Any, visit: Callable[..., Any]
) -> None:
    page = visit(served.url, allow="status of 422")
    page.get_by_label("Search events").fill("espresso")
    page.get_by_role("button", name="Search", exact=True).click()
    sync_api.expect(page.locator("#memory > [role=status]")).to_contain_text(
        "expected an open plan"
    )


def test_without_a_memory_there_is_no_search(
    serve: Callable[..., Any], visit: Callable[..., Any]
) -> None:
    page = visit(serve(DOOR).url)
    sync_api.expect(page.locator("#connection")).to_have_text("connected")
    sync_api.expect(page.get_by_label("Search events")).to_be_hidden()


def test_a_slider_shows_what_its_threshold_would_change(
    served: Any, visit: Callable[..., Any]
) -> None:
    page = visit(served.url)
    status = page.locator("#memory > [role=status]")
    page.get_by_label("Threshold of cat").fill("0.25")  # its recorded score is 0.3
    sync_api.expect(status).to_contain_text("cat at 0.25: 1 instead of 0 events in the last hour.")
    sync_api.expect(page.locator("#memory .gallery button")).to_have_count(1)
    sync_api.expect(page.locator("#memory .gallery button")).to_contain_text(
        "new: 0.30 cat at door"
    )
    shot(page, "memory-replay")
    page.get_by_label("Threshold of cat").fill("0.9")
    sync_api.expect(status).to_contain_text("cat at 0.90: 0 instead of 0 events in the last hour.")


def test_a_review_begins_with_the_proposal_to_review_again(
    serve: Callable[..., Any], visit: Callable[..., Any], tmp_path: Path
) -> None:
    site = Site(tmp_path / "m")
    for first, cars, answer in ((0, 8, "yes"), (10, 2, None)):
        live(site, first, cars, answer)
    site.store.close()
    page = visit(serve(DOOR, memory={"folder": str(tmp_path / "m")}).url)
    page.get_by_role("button", name="Review", exact=True).click()
    note = page.get_by_role("dialog").get_by_role("status")
    sync_api.expect(note).to_contain_text(
        "car: Review again: at door, it is 10 % of all events now, 40 % when answers"
    )
    sync_api.expect(note).to_contain_text("Drawn at random")
