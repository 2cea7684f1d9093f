"""A plan that replaces another one under live cameras: its probation, and its return."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.bundle.bundle import write_thresholds
from pvlr_sdk.cameras.control.deployment import Deployment
from pvlr_sdk.cameras.site import Site
from pvlr_sdk.models.find import load_bundle
from tests.pvlr_sdk.cameras.control.deployed import copies, named, sha
from tests.waiting import until


def test_events_continue(running: Callable[..., tuple[Site, Deployment]], plans: Path) -> None:
    site, deployment = running(probation=0)
    (event,) = until(site.open_events)
    deployment.deploy(plans / "second")
    until(lambda: site.latest("door").result.plan == sha(plans / "second"))  # type: ignore[union-attr]
    assert site.open_events() == [event]
    with Tagger(plans / "second") as second:
        assert site.levels("door")["cat"][1] == 0.0
        assert site.tagger.thresholds.tolist() == second.thresholds.tolist()


@pytest.mark.parametrize("failure", [errors.BackendError, errors.NonFiniteError])
def test_a_plan_that_fails_on_probation_returns_to_the_previous_one(
    running: Callable[..., tuple[Site, Deployment]], plans: Path, folder: Path, tagger: Tagger,
    monkeypatch: pytest.MonkeyPatch, failure: type[errors.PvlrError],
) -> None:  # fmt: skip
    site, deployment = running(probation=60)
    undone: list[str] = []
    deployment.on_undone = undone.append
    deployment.deploy(plans / "second")
    assert deployment.status.state == "probation"

    def fail(*_: Any) -> None:
        raise failure("plan", expected="a result", got="none", hint="")

    monkeypatch.setattr(tagger._plan.inference, "finish", fail)
    until(lambda: undone)
    assert failure.__name__ in undone[0]
    until(lambda: site.latest("door").result.plan == sha(plans / "first"))  # type: ignore[union-attr]
    assert named(folder) == (folder / "first/engine.plan", None)
    assert not copies(folder)
    assert (deployment.status.state, deployment.status.reason) == ("in use", undone[0])
    with pytest.raises(errors.DeployError, match="previous plan"):
        deployment.rollback()


@pytest.mark.slow
def test_a_frame_of_the_failed_plan_that_ends_after_its_return(
    running: Callable[..., tuple[Site, Deployment]],
    plans: Path,
    tagger: Tagger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    site, deployment = running(probation=60)
    undone: list[str] = []
    deployment.on_undone = undone.append
    deployment.deploy(plans / "second")
    failure, busy = (
        errors.BackendError("plan", expected="a result", got="none", hint=""),
        threading.Event(),
    )

    def fail(*_: Any) -> None:
        busy.set()
        until(lambda: undone)
        raise failure

    monkeypatch.setattr(tagger._plan.inference, "finish", fail)
    assert busy.wait(10)
    deployment.failed(failure)
    until(lambda: undone)
    until(lambda: site.latest("door").result.plan == sha(plans / "first"))  # type: ignore[union-attr]


def test_a_plan_whose_thresholds_do_not_fit_is_not_named(
    running: Callable[..., tuple[Site, Deployment]], plans: Path, folder: Path, tmp_path: Path
) -> None:
    """Or the next start would fail: the lower threshold of the site is above that of the new plan."""
    file = folder / "site.yaml"
    file.write_text(
        file.read_text().replace("{thresholds: {cat: 0}", "{off_thresholds: {cat: 0.3}")
    )
    shutil.copytree(plans / "second", tmp_path / "second")
    write_thresholds(load_bundle(tmp_path / "second/engine.plan"), np.full(5, 0.2, np.float32))
    before = file.read_text()
    _, deployment = running(probation=0)
    with pytest.raises(errors.OptionError, match="off threshold"):
        deployment.deploy(tmp_path / "second")
    assert file.read_text() == before
    assert not copies(folder)
    assert deployment.status.plan == sha(plans / "first")


def test_a_previous_plan_that_cannot_return(
    running: Callable[..., tuple[Site, Deployment]],
    plans: Path,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is not reported as returned, and the plan in use stays the one that can be named and exchanged."""
    site, deployment = running(probation=60)
    undone: list[str] = []
    deployment.on_undone = undone.append
    deployment.deploy(plans / "second")
    before = named(folder)

    def refuse(_: Tagger) -> None:
        raise errors.OptionError("off threshold", expected="y", got="z", hint="")

    with monkeypatch.context() as patched:
        patched.setattr(site, "exchange", refuse)
        assert deployment.failed(errors.NonFiniteError("x", expected="y", got="z", hint=""))
        until(lambda: deployment.status.state == "in use")
    assert "the previous plan cannot return: off threshold" in deployment.status.reason
    assert (undone, named(folder)) == ([], before)
    with pytest.raises(errors.DeployError, match="the same"):
        deployment.deploy(plans / "second")
    deployment.rollback()
    assert deployment.status.plan == sha(plans / "first")


def test_after_probation_a_failure_ends_the_site_as_before(
    running: Callable[..., tuple[Site, Deployment]], plans: Path
) -> None:
    _, deployment = running(probation=0.1)
    deployment.deploy(plans / "second")
    until(lambda: deployment.status.state == "in use")
    assert not deployment.failed(errors.NonFiniteError("x", expected="y", got="z", hint=""))
    assert deployment._probation is None
