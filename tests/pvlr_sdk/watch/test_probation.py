"""A plan that replaces another one under live cameras: its trial, its probation, and its return."""

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
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.watch import Site
from pvlr_sdk.watch.config import DeployConfig
from pvlr_sdk.watch.deployment import Deployment
from pvlr_sdk.watch.rollout import Comparison, Rollout
from tests.pvlr_sdk.watch.deployed import keys, sha
from tests.waiting import until


class TestLimits:
    @pytest.mark.parametrize(
        ("comparison", "word"),
        [(Comparison(16, 1.0, 10.0, 21.0), "21.0 ms"), (Comparison(16, 0.4, 10.0, 10.0), "40 %"),
         (Comparison(0, None, 10, 19), ""), (Comparison(16, 0.5, 0.1, 0.9), "")],
    )  # fmt: skip
    def test_comparison(self, comparison: Comparison, word: str) -> None:
        settings = DeployConfig(max_slowdown=2, min_agreement=0.5)
        if not word:
            comparison.check(settings, "plan")
            return
        with pytest.raises(errors.DeployError, match=word):
            comparison.check(settings, "plan")

    def test_probation(self) -> None:
        rollout = Rollout([10.0] * 20, DeployConfig(max_slowdown=2, probation=60), (Path(), "", None), None, None)
        for _ in range(9):
            rollout.times.append(30.0)
        assert rollout.verdict(0) is None  # too few to tell
        rollout.times.append(30.0)
        assert "30.0 ms" in str(rollout.verdict(0))
        assert not rollout.over


def test_trial_on_live_frames_and_events_continue(running: Callable[..., tuple[Site, Deployment]], plans: Path) -> None:
    site, deployment = running(probation=0)
    (event,) = until(site.open_events)
    comparison = deployment.deploy(plans / "second")
    assert comparison.frames == 16
    assert comparison.agreement is not None
    assert 0 <= comparison.agreement <= 1
    until(lambda: site.latest("door").result.plan == sha(plans / "second"))  # type: ignore[union-attr]
    assert site.open_events() == [event]
    with Tagger(plans / "second") as second:
        assert site.levels("door")["cat"][1] == 0.0
        assert site.tagger.thresholds.tolist() == second.thresholds.tolist()


@pytest.mark.parametrize("sequential", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("failure", [errors.BackendError, errors.NonFiniteError])
def test_a_plan_that_fails_on_probation_returns_to_the_previous_one(
    running: Callable[..., tuple[Site, Deployment]], plans: Path, folder: Path, tagger: Tagger,
    monkeypatch: pytest.MonkeyPatch, failure: type[errors.PvlrError], sequential: bool,
) -> None:  # fmt: skip
    site, deployment = running(probation=60)
    undone: list[str] = []
    deployment.on_undone = undone.append
    deployment.deploy(plans / "second", sequential=sequential)
    assert deployment.status.state == "probation"

    def fail(*_: Any) -> None:
        raise failure("plan", expected="a result", got="none", hint="")

    monkeypatch.setattr(tagger._plan.inference, "finish", fail)
    until(lambda: undone)
    assert failure.__name__ in undone[0]
    until(lambda: site.latest("door").result.plan == sha(plans / "first"))  # type: ignore[union-attr]
    assert keys(folder) == ("first/engine.plan", None)
    assert not list(folder.glob("plans/*"))
    assert (deployment.status.state, deployment.status.reason) == ("in use", undone[0])
    with pytest.raises(errors.DeployError, match="previous plan"):
        deployment.rollback()


@pytest.mark.parametrize("sequential", [False, True])
@pytest.mark.slow
def test_a_frame_of_the_failed_plan_that_ends_after_its_return(
    running: Callable[..., tuple[Site, Deployment]], plans: Path, tagger: Tagger, monkeypatch: pytest.MonkeyPatch,
    sequential: bool,
) -> None:  # fmt: skip
    site, deployment = running(probation=60)
    undone: list[str] = []
    deployment.on_undone = undone.append
    deployment.deploy(plans / "second", sequential=sequential)
    failure, busy = errors.BackendError("plan", expected="a result", got="none", hint=""), threading.Event()

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
    file.write_text(file.read_text().replace("{thresholds: {cat: 0}", "{off_thresholds: {cat: 0.3}"))
    shutil.copytree(plans / "second", tmp_path / "second")
    write_thresholds(load_bundle(tmp_path / "second/engine.plan"), np.full(5, 0.2, np.float32))
    before = file.read_text()
    _, deployment = running(probation=0)
    with pytest.raises(errors.OptionError, match="off threshold"):
        deployment.deploy(tmp_path / "second")
    assert file.read_text() == before
    assert not list(folder.glob("plans/*"))
    assert deployment.status.plan == sha(plans / "first")


def test_a_previous_plan_that_cannot_return(
    running: Callable[..., tuple[Site, Deployment]], plans: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not reported as returned, and the plan in use stays the one that can be named and exchanged."""
    _, deployment = running(probation=60)
    undone: list[str] = []
    deployment.on_undone = undone.append
    deployment.deploy(plans / "second")
    before = keys(folder)

    def refuse(_: Tagger) -> None:
        raise errors.OptionError("off threshold", expected="y", got="z", hint="")

    with monkeypatch.context() as patched:
        patched.setattr(deployment, "_exchange", refuse)
        assert deployment.failed(errors.NonFiniteError("x", expected="y", got="z", hint=""))
        until(lambda: deployment.status.state == "in use")
    assert "the previous plan cannot return: off threshold" in deployment.status.reason
    assert (undone, keys(folder)) == ([], before)
    with pytest.raises(errors.DeployError, match="the same"):
        deployment.deploy(plans / "second")
    deployment.rollback()
    assert deployment.status.plan == sha(plans / "first")


@pytest.mark.slow
def test_a_plan_that_gets_slower_on_probation(
    running: Callable[..., tuple[Site, Deployment]], plans: Path, tagger: Tagger,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    site, deployment = running(probation=60, max_slowdown=50)
    until(lambda: site.stats()["cameras"]["door"]["tagged"] > 15)
    undone: list[str] = []
    deployment.on_undone = undone.append
    deployment.deploy(plans / "second")
    plan, finish = tagger._plan, tagger._plan.inference.finish

    def late(*arguments: Any) -> Any:
        result = finish(*arguments)
        result.timing["inference"] += 200.0
        return result

    monkeypatch.setattr(plan.inference, "finish", late)
    until(lambda: undone)
    assert "ms per image" in undone[0]
    assert tagger.info["sha256"] == sha(plans / "first")


def test_after_probation_a_failure_ends_the_site_as_before(
    running: Callable[..., tuple[Site, Deployment]], plans: Path
) -> None:
    _, deployment = running(probation=0.1)
    deployment.deploy(plans / "second")
    until(lambda: deployment.status.state == "in use")
    assert not deployment.failed(errors.NonFiniteError("x", expected="y", got="z", hint=""))
    assert deployment._rollout is None
