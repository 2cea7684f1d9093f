"""What changes while a site runs is checked first, then used, then kept: all of it or nothing, in one order."""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pvlr_sdk import LabelBank, Tagger, errors
from pvlr_sdk.bundle.bundle import write_thresholds
from pvlr_sdk.cameras.control import site_file
from pvlr_sdk.cameras.control.control import Control
from pvlr_sdk.cameras.site import Site, load_config
from pvlr_sdk.cameras.site.config import DeployConfig
from pvlr_sdk.cameras.site.factory import make_detectors
from pvlr_sdk.labels import forget
from pvlr_sdk.models.find import load_bundle
from pvlr_sdk.workshop.compile.build import build
from tests.pvlr_sdk.cameras.serve.conftest import open_plan as open_plan
from tests.pvlr_sdk.labels import tiny_open

OPEN = {"max_labels": tiny_open.MAX, "width": tiny_open.WIDTH, "feature_width": tiny_open.DEPTH, "features": "others"}
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
def control(tagger: Tagger, folder: Path) -> Control:
    site = Site(load_config(folder / "site.yaml"), tagger=tagger)
    settings = DeployConfig(probation=0)
    return Control(tagger, site, folder / "site.yaml", settings, bank=folder / "bank.safetensors")


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
    control: Control, folder: Path, labels: list[str], error: type[errors.PvlrError]
) -> None:
    """The server could not start again: the site file had more values than its reader accepts."""
    with pytest.raises(error):
        control.configure({}, labels)
    assert (folder / "site.yaml").read_text() == SITE
    assert control.events.labels == ("cat",)


