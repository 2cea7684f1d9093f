"""What changes while a site runs is checked first, then used, then kept: all of it or nothing, in one order."""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import LabelBank, Tagger, errors
from pvlr_sdk.bundle.bundle import write_thresholds
from pvlr_sdk.cameras.control import state as state_module
from pvlr_sdk.cameras.control.control import Control
from pvlr_sdk.cameras.control.plans import Plans
from pvlr_sdk.cameras.control.state import _LIMITS, State, locked
from pvlr_sdk.cameras.site import Site, SiteConfig, load_config
from pvlr_sdk.cameras.site.changes import Changes, DeployedPlan
from pvlr_sdk.cameras.site.config import DeployConfig
from pvlr_sdk.cameras.site.factory import make_detectors
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.workshop.compile.build import build
from tests.pvlr_sdk.cameras.serve.conftest import open_plan as open_plan
from tests.pvlr_sdk.labels import tiny_open

OPEN = {
    "max_labels": tiny_open.MAX,
    "width": tiny_open.WIDTH,
    "feature_width": tiny_open.DEPTH,
    "features": "others",
}
SITE = "bank: bank.safetensors\ncameras: {door: 'test://'}\nevents: {labels: [cat], thresholds: {cat: 0.5}}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "site.yaml").write_text(SITE)
    tiny_open.make_bank().save(tmp_path / "bank.safetensors")
    return tmp_path


@pytest.fixture
def tagger(open_plan: Path) -> Iterator[Tagger]:
    with Tagger(open_plan, num_threads=1) as made:
        yield made


@pytest.fixture
def state(folder: Path) -> State:
    return State(folder / "state")


@pytest.fixture
def control(tagger: Tagger, folder: Path, state: State) -> Iterator[Control]:
    """A control whose site file is never written."""
    config = load_config(folder / "site.yaml")
    config = config.model_copy(update={"deploy": DeployConfig(probation=0)})
    plans = Plans(state, lambda: load_config(folder / "site.yaml"))
    bank = folder / "bank.safetensors"
    yield Control(tagger, Site(config, tagger=tagger), state, plans=plans, bank=bank)
    assert (folder / "site.yaml").read_text() == SITE


def next_start(folder: Path, tagger: Tagger) -> Site:
    """The site as the next start makes it."""
    return Site(
        load_config(folder / "site.yaml"), tagger=tagger, changes=State(folder / "state").read()
    )


def taught(tagger: Tagger, label: str = "mug") -> LabelBank:
    """The bank in use and a taught label."""
    base = tagger.label_bank
    names = [*base.names, label]
    more = tiny_open.make_bank(len(names))
    text = {**more.text, "features": tiny_open.FEATURES, "taught": {label: {"before": None}}}
    weights = np.zeros((len(names), tiny_open.DEPTH), np.float16)
    return LabelBank(names, more.embeddings, more.thresholds, text, weights=weights)


@pytest.mark.parametrize(
    ("labels", "error"),
    [(["cat"] * 140_000, errors.OptionError), (["cat", "cta"], errors.UnknownLabelError)],
)
def test_labels_that_are_unknown_or_named_twice(
    control: Control, state: State, labels: list[str], error: type[errors.PvlrError]
) -> None:
    """The server could not start again: the state had more values than its reader accepts."""
    with pytest.raises(error):
        control.configure({}, labels)
    assert not state.path.exists()
    assert control.events.labels == ("cat",)


