"""Regions of a camera over the API: used at once, kept in the site file, or refused as a whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk.cameras.control.state import State
from tests.pvlr_sdk.cameras.serve.conftest import PATTERN as DOOR

LEFT, RIGHT = ([[x, 0], [x + 0.5, 0], [x + 0.5, 1], [x, 1]] for x in (0, 0.5))


def put(served: Any, regions: Any, camera: str = "door") -> Any:
    headers = {"Content-Type": "application/json"}
    return served.ask(
        "PUT", f"/v1/cameras/{camera}/regions", json.dumps({"regions": regions}), headers
    )


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "state")


def test_regions_are_used_and_kept(serve: Callable[..., Any], state: State) -> None:
    door = DOOR["door"] | {"regions": {"left": {"polygon": LEFT, "labels": ["person"]}}}
    served = serve({"door": door}, state=state.folder)
    served.until(lambda: any(event.region == "left" for event in served.site.events()))
    answer = put(served, {"left": {"polygon": RIGHT}, "new": {"polygon": LEFT}})
    assert answer.status == 200, answer.body
    assert answer.json["state_file"] == str(state.path)
    served.until(
        lambda: {event.label for event in served.site.open_events() if event.region == "new"}
    )
    assert {event.label for event in served.site.events() if event.region == "left"} == {"person"}
    kept = state.read().cameras["door"].regions
    assert {name: region.model_dump(mode="json")["polygon"] for name, region in kept.items()} == {
        "left": RIGHT,
        "new": LEFT,
    }
    assert served.site.config.cameras["door"].regions["left"].labels == ("person",)

    assert put(served, {"new": {"polygon": LEFT, "exclude": True}}).status == 200
    served.until(lambda: not any(event.region for event in served.site.open_events()))
    ends = {(event.region, event.reason) for event in served.site.events() if event.state == "off"}
    assert ends == {("left", "not watched"), ("new", "not watched")}
    assert list(state.read().cameras["door"].regions) == ["new"]
    served.until(lambda: (seen := served.site.latest("door")) and None in seen.regions)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("regions", "camera", "status"),
    [
        ({"left": {"polygon": [[0, 0], [1, 1], [1, 0], [0, 1]]}}, "door", 422),
        ({"left": {"polygon": [[0, 0], [1.5, 1], [1, 0]]}}, "door", 422),
        ({"left": {"polygon": [[0, 0], [1, 1]]}}, "door", 422),
        ({"left": {"polygon": LEFT, "labels": ["cat"]}}, "door", 422),
        ({"a b": {"polygon": LEFT}}, "door", 422),
        ({f"r{number}": {"polygon": LEFT} for number in range(101)}, "door", 422),
        ({f"r{number}": {"polygon": LEFT} for number in range(17)}, "door", 422),
        ({"left": {"polygon": LEFT}}, "gate", 404),
    ],
)
def test_what_is_refused_changes_nothing(
    serve: Callable[..., Any], state: State, regions: Any, camera: str, status: int
) -> None:
    served = serve(DOOR, state=state.folder)
    answer = put(served, regions, camera)
    assert answer.status == status, answer.body
    assert not state.path.exists()
    assert served.site.config.cameras["door"].regions == {}


def test_a_state_that_is_damaged_by_now_is_not_changed(
    serve: Callable[..., Any], state: State
) -> None:
    served = serve(DOOR, state=state.folder)
    state.folder.mkdir()
    state.path.write_text('{"cameras": {"door": {"regions": [1]}}}')
    before = state.path.read_text()
    assert put(served, {"left": {"polygon": LEFT}}).status == 422
    assert state.path.read_text() == before
    assert served.site.config.cameras["door"].regions == {}


def test_a_file_that_cannot_be_written_changes_nothing(
    serve: Callable[..., Any], state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pvlr_sdk import errors

    def fail(_: Any) -> None:
        raise errors.OutputError("state.json", expected="a file to write", got="no space", hint="")

    served = serve(DOOR, state=state.folder)
    monkeypatch.setattr("pvlr_sdk.cameras.control.control.replace_files", fail)
    assert put(served, {"left": {"polygon": LEFT}}).status == 503
    assert served.site.config.cameras["door"].regions == {}
    served.until(lambda: (seen := served.site.latest("door")) and None in seen.regions)
