"""Labels that a camera does not report, while it runs and after a restart."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk.cameras.control.state import State

TWO = {
    "door": {"uri": "test://?fps=30&size=64x48", "tiles": "1x1"},
    "yard": {"uri": "test://?fps=30&size=64x48", "tiles": "1x1", "deny": ["person"]},
}
JSON = {"Content-Type": "application/json"}


def deny(served: Any, camera: str, *labels: Any) -> Any:
    body = json.dumps({"labels": labels})
    return served.ask("PUT", f"/v1/cameras/{camera}/deny", body, JSON)


def opened(served: Any) -> set[tuple[str, str]]:
    return {(event.camera, event.label) for event in served.site.open_events()}


def test_a_label_is_not_reported_at_one_camera(serve: Callable[..., Any], tmp_path: Path) -> None:
    served = serve(TWO, state=tmp_path / "state", events={"thresholds": {"cat": 0, "person": 0}})
    every = {("door", "cat"), ("door", "person"), ("yard", "cat")}
    served.until(lambda: opened(served) == every)
    assert served.get("/v1/settings").json["denied"] == {"door": [], "yard": ["person"]}
    answer = deny(served, "door", "cat")
    assert answer.status == 200, answer.body
    assert answer.json["denied"] == {"door": ["cat"], "yard": ["person"]}
    served.until(lambda: opened(served) == every - {("door", "cat")})
    assert deny(served, "yard").status == 200
    served.until(lambda: ("yard", "person") in opened(served))
    state = State(tmp_path / "state")
    assert {name: camera.deny for name, camera in state.read().cameras.items()} == {
        "door": ("cat",),
        "yard": (),
    }
    again = serve(TWO, events={"thresholds": {"cat": 0, "person": 0}})
    again.site.use(state.read())
    again.until(lambda: ("yard", "person") in opened(again))
    assert ("door", "cat") not in opened(again)
    # Which labels are reported at all is another setting, and does not undo it.
    body = json.dumps({"labels": ["cat", "person"]})
    assert served.ask("PUT", "/v1/settings", body, JSON).json["denied"]["door"] == ["cat"]


@pytest.mark.parametrize(
    ("camera", "labels", "status"),
    [
        ("door", ["dog park"], 422),
        ("door", ["cat", "cat"], 422),
        ("door", [1], 422),
        ("gate", ["cat"], 404),
    ],
)
def test_what_is_refused_changes_nothing(
    serve: Callable[..., Any], tmp_path: Path, camera: str, labels: list[Any], status: int
) -> None:
    served = serve(TWO, state=tmp_path / "state")
    answer = deny(served, camera, *labels)
    assert answer.status == status, answer.body
    assert not State(tmp_path / "state").path.exists()
    assert served.get("/v1/settings").json["denied"]["door"] == []
