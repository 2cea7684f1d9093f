"""Not this again over HTTP: a preview changes nothing, a correction holds also after a restart, and can be undone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import LabelBank, Tagger
from pvlr_sdk.bundle.fingerprints import fingerprints
from pvlr_sdk.cameras.memory.reader import Reader
from tests.pvlr_sdk.cameras.serve.conftest import PATTERN
from tests.pvlr_sdk.labels import tiny_open

pytestmark = pytest.mark.slow
QUIET = {"thresholds": {}, "labels": []}
NAMES = ["car", "cat", "person"]


@pytest.fixture
def tagger_of_cars(open_tagger: Tagger) -> Tagger:
    """The tiny open plan with the labels of the memory."""
    open_tagger.set_labels(tiny_open.make_bank(3).renamed(NAMES))
    return open_tagger


@pytest.fixture
def served(
    tagger_of_cars: Tagger, serve: Callable[..., Any], remembered: Path, tmp_path: Path
) -> Any:
    tagger_of_cars.label_bank.save(tmp_path / "bank.safetensors")
    return serve(
        PATTERN,
        tagger_of_cars,
        QUIET,
        memory={"folder": str(remembered), "samples_per_hour": 0},
        bank_file=tmp_path / "bank.safetensors",
    )


def parked(folder: Path) -> list[Any]:
    """The events that look alike."""
    rows = Reader(folder).rows("kind = 'event'")
    return [row for row in rows if Reader(folder).features.read(row.space, row.id)[0] > 0.99]


def test_from_a_false_event_to_its_end_and_back(
    served: Any, remembered: Path, tmp_path: Path
) -> None:
    rows = parked(remembered)
    event = max(rows, key=lambda row: row.ended.peak).event
    path, file = f"/v1/memory/events/{event}/correction", tmp_path / "bank.safetensors"
    before = served.site.tagger.label_bank
    seen = served.get(path).json
    assert (seen["label"], seen["held"], seen["right"], seen["lost"]) == ("car", False, 0, [])
    assert seen["gone"] + seen["stay"] == 39
    others = {row.event for row in rows} - {event}
    assert others <= {moment["event"] for moment in seen["changes"]}
    assert served.site.tagger.label_bank is before

    held = served.ask("PUT", path).json
    assert held == {**seen, "held": True}
    after = served.site.tagger.label_bank
    assert LabelBank.load(file).to_bytes() == after.to_bytes()  # what the next start reads
    assert (after.weights[0] @ np.eye(tiny_open.DEPTH)[0]) < -1
    # what was proven of the other vector does not hold any more, of other labels it does
    first, second = fingerprints(before), fingerprints(after)
    assert (first[0] == second[0], first[1:] == second[1:]) == (False, True)
    answers = list(Reader(remembered).query("SELECT event, answer FROM answers"))
    assert answers == [(event, "no")]
    again = served.ask("PUT", path)
    assert (again.status, again.json["expected"]) == (422, "an event without a correction")
    other = served.ask("DELETE", f"/v1/memory/events/{min(others)}/correction")
    assert (other.status, other.json["expected"]) == (422, "the last corrected event of 'car'")

    assert served.ask("DELETE", path).json == {"held": False}
    assert served.site.tagger.label_bank.to_bytes() == before.to_bytes() == file.read_bytes()
    assert list(Reader(remembered).query("SELECT 1 FROM answers")) == []
    assert served.ask("DELETE", path).json["expected"] == "a label with a correction"


def test_right_events_are_counted(served: Any, remembered: Path) -> None:
    rows = parked(remembered)
    lowest, highest = (choose(rows, key=lambda row: row.ended.peak) for choose in (min, max))
    answer = '{"answer": "yes"}'
    assert served.ask("PUT", f"/v1/memory/events/{lowest.event}/answer", answer).status == 200
    seen = served.get(f"/v1/memory/events/{highest.event}/correction").json
    assert (seen["right"], [moment["event"] for moment in seen["lost"]]) == (1, [lowest.event])


def test_what_cannot_be_corrected(
    open_tagger: Tagger, serve: Callable[..., Any], remembered: Path, tmp_path: Path
) -> None:
    event = parked(remembered)[0].event
    path = f"/v1/memory/events/{event}/correction"
    copy = shutil.copytree(remembered, tmp_path / "copy")
    memory = {"folder": str(remembered), "samples_per_hour": 0}
    closed = serve(PATTERN, events=QUIET, memory=memory)
    unknown = serve(PATTERN, open_tagger, QUIET, memory={**memory, "folder": str(copy)})
    for method in ("GET", "PUT", "DELETE"):
        refused = closed.ask(method, path)
        assert (refused.status, refused.json["argument"]) == (422, "plan")
        assert "pvlr export RUN --open" in refused.json["hint"]
        refused = unknown.ask(method, path)  # its labels have no car
        assert (refused.status, refused.json["error"]) == (422, "UnknownLabelError")
    without = serve(PATTERN, open_tagger, QUIET)
    assert (without.get(path).status, "no memory" in without.get(path).json["detail"]) == (
        404,
        True,
    )
    refused = without.ask("PUT", path)
    assert refused.status == 404
