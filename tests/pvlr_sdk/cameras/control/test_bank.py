"""A label bank of a site: in use from the start, carried over to other plans, changed while cameras run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from pvlr_sdk import LabelBank, Tagger, errors
from pvlr_sdk.bundle.bundle import labels_path
from pvlr_sdk.cameras.control.control import Control
from pvlr_sdk.cameras.control.deployment import Deployment
from pvlr_sdk.cameras.site import Site, load_config
from pvlr_sdk.cameras.site.config import SiteConfig
from pvlr_sdk.cameras.site.factory import make_tagger
from pvlr_sdk.cli import app
from pvlr_sdk.workshop.compile.build import build
from tests.pvlr_sdk.labels import tiny_open
from tests.waiting import until

SITE = """
plan: first
bank: bank.safetensors
threads: 1
cameras: {door: 'test://?fps=30&size=64x48'}
events: {thresholds: {cat: 0}, labels: [cat], min_duration: 0.1}
"""
BANK = tiny_open.make_bank(5, seed=3)


@pytest.fixture(scope="module")
def open_plans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``first`` and ``second`` of one model with other thresholds, and ``other`` of another model."""
    pytest.importorskip("onnx", reason="writes networks")
    folder, own = tmp_path_factory.mktemp("open"), tiny_open.make_bank()
    tuned = LabelBank(own.names, own.embeddings, own.thresholds / 2, own.text, biases=own.biases)
    space = {"max_labels": tiny_open.MAX, "width": tiny_open.WIDTH, "space": "another model",
             "feature_width": tiny_open.DEPTH, "features": "others"}  # fmt: skip
    kinds: dict[str, tuple[LabelBank, Any]] = {
        "first": (own, None),
        "second": (tuned, None),
        "other": (tiny_open.make_bank(space="another model"), {"open": space}),
    }
    for name, (bank, spec) in kinds.items():
        build(
            tiny_open.write_network(folder / "networks" / name, bank, spec=spec),
            folder / name / "engine.plan",
        )
    return folder


@pytest.fixture
def folder(open_plans: Path, tmp_path: Path) -> Path:
    """A folder with a site file."""
    (tmp_path / "first").symlink_to(open_plans / "first")
    (tmp_path / "site.yaml").write_text(SITE)
    BANK.save(tmp_path / "bank.safetensors")
    return tmp_path


@pytest.fixture
def tagger(folder: Path) -> Iterator[Tagger]:
    with make_tagger(load_config(folder / "site.yaml")) as made:
        yield made


@pytest.mark.slow
def test_a_site_starts_with_it(tagger: Tagger) -> None:
    assert tagger.label_bank.to_bytes() == BANK.to_bytes()


@pytest.mark.parametrize("command", ["watch", "serve"])
def test_an_option_names_it(command: str, folder: Path, open_plans: Path) -> None:
    options = [
        "--plan",
        str(open_plans / "first"),
        "--bank",
        str(folder / "bank.safetensors"),
        "--check",
    ]
    done = CliRunner().invoke(app, [command, "test://", *options])
    assert (done.exit_code, "5 labels." in done.output) == (0, True), done.output
    if command == "serve":
        done = CliRunner().invoke(app, [command, *options])
        assert "valid: 0 cameras, 0 sinks, 5 labels." in done.output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("plan", "bank", "error"),
    [("closed", BANK, errors.BackendError), ("other", BANK, errors.LabelBankError),
     ("first", tiny_open.make_bank(tiny_open.MAX + 1), errors.LabelBankError), ("first", None, errors.LabelBankError)],
)  # fmt: skip
def test_what_is_refused_at_the_start(
    plan: str,
    bank: LabelBank | None,
    error: type[errors.PvlrError],
    folder: Path,
    open_plans: Path,
    plans: Path,
) -> None:
    path = plans / "first" if plan == "closed" else open_plans / plan
    (folder / "site.yaml").write_text(SITE.replace("plan: first", f"plan: {path}"))
    (folder / "bank.safetensors").unlink()
    if bank:
        bank.save(folder / "bank.safetensors")
    with pytest.raises(error) as caught:
        make_tagger(load_config(folder / "site.yaml"))
    assert type(caught.value) is error


def test_another_plan_gets_it(
    running: Callable[..., tuple[Site, Deployment]], open_plans: Path
) -> None:
    site, deployment = running()
    (event,) = until(site.open_events)
    deployment.deploy(open_plans / "second")
    assert site.tagger.info["plan"] != str(open_plans / "first/engine.plan")
    assert site.tagger.label_bank.to_bytes() == BANK.to_bytes()
    assert site.open_events() == [event]
    deployment.rollback()
    assert site.tagger.label_bank.to_bytes() == BANK.to_bytes()
    # Again with its own labels, the plan that comes next has its own.
    site.set_labels(LabelBank.load(labels_path(open_plans / "first/engine.plan")))
    deployment.deploy(open_plans / "second")
    np.testing.assert_array_equal(site.tagger.thresholds, tiny_open.make_bank().thresholds / 2)


@pytest.mark.parametrize("name", ["other", "closed"])
def test_a_plan_that_cannot_use_it_is_refused(
    running: Callable[..., tuple[Site, Deployment]], open_plans: Path, plans: Path, name: str
) -> None:
    site, deployment = running()
    before = site.tagger.info["sha256"]
    with pytest.raises(
        errors.DeployError, match="a plan that can use the label bank in use"
    ) as caught:
        deployment.deploy(plans / "first" if name == "closed" else open_plans / name)
    assert "bank: in the site file" in caught.value.hint
    assert site.tagger.info["sha256"] == before
    assert site.tagger.label_bank.to_bytes() == BANK.to_bytes()


def test_during_a_probation_labels_stay(tagger: Tagger, open_plans: Path) -> None:
    control = Control(tagger, config=SiteConfig(deploy={"probation": 60}))
    control.deployment.deploy(open_plans / "second")
    with pytest.raises(errors.DeployError, match="labels: expected one change at a time"):
        control.set_labels(tiny_open.make_bank())
    control.deployment.close()
    control.set_labels(tiny_open.make_bank())
    assert tagger.labels == tiny_open.NAMES


def test_settings_of_labels_that_go_are_ignored(
    running: Callable[..., tuple[Site, Deployment]],
) -> None:
    site, _ = running()
    before, levels = site.tagger.label_bank, list(site.levels("door"))
    site.set_labels(before.select(["person", "rocket"]))
    assert list(site.levels("door")) == []
    count = site.stats()["cameras"]["door"]["tagged"]
    until(lambda: site.stats()["cameras"]["door"]["tagged"] > count + 3)
    site.set_labels(before)
    assert list(site.levels("door")) == levels == ["cat"]