def test_what_the_next_start_could_not_read(
    control: Control, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    control.configure({"cat": 0.25})
    kept = state.path.read_bytes()
    limits = _LIMITS._replace(size=len(kept) + 5)
    monkeypatch.setattr("pvlr_sdk.cameras.control.state._LIMITS", limits)
    with pytest.raises(errors.ConfigError, match="bytes"):
        control.configure(dict.fromkeys(tiny_open.NAMES, 0.5))
    assert state.path.read_bytes() == kept
    assert control.thresholds.at("cat").value == 0.25


def test_changes_are_kept_and_read_after_the_site_file(
    control: Control, state: State, folder: Path, tagger: Tagger
) -> None:
    control.configure({"cat": 0.25, "rocket": 0.75}, ["cat", "rocket"])
    control.enable("door", False)
    control.set_regions("door", {"gate": {"polygon": [[0, 0], [1, 0], [1, 1]], "exclude": False}})
    assert json.loads(state.path.read_text()) == {
        "version": 1,
        "thresholds": {"cat": 0.25, "rocket": 0.75},
        "labels": ["cat", "rocket"],
        "cameras": {
            "door": {"enabled": False, "regions": {"gate": {"polygon": [[0, 0], [1, 0], [1, 1]]}}}
        },
    }
    site = next_start(folder, tagger)
    used = control.site.config
    assert (site.config.cameras, site.config.events) == (used.cameras, used.events)
    assert site.thresholds == control.thresholds
    assert site.thresholds.at("cat") == (0.25, "change", 0)
    assert list(site.levels("door")) == ["cat", "rocket"]
    control.configure({}, tagger.labels)
    assert next_start(folder, tagger).config.events.labels is None


def test_changes_of_another_process_are_not_lost(control: Control, state: State) -> None:
    """A deployment, such as of pvlr deploy, writes to the same file."""
    control.configure({"cat": 0.25})
    deployed = DeployedPlan(plan=Path("/plan"), instead_of="")
    State(state.folder).update(lambda changes: changes.model_copy(update={"deployed": deployed}))
    control.configure({"rocket": 0.5})
    assert state.read() == Changes(thresholds={"cat": 0.25, "rocket": 0.5}, deployed=deployed)


def test_what_no_longer_applies_is_ignored_with_a_warning(
    control: Control, state: State, folder: Path, tagger: Tagger, caplog: pytest.LogCaptureFixture
) -> None:
    control.configure({"cat": 0.25, "rocket": 0.5}, ["cat", "rocket"])
    control.enable("door", False)
    config = SiteConfig.parse({"cameras": {"gate": "test://"}}, source="test")
    changes, dropped = state.read().fitting(config)
    assert (changes.cameras, dropped) == ({}, ["camera 'door'"])
    with tagger_without(tagger, "rocket"):
        site = Site(config, tagger=tagger, changes=changes)
        assert site.config.events.labels == ("cat",)
        assert site.thresholds.changes == {"cat": 0.25}
    assert "events.labels: unknown labels are ignored: 'rocket'" in caplog.text


@contextmanager
def tagger_without(tagger: Tagger, label: str) -> Iterator[None]:
    before = tagger.label_bank
    tagger.set_labels(before.select([name for name in before.names if name != label]))
    yield
    tagger.set_labels(before)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 2}', '{"thresholds": {"cat": 7}}', '{"mystery": 1}', "\0"]
)
def test_a_damaged_file_is_set_aside(
    state: State, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    state.folder.mkdir()
    state.path.write_text(text)
    with pytest.raises(errors.ConfigError, match="the changes of a site"):
        state.read()
    assert state.read_or_set_aside() == Changes()
    assert "the site begins with its site file" in caplog.text
    assert (state.folder / "state.damaged.json").read_text() == text
    assert state.read() == Changes()


def test_a_state_folder_that_cannot_be_written_changes_nothing(
    tagger: Tagger, folder: Path, control: Control
) -> None:
    (folder / "blocked").write_text("a file in the place of the folder")
    blocked = Control(tagger, control.site, State(folder / "blocked"))
    with pytest.raises(errors.OutputError, match="a state folder that can be written") as error:
        blocked.configure({"cat": 0.25})
    assert "--state DIR" in error.value.hint
    assert blocked.thresholds.at("cat").value == 0.5
    kept_nowhere = Control(tagger, control.site)
    kept_nowhere.configure({"cat": 0.25})
    assert kept_nowhere.thresholds.at("cat").value == 0.25


def test_a_full_disk_changes_nothing(
    control: Control, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    control.configure({"cat": 0.25})
    kept = state.path.read_bytes()

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pvlr_sdk._util.files._write", full)
    for change in (
        lambda: control.configure({"cat": 0.75}),
        lambda: control.enable("door", False),
        lambda: control.set_regions("door", {"gate": {"polygon": [[0, 0], [1, 0], [1, 1]]}}),
    ):
        with pytest.raises(errors.OutputError, match="No space left"):
            change()
    assert state.path.read_bytes() == kept
    assert control.thresholds.at("cat").value == 0.25
    assert control.site.config.cameras["door"].enabled
    assert not control.site.config.cameras["door"].regions


def test_a_state_that_another_process_is_changing(
    control: Control, folder: Path, tagger: Tagger, state: State
) -> None:
    with state.locked():
        with pytest.raises(errors.DeployError, match="state"):
            control.configure({"cat": 0.25})
        with pytest.raises(errors.DeployError, match="state"):
            control.set_labels(taught(tagger), report="mug")
    with locked(folder / "bank.safetensors"), pytest.raises(errors.DeployError, match="bank"):
        control.set_labels(taught(tagger), report="mug")
    assert not state.path.exists()
    control.set_labels(taught(tagger), report="mug")


def test_a_lock_is_on_the_file_that_has_replaced_another(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flock = folder / "site.yaml", fcntl.flock

    def replaced(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        path.rename(folder / "old")
        shutil.copy(folder / "old", path)
        flock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", replaced)
    with locked(path), pytest.raises(errors.DeployError), locked(path):
        pass


def test_a_plan_that_the_next_start_could_not_use_with_the_bank(
    control: Control, tagger: Tagger, folder: Path, open_plan: Path, tmp_path: Path
) -> None:
    """The bank equals that of the plan in use; another plan must be able to use it, too."""
    tiny_open.write_network(
        tmp_path / "other", tiny_open.make_bank(space="x"), spec={"open": {**OPEN, "space": "x"}}
    )
    build(tmp_path / "other/model-open.onnx", tmp_path / "other/engine.plan")
    assert tagger.info["bank"] == tagger.info["own_bank"]
    with pytest.raises(errors.LabelBankError, match="expected a bank made for x"):
        control.deployment.deploy(tmp_path / "other")
    assert not State(folder / "state").path.exists()
    assert tagger.info["plan"] == str(open_plan)


def test_a_bank_that_another_process_has_written(
    control: Control, folder: Path, tagger: Tagger
) -> None:
    """Its labels were lost without a word."""
    path, other = folder / "bank.safetensors", tiny_open.make_bank(5)
    other.save(path)
    with pytest.raises(errors.DeployError, match="Another process"):
        control.set_labels(taught(tagger), report="mug")
    assert path.read_bytes() == other.to_bytes()
    assert tagger.labels == tiny_open.NAMES
    assert not State(folder / "state").path.exists()


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names of the files of each write, in their order."""
    names: list[list[str]] = []

    def record(contents: dict[Path, bytes], **options: Any) -> None:
        names.append([path.name for path in contents])
        write(contents, **options)

    write = state_module.write_files
    monkeypatch.setattr(state_module, "write_files", record)
    return names


def test_labels_in_use_always_include_those_that_the_changes_name(
    control: Control, tagger: Tagger, state: State, written: list[list[str]]
) -> None:
    """Wherever the process ends: the next start ignored a change, since it named a label that was gone."""
    before = tagger.label_bank
    control.set_labels(taught(tagger), report="mug")
    control.configure({"mug": 0.25})
    assert (state.read().labels, state.read().thresholds) == (("cat", "mug"), {"mug": 0.25})
    control.set_labels(before)
    assert (state.read().labels, state.read().thresholds) == (("cat",), {})
    assert written == [
        ["bank.safetensors", "state.json"],
        ["state.json"],
        ["state.json", "bank.safetensors"],
    ]


def test_a_bank_that_cannot_be_written_changes_nothing(
    control: Control, tagger: Tagger, folder: Path, state: State
) -> None:
    before = tagger.label_bank
    control.set_labels(taught(tagger), report="mug")
    kept, bank = state.path.read_bytes(), folder / "bank.safetensors"
    bank.unlink()
    bank.mkdir()
    with pytest.raises(errors.OutputError):
        control.set_labels(before)
    assert state.path.read_bytes() == kept
    assert control.events.labels == ("cat", "mug")
    assert tagger.labels[-1] == "mug"


def test_labels_of_this_process_alone_are_not_kept(
    tagger: Tagger, control: Control, state: State
) -> None:
    """Without a file for the label bank, taught labels end with the process, and so do their settings."""
    unkept = Control(tagger, control.site, state)
    unkept.set_labels(taught(tagger), report="mug")
    unkept.configure({"mug": 0.25, "cat": 0.75})
    assert unkept.events.labels == ("cat", "mug")
    assert state.read() == Changes(thresholds={"cat": 0.75}, labels=("cat",))


def test_settings_of_labels_that_the_bank_lost_are_ignored(
    tagger: Tagger, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    events = "{labels: [cat, mug], thresholds: {mug: 0.5, cat: 0.5}, off_thresholds: {mug: 0.1}, deny: [pen], "
    events += "when: {cat: {present: [mug], within: 1}, rocket: {absent: [cat], within: 2}}, "
    events += "groups: {one: [cat, mug, rocket], two: [mugs, pen]}}"
    (folder / "site.yaml").write_text(
        "bank: bank.safetensors\ncameras: {door: {uri: 'test://', deny: [pen, rocket], "
        f"regions: {{mat: {{polygon: [[0, 0], [1, 0], [1, 1]], labels: [pen]}}}}}}}}\nevents: {events}\n"
    )
    with caplog.at_level(logging.WARNING):
        config = Site(load_config(folder / "site.yaml"), tagger=tagger).config
    assert (config.events.labels, config.events.thresholds) == (("cat",), {"cat": 0.5})
    assert (config.events.off_thresholds, config.events.deny) == ({}, ())
    assert list(config.events.when) == ["rocket"]
    assert config.events.groups == {"one": ("cat", "rocket")}
    assert config.cameras["door"].deny == ("rocket",)
    assert "cameras.door.deny: unknown labels are ignored: 'pen'" in caplog.text
    assert "cameras.door.regions.mat.labels: unknown labels are ignored: 'pen'" in caplog.text
    assert caplog.text.count("unknown labels are ignored: ") == 8


@pytest.mark.parametrize(
    "text", [SITE.replace("[cat]", "[cta]"), SITE.partition("\n")[2].replace("cat:", "cta:")]
)
def test_settings_of_unknown_labels_do_not_end_the_start(
    tagger: Tagger, folder: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Also without a bank, and if no label is known; ``--check`` reports them."""
    (folder / "site.yaml").write_text(text)
    config = load_config(folder / "site.yaml")
    assert "cta" not in str(Site(config, tagger=tagger).config.events)
    assert "unknown labels are ignored: 'cta'. Did you mean 'cat'?" in caplog.text
    with pytest.raises(errors.UnknownLabelError):
        make_detectors(config, tagger)


@pytest.mark.slow
def test_settings_that_change_while_a_plan_is_exchanged_are_kept(
    control: Control, tmp_path: Path, open_plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exchange uses the settings that it finds, and must not bring older ones back."""
    site = control.site
    assert site is not None
    use, change = site.use, threading.Thread(target=control.configure, args=[{"cat": 0.9}])

    def interrupted(changes: Changes) -> None:
        if not change.ident:
            change.start()
            change.join(0.3)
        use(changes)

    monkeypatch.setattr(site, "use", interrupted)
    shutil.copytree(open_plan.parent, tmp_path / "again")
    write_thresholds(load_bundle(tmp_path / "again"), np.full(4, 0.125, np.float32))
    control.deployment.deploy(tmp_path / "again")
    change.join()
    assert control.changes.thresholds == {"cat": 0.9}
    assert site.levels("door") == {"cat": (0.0, 0.9)}