@pytest.mark.parametrize("limit", ["bytes", "values"])
def test_what_the_next_start_could_not_read(
    control: Control, folder: Path, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = SITE
    if limit == "bytes":
        text += f"# {'x' * (2**20 - len(SITE) - 10)}\n"
    else:
        monkeypatch.setattr("pvlr_sdk.cameras.site.yaml_file._MAX_VALUES", 18)
    (folder / "site.yaml").write_text(text)
    load_config(folder / "site.yaml")
    with pytest.raises(errors.ConfigError, match=limit):
        control.configure(dict.fromkeys(tiny_open.NAMES, 0.25))
    assert (folder / "site.yaml").read_text() == text
    assert control.thresholds.in_use() == {"cat": 0.5}


def test_a_site_file_that_does_not_fit_the_change(control: Control, folder: Path) -> None:
    """It was edited while the site ran: the next start would refuse the lower threshold above the upper one."""
    text = SITE.replace("thresholds", "off_thresholds: {cat: 0.4}, thresholds")
    (folder / "site.yaml").write_text(text)
    with pytest.raises(errors.OptionError, match="cat"):
        control.configure({"cat": 0.3})
    assert (folder / "site.yaml").read_text() == text
    assert control.thresholds.in_use() == {"cat": 0.5}


@pytest.mark.parametrize("name", ["site.yaml", "bank.safetensors"])
def test_a_file_that_another_process_is_changing(control: Control, folder: Path, tagger: Tagger, name: str) -> None:
    with site_file.locked(folder / name):
        with pytest.raises(errors.DeployError, match=name):
            control.configure({"cat": 0.25})
        with pytest.raises(errors.DeployError, match=name):
            control.set_labels(taught(tagger), report="mug")
    assert (folder / "site.yaml").read_text() == SITE
    control.set_labels(taught(tagger), report="mug")


def test_a_lock_is_on_the_file_that_has_replaced_another(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, flock = folder / "site.yaml", site_file.fcntl.flock

    def replaced(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(site_file.fcntl, "flock", flock)
        path.rename(folder / "old")
        shutil.copy(folder / "old", path)
        flock(descriptor, operation)

    monkeypatch.setattr(site_file.fcntl, "flock", replaced)
    with site_file.locked(path), pytest.raises(errors.DeployError), site_file.locked(path):
        pass


def test_a_plan_that_the_next_start_could_not_use_with_the_bank(
    control: Control, tagger: Tagger, folder: Path, open_plan: Path, tmp_path: Path
) -> None:
    """The bank equals that of the plan in use; another plan must be able to use it, too."""
    tiny_open.write_network(tmp_path / "other", tiny_open.make_bank(space="x"), spec={"open": {**OPEN, "space": "x"}})
    build(tmp_path / "other/model-open.onnx", tmp_path / "other/engine.plan")
    assert tagger.info["bank"] == tagger.info["own_bank"]
    with pytest.raises(errors.LabelBankError, match="expected a bank made for x"):
        control.deployment.deploy(tmp_path / "other")
    assert "plan:" not in (folder / "site.yaml").read_text()
    assert tagger.info["plan"] == str(open_plan)


def test_a_bank_that_another_process_has_written(control: Control, folder: Path, tagger: Tagger) -> None:
    """Its labels were lost without a word."""
    path, other = folder / "bank.safetensors", tiny_open.make_bank(5)
    other.save(path)
    with pytest.raises(errors.DeployError, match="Another process"):
        control.set_labels(taught(tagger), report="mug")
    assert path.read_bytes() == other.to_bytes()
    assert tagger.labels == tiny_open.NAMES
    assert (folder / "site.yaml").read_text() == SITE


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The names of the files of each write, in their order."""
    names: list[list[str]] = []

    def record(contents: dict[Path, bytes], **options: Any) -> None:
        names.append([path.name for path in contents])
        write(contents, **options)

    write = site_file.write_files
    monkeypatch.setattr(site_file, "write_files", record)
    return names


def test_labels_in_use_always_include_those_that_the_settings_name(
    control: Control, tagger: Tagger, folder: Path, written: list[list[str]]
) -> None:
    """Wherever the process ends: the next start failed, since a setting named a label that was gone."""
    before = tagger.label_bank
    control.set_labels(taught(tagger), report="mug")
    assert load_config(folder / "site.yaml").events.labels == ("cat", "mug")
    control.set_labels(before)
    assert load_config(folder / "site.yaml").events.labels == ("cat",)
    assert written == [["bank.safetensors", "site.yaml"], ["site.yaml", "bank.safetensors"]]


def test_a_condition_on_a_label_that_is_removed_is_removed_too(control: Control, tagger: Tagger, folder: Path) -> None:
    control.set_labels(taught(tagger, "a$b"), report="a$b")
    rules = "{cat: {present: [a$$b], within: 1}, a$b: {absent: [cat], within: 1}, rocket: {absent: [cat], within: 2}}"
    groups = "{one: [a$$b, cat, rocket]}"
    (folder / "site.yaml").write_text(SITE.replace("thresholds", f"groups: {groups}, when: {rules}, thresholds"))
    events = load_config(folder / "site.yaml").events
    control._use(events, None)
    control.set_labels(forget(tagger.label_bank, ["a$b"]))
    assert list(control.events.when) == ["rocket"]
    assert control.events.groups == {"one": ("cat", "rocket")}
    kept = load_config(folder / "site.yaml").events
    assert (kept.when, kept.groups) == (control.events.when, control.events.groups)


@pytest.mark.parametrize("own", ["labels: [mug]", "deny: [mug]", "gate: labels: [mug]", "gate: thresholds: {mug: 1}"])
def test_a_label_that_a_camera_or_its_region_names_is_not_removed(
    control: Control, tagger: Tagger, folder: Path, own: str
) -> None:
    control.set_labels(taught(tagger), report="mug")
    region, kept = own.removeprefix("gate: "), (folder / "bank.safetensors").read_bytes()
    if region != own:
        own = f"regions: {{gate: {{polygon: [[0, 0], [1, 0], [1, 1]], {region}}}}}"
    text = SITE.replace("door: 'test://'", f"door: {{uri: 'test://', {own}}}")
    (folder / "site.yaml").write_text(text)
    assert control.site is not None
    control.site.set_camera("door", load_config(folder / "site.yaml").cameras["door"])
    with pytest.raises(errors.OptionError, match="a label without settings, got 'mug', which door names") as error:
        control.set_labels(forget(tagger.label_bank, ["mug"]))
    assert error.value.hint == "Remove it from cameras: in the site file."
    assert tagger.labels[-1] == "mug"
    assert ((folder / "site.yaml").read_text(), (folder / "bank.safetensors").read_bytes()) == (text, kept)


def test_a_bank_that_cannot_be_written_changes_nothing(control: Control, tagger: Tagger, folder: Path) -> None:
    before = tagger.label_bank
    control.set_labels(taught(tagger), report="mug")
    text, bank = (folder / "site.yaml").read_text(), folder / "bank.safetensors"
    bank.unlink()
    bank.mkdir()
    with pytest.raises(errors.OutputError):
        control.set_labels(before)
    assert (folder / "site.yaml").read_text() == text
    assert control.events.labels == ("cat", "mug")
    assert tagger.labels[-1] == "mug"


def test_the_permissions_and_a_link_stay(control: Control, folder: Path) -> None:
    real, link = folder / "real.yaml", folder / "site.yaml"
    link.rename(real)
    real.chmod(0o640)
    link.symlink_to(real)
    control.configure({"cat": 0.25})
    assert link.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o640
    assert load_config(link).events.thresholds == {"cat": 0.25}


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


@pytest.mark.parametrize("text", [SITE.replace("[cat]", "[cta]"), SITE.partition("\n")[2].replace("cat:", "cta:")])
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


def test_settings_that_change_while_a_plan_is_exchanged_are_kept(
    control: Control, tmp_path: Path, open_plan: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exchange uses the settings that it finds, and must not bring older ones back."""
    site = control.site
    assert site is not None
    configure, change = site.configure, threading.Thread(target=control.configure, args=[{"cat": 0.9}])

    def interrupted(events: Any) -> None:
        if not change.ident:
            change.start()
            change.join(0.3)
        configure(events)

    monkeypatch.setattr(site, "configure", interrupted)
    shutil.copytree(open_plan.parent, tmp_path / "again")
    write_thresholds(load_bundle(tmp_path / "again"), np.full(4, 0.125, np.float32))
    control.deployment.deploy(tmp_path / "again")
    change.join()
    assert control.events.thresholds == {"cat": 0.9}
    assert site.levels("door") == {"cat": (0.0, 0.9)}
