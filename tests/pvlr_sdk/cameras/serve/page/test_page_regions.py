"""Regions on the page: drawn with the mouse and by keyboard alone, kept in the site file, at phone width too."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk.cameras.control.state import State

sync_api = pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.slow

DOOR = {"door": "test://?fps=30&size=320x240&seed=1"}


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state")


def kept_regions(state: State) -> Any:
    """The regions of the door as they are kept."""
    return state.read().model_dump(mode="json")["cameras"]["door"]["regions"]


def opened(page: Any) -> Any:
    card = page.locator("[data-camera=door]")
    card.locator(".tag").first.wait_for()
    return card


def picture(page: Any, name: str) -> None:
    if folder := os.environ.get("PVLR_PICTURES"):
        page.screenshot(path=f"{folder}/{name}.png")


def test_a_region_is_drawn_by_keyboard_alone(
    serve: Callable[..., Any], visit: Callable[..., Any], state: State
) -> None:
    served = serve(DOOR, state=state.folder)
    page = visit(served.url)
    card = opened(page)
    card.locator("summary").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Control+a")
    page.keyboard.type("gate")
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # draws; the picture has the focus
    sync_api.expect(card.locator(".pad")).to_be_focused()
    for keys in ("Shift+ArrowLeft Shift+ArrowUp Enter", "Shift+ArrowRight Shift+ArrowRight Enter", "Enter Backspace",
                 "Shift+ArrowDown Shift+ArrowDown ArrowDown Enter"):  # fmt: skip
        for key in keys.split():
            page.keyboard.press(key)
    sync_api.expect(card.locator(".regions .hint")).to_have_text(
        "Corner 3 at 60 % from the left, 62 % from the top."
    )
    picture(page, "keyboard")
    for _ in range(20):  # to Save
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Save":
            break
    page.keyboard.press("Enter")
    sync_api.expect(card.locator(".regions .hint")).to_have_text("Changed. Kept across restarts.")
    corners = [[0.4, 0.4], [0.6, 0.4], [0.6, 0.62]]
    assert kept_regions(state) == {"gate": {"polygon": corners, "exclude": False}}
    served.until(lambda: any(event.region == "gate" for event in served.site.events()))
    assert page.locator(".pad .in").count() == 1
    page.locator("#latest", has_text="gate").first.wait_for()
    picture(page, "saved")
    card.get_by_role("button", name="Remove gate").focus()
    page.keyboard.press("Enter")
    sync_api.expect(card.locator(".pad .in")).to_have_count(0)
    served.until(lambda: kept_regions(state) == {})


@pytest.mark.parametrize("size", [(1280, 900), (375, 667)])
def test_a_region_is_drawn_with_the_mouse(
    serve: Callable[..., Any], visit: Callable[..., Any], state: State, size: tuple[int, int]
) -> None:
    served = serve(DOOR, state=state.folder)
    page = visit(
        served.url, "422", viewport={"width": size[0], "height": size[1]}, has_touch=size[0] < 400
    )
    card = opened(page)
    card.locator("summary").click()
    card.get_by_label("Name").fill("tree")
    card.get_by_label("Exclude").check()
    card.get_by_role("button", name="Draw").click()
    card.locator(".pad").scroll_into_view_if_needed()
    box = card.locator("canvas").bounding_box()

    def click(*corners: tuple[float, float]) -> None:
        for x, y in corners:
            page.mouse.click(box["x"] + x * box["width"], box["y"] + y * box["height"])

    click((0.1, 0.1), (0.5, 0.5), (0.5, 0.1), (0.1, 0.5))
    card.get_by_role("button", name="Save").click()
    sync_api.expect(card.locator(".regions .hint")).to_contain_text(
        "a polygon that does not cross itself"
    )
    card.get_by_role("button", name="Cancel").click()
    card.get_by_role("button", name="Draw").click()
    page.wait_for_timeout(100)
    box = card.locator("canvas").bounding_box()
    click((0.1, 0.1), (0.5, 0.1), (0.5, 0.5), (0.1, 0.5))
    picture(page, f"drawn-{size[0]}")
    card.get_by_role("button", name="Save").click()
    sync_api.expect(card.locator(".regions .hint")).to_have_text("Changed. Kept across restarts.")
    sync_api.expect(card.locator(".pad .out")).to_have_count(1)
    kept = kept_regions(state)["tree"]
    assert kept["exclude"] is True
    for corner, wanted in zip(
        kept["polygon"], ([0.1, 0.1], [0.5, 0.1], [0.5, 0.5], [0.1, 0.5]), strict=True
    ):
        assert corner == pytest.approx(wanted, abs=0.02)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    picture(page, f"kept-{size[0]}")


def test_regions_of_another_browser_and_those_drawn_before_stay(
    serve: Callable[..., Any], visit: Callable[..., Any], state: State
) -> None:
    served = serve(DOOR, state=state.folder)
    card = opened(visit(served.url))
    body = '{"regions": {"gate": {"polygon": [[0, 0], [0.5, 0], [0.5, 1]]}}}'
    assert (
        served.ask(
            "PUT", "/v1/cameras/door/regions", body, {"Content-Type": "application/json"}
        ).status
        == 200
    )
    card.locator("summary").click()
    sync_api.expect(card.get_by_role("button", name="Remove gate")).to_be_visible()
    for name in ("left", ""):  # the second one gets a name that is free
        card.get_by_role("button", name="Draw").click()
        if name:
            card.get_by_label("Name").fill(name)
        for x, y in ((200, 20), (300, 20), (300, 200)):
            card.locator(".pad").click(position={"x": x, "y": y})
        card.get_by_role("button", name="Save").click()
        sync_api.expect(card.locator(".regions .hint")).to_have_text(
            "Changed. Kept across restarts."
        )
    assert list(kept_regions(state)) == ["gate", "left", "region-1"]
