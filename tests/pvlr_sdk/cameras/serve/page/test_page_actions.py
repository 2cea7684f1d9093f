"""From an event to what is done about it, in a real Chromium: an answer, no reports at a camera, another threshold."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk.cameras.memory.reader import Reader

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.slow
TWO = {"door": "test://?fps=10&size=320x240&seed=1", "yard": "test://?fps=10&size=320x180&seed=2"}


def shot(page: Any, name: str) -> None:
    if folder := os.environ.get("PVLR_PICTURES"):
        page.wait_for_timeout(300)
        page.screenshot(path=f"{folder}/{name}.png")


@pytest.fixture
def served(serve: Callable[..., Any], tmp_path: Path) -> Any:
    return serve(TWO, state=tmp_path / "state", memory={"folder": str(tmp_path / "memory")})


@pytest.mark.parametrize("width", [1280, 390])
def test_from_a_false_alarm_to_its_end(
    served: Any, visit: Callable[..., Any], tmp_path: Path, width: int
) -> None:
    Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
    page = visit(served.url, viewport={"width": width, "height": 844}, allow="status of 404")
    row = page.locator("#latest li", has_text="door").filter(has_text="cat")
    row.first.wait_for()
    remembered = Reader(tmp_path / "memory")
    served.until(lambda: remembered.rows("kind = 'event' AND space IS NOT NULL"))
    row.get_by_role("button", name="Show cat at door").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Began: ").wait_for()
    page.wait_for_function("() => document.querySelector('dialog img').naturalWidth")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    page.keyboard.press("n")
    sync_api.expect(dialog.get_by_role("button", name="No", exact=True)).to_have_attribute(
        "aria-pressed", "true"
    )
    sync_api.expect(dialog.get_by_role("status")).to_contain_text(
        "counts once Review has come to it"
    )
    dialog.get_by_label("Do not report cat at door").check()
    sync_api.expect(dialog).to_contain_text(
        "Changes are kept across restarts. door does not report cat."
    )
    shot(page, f"actions-{width}")
    assert Axe().run(page, context="dialog.moment").response["violations"] == []
    assert served.ask("GET", "/v1/settings").json["denied"] == {"door": ["cat"], "yard": []}
    served.until(
        lambda: (
            ("door", "cat")
            not in {(event.camera, event.label) for event in served.site.open_events()}
        )
    )
    answers = list(Reader(tmp_path / "memory").query("SELECT answer, alike IS NULL FROM answers"))
    assert answers == [("no", 0)]
    page.keyboard.press("Escape")
    sync_api.expect(page.locator("#settings")).to_contain_text("door does not report cat.")


def test_a_threshold_has_its_preview_beside_it(served: Any, visit: Callable[..., Any]) -> None:
    page = visit(served.url, allow="status of 404")
    page.locator("#latest li", has_text="cat").first.wait_for()
    page.wait_for_timeout(1500)
    page.locator("#timeline .event").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Threshold of").fill("0.99")
    sync_api.expect(dialog).to_contain_text("events in the last hour")
    dialog.get_by_label("Threshold of").dispatch_event("change")
    sync_api.expect(dialog).to_contain_text("Changed. Changes are kept across restarts.")
    thresholds = [row["threshold"] for row in served.ask("GET", "/v1/settings").json["labels"]]
    assert thresholds.count(0.99) == 1


def test_a_review_of_a_camera_and_a_label(
    serve: Callable[..., Any], visit: Callable[..., Any], remembered: Path
) -> None:
    served = serve(TWO, memory={"folder": str(remembered), "samples_per_hour": 0})
    page = visit(served.url)
    page.locator("#latest li", has_text="cat").first.wait_for()
    page.get_by_label("Camera", exact=True).select_option("yard")
    page.get_by_label("Label", exact=True).select_option("cat")
    with page.expect_request("**/v1/memory/review?camera=yard&label=cat"):
        page.get_by_role("button", name="Review", exact=True).click()
    sync_api.expect(page.get_by_role("dialog")).to_contain_text("All are answered")


def test_keys_that_are_typed_fast_are_all_answers(
    serve: Callable[..., Any], visit: Callable[..., Any], remembered: Path
) -> None:
    memory = {"folder": str(remembered), "samples_per_hour": 0}
    served = serve({"door": TWO["door"]}, events={"thresholds": {}, "labels": []}, memory=memory)
    page = visit(served.url)
    page.route(
        "**/v1/memory/pictures/*", lambda route: (page.wait_for_timeout(500), route.continue_())
    )
    page.get_by_role("button", name="Review", exact=True).click()
    dialog = page.get_by_role("dialog")
    sync_api.expect(dialog.locator("#moment-title")).to_contain_text("Is this a car?")
    for _ in range(12):
        page.keyboard.press("y")
    sync_api.expect(dialog.get_by_role("status")).to_contain_text("12 answered.", timeout=60_000)
    assert len(Reader(remembered).answers()) == 12
    page.unroute_all(behavior="ignoreErrors")  # pictures that still wait would fail the next test


@pytest.mark.parametrize("width", [1280, 390])
def test_not_this_again_and_undo(
    serve: Callable[..., Any],
    open_tagger: Any,
    visit: Callable[..., Any],
    tmp_path: Path,
    width: int,
) -> None:
    Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
    bank = tmp_path / "bank.safetensors"
    open_tagger.label_bank.save(bank)
    before = bank.read_bytes()
    served = serve(
        {"door": TWO["door"]},
        open_tagger,
        {"thresholds": {"cat": 0.44}, "labels": ["cat"]},
        memory={"folder": str(tmp_path / "memory")},
        bank_file=bank,
    )
    page = visit(served.url, viewport={"width": width, "height": 844}, allow="status of 4")
    row = page.locator("#latest li", has_text="door").filter(has_text="cat")
    row.first.wait_for()
    page.wait_for_timeout(1500)  # the memory has it within a second
    row.first.get_by_role("button", name="Show cat at door").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_text("Began: ").wait_for()
    dialog.get_by_role("button", name="Not this again").click()
    sync_api.expect(dialog).to_contain_text("This event would go. Of ")
    sync_api.expect(dialog).to_contain_text("no right event is protected")
    assert bank.read_bytes() == before
    assert page.evaluate("document.documentElement.scrollWidth") == width
    shot(page, f"again-{width}")
    assert Axe().run(page, context="dialog.moment").response["violations"] == []
    dialog.get_by_role("button", name="Hold").click()
    sync_api.expect(dialog).to_contain_text("Kept in bank.safetensors.")
    served.until(lambda: not served.site.open_events())  # the score has fallen
    assert bank.read_bytes() != before
    dialog.get_by_role("button", name="Undo the correction").click()
    sync_api.expect(dialog).to_contain_text("the label is as it was before")
    served.until(served.site.open_events)
    assert bank.read_bytes() == before


def test_a_closed_plan_has_no_correction(served: Any, visit: Callable[..., Any]) -> None:
    page = visit(served.url, allow="status of 404")
    page.locator("#latest li", has_text="cat").first.wait_for()
    page.locator("#timeline .event").first.click()
    dialog = page.get_by_role("dialog")
    sync_api.expect(dialog.get_by_label("Threshold of")).to_be_visible()
    sync_api.expect(dialog.get_by_role("button", name="Not this again")).to_be_hidden()
