"""All surfaces state one threshold of a label, and where it comes from."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from pvlr_sdk.result.tags import corrected_thresholds
from tests.pvlr_sdk.cameras.memory.conftest import Site as Reviewed
from tests.pvlr_sdk.cameras.memory.test_precision import answered, statement
from tests.pvlr_sdk.cameras.serve.conftest import PATTERN

CONFIGURED = {"cat": 0.5, "person": 0.4}


@pytest.fixture
def proven(tmp_path: Path) -> Any:
    """A memory whose answers prove a precision of 90 % for cat, and what they prove."""
    reviewed = Reviewed(tmp_path / "memory")
    answered(reviewed, 144, label="cat")
    proven = statement(reviewed.store, "cat", 0.9)
    reviewed.store.close()
    assert proven.threshold > CONFIGURED["cat"]
    return proven


@pytest.mark.slow
def test_a_proven_threshold_is_stated_by_every_surface(
    serve: Any, image: bytes, proven: Any, tmp_path: Path
) -> None:
    memory = {"folder": str(tmp_path / "memory"), "precision": {"cat": 0.9}}
    served = serve(PATTERN, memory=memory, events={"thresholds": CONFIGURED})
    site = served.site
    labels = {one["label"]: one for one in served.get("/v1/labels").json["labels"]}
    settings = {one["label"]: one for one in served.get("/v1/settings").json["labels"]}
    uploaded = served.tag(image, "image/png").json["tags"]
    stated = {
        "detector": site.levels("door")["cat"][1],
        "MQTT": site._status().thresholds["cat"],
        "page": settings["cat"]["threshold"],
        "labels": labels["cat"]["threshold"],
        "upload": {tag["label"]: tag["threshold"] for tag in uploaded}.get("cat"),
    }
    expected = pytest.approx(proven.threshold)
    assert stated == {**dict.fromkeys(stated, expected), "upload": stated["upload"] and expected}
    assert (
        settings["cat"]["source"]
        == labels["cat"]["source"]
        == f"proven by {proven.reviewed} answers"
    )
    assert settings["person"]["source"] == labels["person"]["source"] == "set for the site"
    assert settings["rocket"]["source"] == "of the plan"


def expected(
    label: str,
    plan: tuple[float, str],
    site: dict[str, Any],
    changes: dict[str, float],
    proven: Any,
) -> tuple[float, str]:
    """The rule, written out: the site file over the plan, a change over both, and never below what is proven."""
    value, source = plan
    if "threshold" in site:
        value, source = site["threshold"], "set for the site"
    if label in site["thresholds"]:
        value, source = site["thresholds"][label], "set for the site"
    if label in changes:
        value, source = changes[label], "changed while running"
    if label == "cat" and proven and proven.threshold > value:
        return proven.threshold, f"proven by {proven.reviewed} answers"
    return value, source


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20))
def test_surfaces_of_random_sites_agree(
    serve: Any, image: bytes, proven: Any, tagger: Any, tmp_path: Path, seed: int
) -> None:
    random = Random(seed)

    def some(most: int) -> dict[str, float]:
        labels = random.sample(tagger.labels, random.randint(0, most))
        return {label: round(random.uniform(0.05, 0.95), 3) for label in labels}

    site: dict[str, Any] = {"labels": None, "thresholds": some(len(tagger.labels))}
    if random.random() < 0.4:
        site["threshold"] = round(random.uniform(0.05, 0.95), 3)
    layout = random.choice([(1, 1), (2, 1)])
    cameras = {"door": {**PATTERN["door"], "tiles": layout}}
    memory: dict[str, Any] = {"folder": str(tmp_path / "memory")}
    if required := random.random() < 0.6:
        memory["precision"] = {"cat": 0.9}
    served = serve(cameras, memory=memory, events=site)
    served.until(lambda: served.site.latest("door"))
    if changes := some(3):
        change = json.dumps({"thresholds": changes})
        answer = served.ask("PUT", "/v1/settings", change, {"Content-Type": "application/json"})
        assert answer.status == 200, answer.body

    settings = {entry["label"]: entry for entry in served.get("/v1/settings").json["labels"]}
    labels = {entry["label"]: entry for entry in served.get("/v1/labels").json["labels"]}
    uploaded = {tag["label"]: tag for tag in served.tag(image, "image/png").json["tags"]}
    detector, mqtt = served.site.levels("door"), served.site._status().thresholds
    with_tiles = corrected_thresholds(tagger.thresholds, 2)
    rows = zip(tagger.labels, tagger.thresholds, with_tiles, strict=True)
    for label, plan, higher in rows:
        of_plan = (plan, "of the plan")
        of_tiles = of_plan if layout == (1, 1) else (higher, "of the plan for tiles")
        value, source = expected(label, of_tiles, site, changes, required and proven)
        stated = [settings[label]["threshold"], mqtt[label], detector[label][1]]
        assert stated == pytest.approx([value] * 3, abs=1e-6), label
        assert settings[label]["source"] == source, label
        # Uploads have no tiles.
        value, source = expected(label, of_plan, site, changes, required and proven)
        stated = [labels[label]["threshold"]]
        if label in uploaded:
            stated.append(uploaded[label]["threshold"])
        assert stated == pytest.approx([value] * len(stated), abs=1e-6), label
        assert labels[label]["source"] == source, label


@pytest.mark.slow
def test_an_answer_on_the_page_changes_the_threshold_at_once(
    serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look for answers of other processes does not help here."""
    monkeypatch.setattr("pvlr_sdk.cameras.memory.proofs._POLL", 600.0)
    reviewed = Reviewed(tmp_path / "memory")
    answered(reviewed, 35, wrong_below=0, label="cat")
    event = reviewed.event(0.9, label="cat")
    reviewed.store.close()
    memory = {"folder": str(tmp_path / "memory"), "precision": {"cat": 0.9}}
    served = serve(PATTERN, memory=memory, events={"thresholds": {"cat": 0.3}})
    assert served.site.thresholds.at("cat") == (0.3, "site", 0)
    headers = {"Content-Type": "application/json"}
    answer = served.ask("PUT", f"/v1/memory/events/{event}/answer", '{"answer": "yes"}', headers)
    assert answer.status == 200, answer.body
    served.until(lambda: served.site.thresholds.at("cat") == (0.5, "proven", 36), 2)
    assert served.site.levels("door")["cat"][1] == 0.5
