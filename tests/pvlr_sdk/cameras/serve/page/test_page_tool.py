"""The page as a tool, in a real Chromium: thresholds, labels, snapshots, filter and export, empty states, axe-core."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk.cameras.control.state import State

sync_api = pytest.importorskip("playwright.sync_api")

pytestmark = pytest.mark.slow

DOOR = {"door": {"uri": "test://?fps=30&size=320x240", "tiles": "1x1"}}
TWO = {"door": "test://?fps=30&size=320x240&seed=1", "yard": "test://?fps=30&size=320x180&seed=2"}
CHELSEA = Path(__file__).parents[5] / "docs/images/chelsea.jpg"
QUIET = {"labels": ["cat", "rocket"], "thresholds": {"cat": 0.0, "rocket": 1.0}}


def latest(page: Any) -> Any:
    return page.locator("#latest li")


def test_thresholds_and_labels_changed_on_the_page_change_events(
    serve: Callable[..., Any], visit: Callable[..., Any], tmp_path: Path
) -> None:
    served = serve(DOOR, events=QUIET, state=tmp_path / "state")
    page = visit(served.url)
    sync_api.expect(latest(page)).to_have_count(1)
    status = page.locator("#settings [role=status]")
    sync_api.expect(status).to_have_text("Changes are kept across restarts.")

    # By keyboard alone: the search field, the slider of the label found, Home for 0.
    page.get_by_label("Find a label").fill("rock")
    threshold = page.get_by_label("Threshold of rocket", exact=True)
    assert page.locator(".settings li:visible").count() == 1
    threshold.focus()
    page.keyboard.press("Home")
    sync_api.expect(status).to_have_text("Changed. Changes are kept across restarts.")
    sync_api.expect(latest(page)).to_have_count(2)
    sync_api.expect(latest(page).first).to_contain_text("rocket")
    mark = page.locator("[data-camera=door] .tag[data-label=rocket] .mark")
    sync_api.expect(mark).to_have_attribute("style", "left: 0%;")
    page.keyboard.press("End")
    sync_api.expect(latest(page).first).to_contain_text("peak")
    sync_api.expect(page.locator("#latest .open")).to_have_count(1)
    page.get_by_role("button", name="Set rocket to the threshold of the plan").click()
    sync_api.expect(
        page.get_by_role("button", name="Set rocket to the threshold of the plan")
    ).to_be_hidden()

    page.get_by_label("Find a label").fill("")
    page.get_by_label("Report cat", exact=True).focus()
    page.keyboard.press("Space")
    sync_api.expect(latest(page).filter(has_text="label excluded")).to_have_count(1)
    sync_api.expect(page.locator("[data-camera=door] .tag[data-label=cat]")).to_have_count(0)
    page.reload()
    sync_api.expect(page.get_by_label("Report cat", exact=True)).not_to_be_checked()
    sync_api.expect(page.get_by_label("Report rocket", exact=True)).to_be_checked()
    changes = State(tmp_path / "state").read()
    assert (changes.labels, list(changes.thresholds)) == (("rocket",), ["rocket"])


def test_a_change_that_cannot_be_kept_is_explained(
    serve: Callable[..., Any], visit: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file in the place of the folder")
    served = serve(DOOR, state=tmp_path / "state")
    page = visit(served.url, allow="status of 503")
    threshold = page.get_by_label("Threshold of cat", exact=True)
    threshold.press("End")
    sync_api.expect(page.locator("#settings [role=status]")).to_contain_text("Not changed: ")
    sync_api.expect(threshold).to_have_value("0")


def test_bars_are_in_the_order_of_their_margins(
    serve: Callable[..., Any], visit: Callable[..., Any]
) -> None:
    served = serve(DOOR, events={"labels": None})
    page = visit(served.url)
    page.locator(".tag").nth(3).wait_for()
    for _ in range(10):
        texts = page.eval_on_selector_all(
            ".camera .margin", "all => all.map((one) => one.textContent)"
        )
        margins = [float(text.replace("\u2212", "-")) for text in texts]
        assert margins == sorted(margins, reverse=True)
        page.wait_for_timeout(100)


def test_filter_export_and_gallery(
    serve: Callable[..., Any], visit: Callable[..., Any], tmp_path: Path
) -> None:
    served = serve(
        TWO, events={"snapshots": str(tmp_path), "thresholds": {"cat": 0.0, "person": 0.0}}
    )
    page = visit(served.url, accept_downloads=True)
    sync_api.expect(latest(page)).to_have_count(4)
    sync_api.expect(page.locator(".gallery li")).to_have_count(4)
    page.get_by_label("Camera", exact=True).select_option("yard")
    sync_api.expect(latest(page)).to_have_count(2)
    page.get_by_label("Label", exact=True).select_option("cat")
    sync_api.expect(latest(page)).to_have_count(1)
    sync_api.expect(page.locator("#timeline .event")).to_have_count(1)
    sync_api.expect(page.locator(".gallery li")).to_have_count(1)
    with page.expect_download() as download:
        page.get_by_role("button", name="Export CSV").click()
    with open(download.value.path(), newline="") as text:
        (row,) = csv.DictReader(text)
    (event,) = (one for one in served.site.events() if (one.camera, one.label) == ("yard", "cat"))
    assert {key: row[key] for key in ("id", "camera", "label", "end")} == {
        "id": event.id, "camera": "yard", "label": "cat", "end": "",
    }  # fmt: skip
    assert (row["start"], row["snapshot"]) == (event.to_dict()["start"], event.snapshot)

    thumbnail = page.get_by_role("button", name=re.compile("^cat at yard"))
    thumbnail.focus()
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog", name="cat at yard, ")
    page.wait_for_function("() => document.querySelector('dialog img').naturalWidth === 320")
    sync_api.expect(dialog.get_by_role("button", name="Yes")).to_be_hidden()  # there is no memory
    page.keyboard.press("Escape")
    sync_api.expect(dialog).to_be_hidden()
    assert thumbnail.evaluate("(one) => one === document.activeElement")


def test_a_page_opened_after_the_video_has_ended_shows_its_last_frame(
    serve: Callable[..., Any], visit: Callable[..., Any]
) -> None:
    served = serve(
        {"door": "test://?fps=60&size=320x240&frames=30"},
        events={"labels": ["rocket"], "thresholds": {"rocket": 1.0}},
    )
    served.until(lambda: served.site.cameras == {"door": "ended"})
    page = visit(served.url)
    card = page.locator("[data-camera=door]")
    sync_api.expect(card.locator(".notice")).to_have_text(
        "This video has ended. Start the server with --loop to repeat it."
    )
    page.wait_for_function("() => document.querySelector('[data-camera=door] canvas').dataset.time")
    light = (
        "(canvas) => canvas.getContext('2d').getImageData(0, 0, 320, 240).data"
        ".reduce((sum, value) => sum + value) / 307200"
    )
    assert card.locator("canvas").evaluate(light) > 80
    sync_api.expect(page.locator("#latest")).to_contain_text("No events yet.")
    sync_api.expect(page.locator("#gallery")).to_contain_text("--snapshots DIR")


def test_labels_that_a_restarted_server_no_longer_has_disappear(
    serve: Callable[..., Any], visit: Callable[..., Any]
) -> None:
    served = serve(DOOR)
    page = visit(served.url)
    rows = page.locator(".settings li")
    sync_api.expect(rows).to_have_count(5)
    answer = served.get("/v1/settings").json
    answer["labels"] = [*answer["labels"][:2], {**answer["labels"][0], "label": "zebra"}]
    page.route("**/v1/settings", lambda route: route.fulfill(json=answer))
    page.get_by_label("Report cat", exact=True).click()
    sync_api.expect(rows).to_have_count(3)
    sync_api.expect(rows.last).to_contain_text("zebra")


def test_uploads_that_fail_are_explained(
    serve: Callable[..., Any],
    visit: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    served = serve(max_bytes=100_000)
    page = visit(served.url, allow="status of (413|422|500)|ERR_CONNECTION_REFUSED|WebSocket")
    sync_api.expect(page.locator("#none")).to_contain_text("No cameras.")
    for name in ("notes.txt", "more.txt"):
        (tmp_path / name).write_text("hello")
    (tmp_path / "big.jpg").write_bytes(bytes(200_000))
    message = page.locator("#photo [role=status]")
    page.set_input_files("#file", tmp_path / "notes.txt")
    sync_api.expect(message).to_contain_text(
        "“notes.txt” is not a complete JPEG, PNG or WebP image."
    )
    page.set_input_files("#file", tmp_path / "big.jpg")
    sync_api.expect(message).to_contain_text("“big.jpg” is too large.")
    page.set_input_files("#file", CHELSEA)
    sync_api.expect(message).to_contain_text(" ms")
    with monkeypatch.context() as patched:
        patched.setattr(served.server._uploads, "_work", lambda *_: 1 / 0)
        page.set_input_files("#file", tmp_path / "more.txt")
        sync_api.expect(message).to_have_text("The server answered 500; see its log.")
    served.close()
    page.set_input_files("#file", tmp_path / "notes.txt")
    sync_api.expect(message).to_have_text("The server does not answer. Is it still running?")


def test_the_documentation_of_the_api(serve: Callable[..., Any], visit: Callable[..., Any]) -> None:
    served = serve(DOOR)
    page = visit(f"{served.url}/docs")
    for name in (
        "POST /v1/tag",
        "PUT /v1/settings",
        "GET /v1/cameras/{name}/attention",
        "GET /metrics",
    ):
        page.get_by_role("heading", name=name, exact=True).wait_for()
    change = """-H 'Content-Type: application/json' -d '{"thresholds":{"person":0.7}}' """
    pick = (
        """-H 'Content-Type: application/json' -d '{"camera":"door","label":"my mug","is":true}' """
    )
    for name, options in (
        ("POST /v1/tag", "-F file=@photo.jpg "),
        ("PUT /v1/settings", f"-X PUT {change}"),
        ("POST /v1/teach/examples", f"-X POST {pick}"),
        ("POST /v1/reload", "-X POST "),  # without a body: the plan of the site file
        ("POST /v1/rollback", "-X POST "),
        ("GET /v1/plan", ""),
    ):
        command = page.get_by_role("region", name=name, exact=True).locator("code").last
        sync_api.expect(command).to_have_text(f"curl {options}'{served.url}{name.split()[1]}'")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(
    serve: Callable[..., Any], visit: Callable[..., Any], tmp_path: Path, scheme: str
) -> None:
    Axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe
    served = serve(TWO, events={"snapshots": str(tmp_path)}, token="0123456789abcdef")
    page = visit(served.url, color_scheme=scheme)

    def faults(where: str) -> list[str]:
        response = Axe().run(page).response
        assert response["passes"], where
        return [
            f"{where}: {fault['id']}: {node['html']}"
            for fault in response["violations"]
            if fault["impact"] in ("serious", "critical")
            for node in fault["nodes"]
        ]

    found = faults("sign-in")
    page.get_by_label("Token").fill("0123456789abcdef")
    page.keyboard.press("Enter")
    page.locator(".gallery li").first.wait_for()
    page.set_input_files("#file", CHELSEA)
    page.locator("#photo .tag").first.wait_for()
    found += faults("page")
    page.locator("[data-camera=door] summary").click()
    page.locator("[data-camera=door]").get_by_role("button", name="Draw").click()
    found += faults("regions")
    page.keyboard.press("Escape")
    page.locator(".gallery button").first.click()
    found += faults("snapshot")
    page.goto(f"{served.url}/docs")
    page.get_by_role("heading", name="GET /metrics").wait_for()
    page.locator("summary").first.click()
    found += faults("documentation")
    assert found == []
