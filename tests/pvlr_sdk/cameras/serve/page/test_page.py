"""The page in a real Chromium: what moves, what a hover shows, a camera that goes and comes back, phone, keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api")

TWO = {"door": "test://?fps=30&size=320x240&seed=1", "yard": "test://?fps=30&size=320x180&seed=2"}
TOKEN = "0123456789abcdef"


def pixels(page: Any, camera: str = "door") -> str:
    return page.locator(f"[data-camera={camera}] canvas").evaluate("canvas => canvas.toDataURL()")


def until_it_moves(page: Any, camera: str = "door") -> None:
    before = pixels(page, camera)
    page.wait_for_function(
        "([camera, before]) => document.querySelector(`[data-camera=${camera}] canvas`).toDataURL() !== before",
        arg=[camera, before],
    )


@pytest.mark.slow
def test_pictures_move_and_tags_appear(
    serve: Callable[..., Any], visit: Callable[..., Any]
) -> None:
    served = serve(TWO)
    page = visit(served.url)
    for camera in TWO:
        card = page.locator(f"[data-camera={camera}]")
        card.locator(".tag.on[data-label=cat]").wait_for()
        sync_api.expect(card.locator(".chip")).to_have_text("live")
        until_it_moves(page, camera)
        until_it_moves(page, camera)
        # The bar is as long as the score says, and the margin is the score less the threshold, which is 0 for cat.
        row = card.locator(".tag[data-label=cat]")
        score, margin, width = row.evaluate(
            "row => [row.querySelector('.score').textContent, row.querySelector('.margin').textContent,"
            " row.querySelector('.fill').style.width]"
        )
        assert re.fullmatch(r"[01]\.\d\d", score)  # as thresholds, margins and peaks
        assert margin == f"+{score}"
        assert abs(float(width[:-1]) - 100 * float(score)) < 0.51
    page.locator("#timeline .event.open").first.wait_for()
    assert page.locator("#latest li").count() == 4
    page.wait_for_function(
        "() => document.querySelectorAll('.chart .quick')[0]?.getAttribute('d')?.length > 30"
    )
    sync_api.expect(page.locator("[data-camera=door] .legend").first).to_contain_text("ms median")
    page.get_by_role("button", name="Pause video").click()
    page.wait_for_timeout(300)
    before = pixels(page)
    page.wait_for_timeout(500)
    assert pixels(page) == before
    page.get_by_role("button", name="Pause video").click()
    until_it_moves(page)


@pytest.mark.slow
def test_a_hover_and_the_keyboard_show_where_the_model_looks(
    serve: Callable[..., Any], visit: Callable[..., Any]
) -> None:
    served = serve({"door": "test://?fps=30&size=320x240"})
    page = visit(served.url)
    card = page.locator("[data-camera=door]")
    canvas, caption = card.locator("canvas"), card.locator(".caption")
    card.locator(".tag[data-label=cat]").hover()
    sync_api.expect(canvas).to_have_attribute("data-map", "cat")
    sync_api.expect(caption).to_have_text("where the model looks for cat")
    until_it_moves(page)
    # What lies over the picture is the map: dark where its weight is small, on a paused picture that doesn't move.
    page.get_by_role("button", name="Pause video").focus()
    page.mouse.move(2, 2)
    sync_api.expect(canvas).to_have_attribute("data-map", "")
    sync_api.expect(caption).to_be_hidden()

    # From the top of the page with the keyboard alone: the tab key, the arrows, Escape.
    page.keyboard.press("Enter")
    for _ in range(8):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.classList.contains('tag')"):
            break
    first = page.evaluate("document.activeElement.dataset.label")
    assert first in ("cat", "person")
    sync_api.expect(canvas).to_have_attribute("data-map", first)
    page.keyboard.press("ArrowDown")
    second = page.evaluate("document.activeElement.dataset.label")
    assert {first, second} == {"cat", "person"}
    sync_api.expect(canvas).to_have_attribute("data-map", second)
    covered = brightness(page)
    page.keyboard.press("Escape")
    sync_api.expect(canvas).to_have_attribute("data-map", "")
    page.wait_for_function("() => document.querySelector('[data-camera=door] .caption').hidden")
    assert covered < brightness(page) - 10
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement !== document.body")


BRIGHTNESS = """(canvas) => {
  const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  const { data } = copy.getImageData(0, 0, canvas.width, canvas.height);
  return data.reduce((sum, value) => sum + value, 0) / data.length;
}"""


def brightness(page: Any) -> float:
    return page.locator("[data-camera=door] canvas").evaluate(BRIGHTNESS)


@pytest.mark.slow
def test_a_killed_camera_shows_as_lost_and_comes_back(
    serve: Callable[..., Any], visit: Callable[..., Any], rtsp: Callable[..., Any]
) -> None:
    camera = rtsp("--size", "160x120")
    served = serve({"door": {"uri": camera.uri("me:s3cret@"), "timeout": 1.5}})
    page = visit(served.url)
    card = page.locator("[data-camera=door]")
    until_it_moves(page)
    page.locator("#latest li").first.wait_for()  # an event that the loss can end
    camera.kill()
    sync_api.expect(card.locator(".chip")).to_have_text("lost", timeout=10_000)
    sync_api.expect(card.locator(".notice")).to_contain_text("lost: ")
    sync_api.expect(card.locator(".notice")).to_be_visible()
    sync_api.expect(card).to_have_class(re.compile(r"\baway\b"))  # the last picture is greyed
    sync_api.expect(page.locator("#news")).to_have_text("Camera door is lost")
    page.locator("#latest li", has_text="camera lost").first.wait_for()
    assert "s3cret" not in page.content()
    camera.start("--size", "160x120")
    sync_api.expect(card.locator(".chip")).to_have_text("live", timeout=20_000)
    sync_api.expect(card.locator(".notice")).to_be_hidden()
    sync_api.expect(card).not_to_have_class(re.compile(r"\baway\b"))
    until_it_moves(page)


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_scrolling_sideways(
    serve: Callable[..., Any], visit: Callable[..., Any], scheme: str
) -> None:
    long = {"a_camera_with_a_name_that_does_not_end_before_the_screen_does": TWO["door"], **TWO}
    served = serve(long)
    page = visit(
        served.url,
        viewport={"width": 390, "height": 844},
        has_touch=True,
        is_mobile=True,
        color_scheme=scheme,
    )
    page.locator(".tag").first.wait_for()
    page.locator("#timeline .event").first.wait_for()
    widest = page.evaluate(
        "Math.max(document.documentElement.scrollWidth,"
        " ...[...document.querySelectorAll('body *:not(.unseen, .skip)')]"
        ".map((one) => one.getBoundingClientRect().right))"
    )
    assert widest <= 390
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    assert (
        page.eval_on_selector_all(".track", "all => Math.min(...all.map((one) => one.clientWidth))")
        > 150
    )
    page.set_viewport_size({"width": 390, "height": 844})
    # A tap does what a hover does.
    page.locator("[data-camera=door] .tag[data-label=cat]").tap()
    sync_api.expect(page.locator("[data-camera=door] canvas")).to_have_attribute("data-map", "cat")
    too_pale = page.evaluate(CONTRAST)
    assert too_pale == []


CONTRAST = """() => {
  const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const light = (color) => {
    const [red, green, blue] = color.match(/[\\d.]+/g).map(Number);
    return 0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue);
  };
  const ground = (one) => {
    for (; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (color !== "rgba(0, 0, 0, 0)") return color;
    }
    return "rgb(255, 255, 255)";
  };
  const found = [];
  for (const one of document.querySelectorAll("h1, h2, h3, p, button, b, span, time, a, figcaption")) {
    const own = [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || one.closest(".view, .unseen, .skip") || !one.checkVisibility()) continue;
    const [a, b] = [light(getComputedStyle(one).color), light(ground(one))].sort();
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) found.push(`${one.className} ${one.textContent}: ${ratio.toFixed(2)}`);
  }
  return found;
}"""


@pytest.mark.slow
def test_a_photo_of_ones_own(serve: Callable[..., Any], visit: Callable[..., Any]) -> None:
    served = serve()
    page = visit(served.url)
    sync_api.expect(page.locator("#connection")).to_have_text("connected")
    assert page.locator("#events").is_hidden()
    assert page.locator("#pause").is_hidden()
    page.set_input_files("#file", Path(__file__).parents[5] / "docs/images/chelsea.jpg")
    sync_api.expect(page.locator("#photo .hint")).to_contain_text(" ms")
    expected = served.tag(
        (Path(__file__).parents[5] / "docs/images/chelsea.jpg").read_bytes()
    ).json["tags"]
    labels = page.eval_on_selector_all(
        "#photo .tag", "rows => rows.map((row) => row.dataset.label)"
    )
    assert sorted(labels) == sorted(tag["label"] for tag in expected) != []
    page.locator("#photo .tag").first.focus()
    sync_api.expect(page.locator("#photo canvas")).to_have_attribute("data-map", labels[0])


@pytest.mark.slow
def test_with_a_token_one_signs_in_and_stays_in(
    serve: Callable[..., Any], visit: Callable[..., Any]
) -> None:
    served = serve(TWO, token=TOKEN)
    page = visit(served.url)
    assert page.url.endswith("/signin")
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    page.locator("[data-camera=door] .tag").first.wait_for()
    until_it_moves(page)
    page.reload()
    until_it_moves(page)


@pytest.mark.slow
def test_a_server_that_comes_back_is_found_again(
    serve: Callable[..., Any], chromium: Any, plan: Path, tagger: Any
) -> None:
    from pvlr_sdk.cameras.control.control import Control
    from pvlr_sdk.cameras.serve import ServeSettings
    from pvlr_sdk.cameras.serve.web import WebServer

    first = WebServer(Control(tagger), ServeSettings(port=0), print)
    first.start()
    page = chromium.new_page()
    page.goto(first.url)
    sync_api.expect(page.locator("#connection")).to_have_text("connected")
    first.close()
    sync_api.expect(page.locator("#connection")).to_have_text("disconnected; reconnecting")
    second = WebServer(
        Control(tagger), ServeSettings(port=int(first.url.rpartition(":")[2])), print
    )
    second.start()
    sync_api.expect(page.locator("#connection")).to_have_text("connected", timeout=15_000)
    page.close()
    second.close()


def test_the_modules_are_valid_for_the_page_alone() -> None:
    """Nothing in the page names another server."""
    folder = Path(__file__).parents[5] / "pvlr_sdk/cameras/serve/page/static"
    for path in folder.iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "//" not in text.replace("// ", "").replace("://", "x") or path.suffix == ".js", path
        assert "http://" not in text, path
        assert "https://" not in text, path
