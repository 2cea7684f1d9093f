"""The page teaches a label in a real Chromium: frames are picked, its bar appears, and it goes again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import Tagger
from pvlr_sdk.cameras.events import rfc3339
from pvlr_sdk.labels.page import page as page_of
from tests.pvlr_sdk.cameras.serve.api import picking
from tests.pvlr_sdk.labels import tiny_open

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.slow
QUIET = {"thresholds": {}, "labels": None}


def pick(page: Any, camera: str, name: str, count: int, label: str = "my mug") -> None:
    card = page.locator(f"[data-camera={camera}]")
    canvas = card.locator("canvas").first
    sync_api.expect(canvas).to_have_attribute("data-time", re.compile("."))
    card.get_by_label("Add a label", exact=True).fill(label)
    for number in range(count):
        card.get_by_role("button", name=f"{name} (").click()
        sync_api.expect(
            card.get_by_role("button", name=f"{name} ({number + 1})", exact=True)
        ).to_be_visible()
        picked = canvas.get_attribute("data-time")
        # a frame cannot be picked twice
        sync_api.expect(canvas).not_to_have_attribute("data-time", picked)


def test_the_frame_that_hurts_the_label_is_named(
    open_tagger: Tagger, serve: Callable[..., Any], visit: Callable[..., Any], clips: Any
) -> None:
    served = serve(clips, open_tagger, QUIET)
    page = visit(served.url)
    picking.pick(served, "door", 6)
    picking.pick(served, "yard", 8)
    wrong = picking.pick(served, "door", 1, is_positive=False)["examples"][-1]
    door = page.locator("[data-camera=door]")
    door.get_by_label("Add a label", exact=True).fill("my mug")
    door.get_by_label("Add a label", exact=True).press("Enter")
    door.get_by_role("button", name="Teach", exact=True).click()
    sync_api.expect(door.locator(".teach [role=status]")).to_contain_text(
        f"The frame that hurts most: door {wrong['time']}. Check what it shows."
    )


def test_a_label_is_taught_and_forgotten(
    open_tagger: Tagger, serve: Callable[..., Any], visit: Callable[..., Any], clips: Any
) -> None:
    open_tagger.set_labels(tiny_open.make_bank(5))  # with one more than a card shows
    served = serve(clips, open_tagger, QUIET)
    page = visit(served.url)
    door, yard = (page.locator(f"[data-camera={camera}]") for camera in clips)
    message = door.locator(".teach [role=status]")
    for name in ("Positive (0)", "Negative (0)", "Teach", "Clear"):
        sync_api.expect(door.get_by_role("button", name=name, exact=True)).to_be_disabled()
    sync_api.expect(door.get_by_role("button", name="Forget")).to_be_hidden()

    pick(page, "door", "Positive", 4)
    sync_api.expect(door.get_by_role("button", name="Clear")).to_be_enabled()
    sync_api.expect(
        door.get_by_role("button", name="Teach", exact=True)
    ).to_be_disabled()  # without a negative frame
    pick(page, "yard", "Negative", 5)
    # The other card counts the same examples once it is used. By keyboard alone from its field to Teach.
    door.get_by_label("Add a label", exact=True).focus()
    sync_api.expect(door.get_by_role("button", name="Negative (5)", exact=True)).to_be_enabled()
    for _ in range(5):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    sync_api.expect(message).to_contain_text("my mug: precision ")
    sync_api.expect(message).to_contain_text(
        re.compile(r"my mug: precision \d+ % \(\d+ to \d+\), recall \d+ % \(")
    )
    sync_api.expect(message).to_contain_text(
        "of 4 and 5 frames, where 44 of 100 frames show it. Add examples that"
    )
    sync_api.expect(message).to_contain_text("It holds until the server stops.")
    for card in (door, yard):
        card.locator(".tag[data-label='my mug']").wait_for()
    sync_api.expect(door.locator(".tag.on[data-label='my mug']")).to_be_visible()
    page.get_by_label("Threshold of my mug", exact=True).wait_for()
    page.locator("#latest li", has_text="my mug").first.wait_for()
    assert page.locator(".settings .name").first.text_content() == "my mug"

    # Its events ask whether they are right, by keyboard and on a phone.
    answer = page.get_by_role("button", name="Yes: my mug at door").first
    answer.focus()
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#picked")).to_have_text(
        "my mug: 5 positive and 5 negative examples."
    )
    sync_api.expect(answer).to_have_attribute("aria-pressed", "true")
    sync_api.expect(answer).to_be_focused()
    sync_api.expect(door.get_by_role("button", name="Positive (5)", exact=True)).to_be_visible()
    assert page.get_by_role("button", name="Yes: cat").count() == 0
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    box = page.get_by_role("button", name="No: my mug at door").first.bounding_box()
    assert box["x"] + box["width"] <= 390
    assert box["height"] >= 24
    page.set_viewport_size({"width": 1280, "height": 844})

    door.get_by_role("button", name="Forget").click()
    sync_api.expect(door.locator(".tag[data-label='my mug']")).to_have_count(0)
    sync_api.expect(page.get_by_label("Threshold of my mug", exact=True)).to_have_count(0)
    sync_api.expect(page.locator("#latest li", has_text="label removed")).to_have_count(1)
    door.get_by_role("button", name="Clear").click()
    sync_api.expect(door.get_by_role("button", name="Positive (0)", exact=True)).to_be_visible()

    # A label of the plan cannot be taught.
    for camera, name in (("door", "Positive"), ("yard", "Negative")):
        pick(page, camera, name, 1, "cat")
    sync_api.expect(
        page.get_by_text("cat is a label of the plan: choose another name.")
    ).to_be_visible()
    sync_api.expect(yard.get_by_role("button", name="Teach", exact=True)).to_be_disabled()


def test_a_click_names_the_frame_of_a_paused_picture_and_can_be_undone(
    open_tagger: Tagger, serve: Callable[..., Any], visit: Callable[..., Any], clips: Any
) -> None:
    served = serve(clips, open_tagger, QUIET)
    page = visit(served.url)
    door, canvas = (
        page.locator("[data-camera=door]"),
        page.locator("[data-camera=door] canvas").first,
    )
    sync_api.expect(canvas).to_have_attribute("data-time", re.compile("."))
    page.get_by_role("button", name="Pause").click()
    page.wait_for_function("() => !document.hidden")
    newest = served.site.latest("door").frame.wall
    served.until(lambda: served.site.latest("door").frame.wall > newest + 1)
    shown = float(canvas.get_attribute("data-time"))
    door.get_by_label("Add a label", exact=True).fill("my mug")
    door.get_by_role("button", name="Positive (0)").click()
    sync_api.expect(door.get_by_role("button", name="Positive (1)")).to_be_visible()
    (example,) = served.get("/v1/teach/examples?label=my%20mug").json["examples"]
    assert example["time"] == rfc3339(shown)
    door.get_by_role("button", name="Undo").click()
    sync_api.expect(door.get_by_role("button", name="Positive (0)")).to_be_visible()
    sync_api.expect(door.get_by_role("button", name="Undo")).to_be_disabled()


@pytest.fixture
def bundled() -> Iterator[Tagger]:
    with Tagger() as tagger:
        yield tagger


def test_a_word_is_used_and_forgotten(
    bundled: Tagger, serve: Callable[..., Any], visit: Callable[..., Any]
) -> None:
    page = visit(serve({"door": "test://?fps=10&size=320x240"}, bundled, QUIET).url)
    page.get_by_label("Add a label", exact=True).fill("espresso")
    page.get_by_role("button", name="Use the word").click()
    message = page.locator(".teach [role=status]")
    sync_api.expect(message).to_contain_text("espresso: class, like espresso 6")
    sync_api.expect(message).to_contain_text("26 % (0 to 93) are found, on cameras fewer")
    page.locator(".tag[data-label='espresso']").wait_for()
    page.get_by_role("button", name="Forget").click()
    sync_api.expect(page.locator(".tag[data-label='espresso']")).to_have_count(0)


def test_the_labels_of_a_closed_plan_cannot_change(
    serve: Callable[..., Any], visit: Callable[..., Any]
) -> None:
    served = serve({"door": "test://?fps=30&size=320x240"})
    page = visit(served.url)
    page.locator(".tag").first.wait_for()
    page.get_by_label("Threshold of cat", exact=True).wait_for()
    sync_api.expect(page.locator(".teach")).to_be_hidden()


def test_the_report_of_taught_labels_breaks_no_word_on_a_phone(
    chromium: Any, tmp_path: Path
) -> None:
    bank = tiny_open.make_bank(2)
    bank = bank.renamed(["x" * 60, bank.names[1]])
    measures = {
        "positives": 10,
        "negatives": 60,
        "precision": 71.0,
        "precision_interval": [45.0, 90.0],
    }
    bank.text["taught"] = {"x" * 60: measures}
    (tmp_path / "bank.html").write_text(page_of(bank))
    context = chromium.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto((tmp_path / "bank.html").as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    heading = page.get_by_role("columnheader", name="Threshold")
    assert heading.evaluate("cell => getComputedStyle(cell).overflowWrap") == "normal"
    assert heading.evaluate("cell => cell.getBoundingClientRect().width") > 60
    context.close()


@pytest.mark.parametrize("width", [1280, 390])
def test_it_has_room_and_no_serious_fault(
    open_tagger: Tagger,
    serve: Callable[..., Any],
    visit: Callable[..., Any],
    clips: Any,
    width: int,
) -> None:
    Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
    served = serve({"door": clips["door"]}, open_tagger, QUIET)
    page = visit(served.url, viewport={"width": width, "height": 844})
    page.locator(".teach input").fill("my mug")
    page.get_by_role("button", name="Positive (0)", exact=True).wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert Axe().run(page, context=".teach").response["violations"] == []
    boxes = (
        "all => all.map((one) => one.getBoundingClientRect()).map((box) => [box.top, box.bottom])"
    )
    parts = page.eval_on_selector_all(".camera > :not(.view, [hidden])", boxes)
    assert all(above[1] <= below[0] + 1 for above, below in pairwise(parts)), parts
