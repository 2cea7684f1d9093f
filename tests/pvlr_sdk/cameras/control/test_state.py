"""Wherever the process ends, the next start has every change that was acknowledged, and nothing is half changed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from unittest import mock

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from pvlr_sdk import LabelBank, errors
from pvlr_sdk.cameras.control.control import Control
from pvlr_sdk.cameras.site import SiteConfig
from pvlr_sdk.cameras.site.changes import Changes
from tests.pvlr_sdk.cameras.control.kept import (
    Killed,
    killed,
    start,
    state_in,
    teach,
    write_plans,
    write_site,
)
from tests.pvlr_sdk.labels import tiny_open

LONG = "PVLR_STATE_STEPS" in os.environ
TAUGHT = ["my mug", "$HOME: #1", "$$x"]
NAMES = st.sampled_from([*tiny_open.NAMES, *TAUGHT])
KILLS = st.sampled_from([*[None] * 20, *[*range(10)] * 3, *range(40)])
"""The change of a file at which a process is killed."""
counts: Counter[str] = Counter()


@dataclass
class Model:
    """What the site file and the label bank have."""

    names: list[str]
    new: set[str] = field(default_factory=set)
    version: int = 1
    thresholds: dict[str, float] = field(default_factory=dict)
    reported: tuple[str, ...] | None = None

    def known(self) -> tuple[dict[str, float], tuple[str, ...] | None]:
        """The settings of labels that the bank has."""
        thresholds = {name: value for name, value in self.thresholds.items() if name in self.names}
        reported = self.reported
        return thresholds, reported if reported is None else tuple(
            name for name in reported if name in self.names
        )


class Machine(RuleBasedStateMachine):
    """A site on disk, and a process that changes it, is killed and starts again."""

    plans: Path

    @initialize()
    def begin(self) -> None:
        self.room = tempfile.TemporaryDirectory()
        self.folder = write_site(Path(self.room.name) / "site", self.plans)
        self.environment = mock.patch.dict(os.environ, state_in(self.folder))
        self.environment.start()
        self.foreign = False
        self.written = (self.folder / "site.yaml").read_bytes()
        self.control = start(self.folder)
        self.model = Model(list(tiny_open.NAMES))
        self.used = self.model.known()

    def teardown(self) -> None:
        if hasattr(self, "control"):
            self.control.tagger.close()
            self.environment.stop()
            self.room.cleanup()

    @rule(changes=st.dictionaries(NAMES, st.integers(0, 100), max_size=3), kill=KILLS)
    def set_thresholds(self, changes: dict[str, int], kill: int | None) -> None:
        thresholds = {name: value / 100 for name, value in changes.items()}

        def succeed(model: Model) -> None:
            model.thresholds.update(thresholds)
            self.used = {**self.used[0], **thresholds}, self.used[1]

        self._change(lambda control: control.configure(thresholds), succeed, kill)

    @rule(reported=st.lists(NAMES, max_size=3), kill=KILLS)
    def set_labels(self, reported: list[str], kill: int | None) -> None:
        def succeed(model: Model) -> None:
            self._report(model, reported, self.control.tagger.labels)

        self._change(lambda control: control.configure({}, reported), succeed, kill)

    @rule(label=st.sampled_from([*TAUGHT, "cat"]), kill=KILLS)
    def teach(self, label: str, kill: int | None) -> None:
        def succeed(model: Model) -> None:
            if label not in model.names:
                model.names.append(label)
                model.new.add(label)
            if self.used[1] is not None and label not in self.used[1]:
                self._report(model, [*self.used[1], label], model.names)

        self._change(lambda control: teach(control, label), succeed, kill, bank=True)

    @rule(label=st.sampled_from([*TAUGHT, "cat"]), kill=KILLS)
    def forget(self, label: str, kill: int | None) -> None:
        def succeed(model: Model) -> None:
            if label in model.new:
                model.names.remove(label)
                model.new.remove(label)
                for thresholds in (model.thresholds, self.used[0]):
                    thresholds.pop(label, None)
                model.reported, reported = (
                    one if one is None else tuple(name for name in one if name != label)
                    for one in (model.reported, self.used[1])
                )
                self.used = self.used[0], reported

        self._change(lambda control: control.forget(label), succeed, kill, bank=True)

    @rule(name=st.sampled_from(["first", "second", None]), kill=KILLS)
    def deploy(self, name: str | None, kill: int | None) -> None:
        def call(control: Control) -> object:
            return (
                control.deployment.deploy(self.plans / name)
                if name
                else control.deployment.rollback()
            )

        def succeed(model: Model) -> None:
            model.version = 3 - model.version

        self._change(call, succeed, kill)

    @rule(names=st.lists(st.sampled_from(tiny_open.NAMES), min_size=1, unique=True))
    def another_process_writes_the_bank(self, names: list[str]) -> None:
        bank = LabelBank.load(self.folder / "bank.safetensors")
        bank.select([name for name in bank.names if name in names] or bank.names[:1]).save(
            self.folder / "bank.safetensors"
        )
        self.model.names = LabelBank.load(self.folder / "bank.safetensors").names
        self.foreign = self.model.names != self.control.tagger.labels

    @rule()
    def restart(self) -> None:
        self._start([self.model])

    def _change(
        self,
        call: Callable[[Control], object],
        succeed: Callable[[Model], None],
        kill: int | None,
        *,
        bank: bool = False,
    ) -> None:
        counts["steps"] += 1
        before, after = deepcopy(self.model), deepcopy(self.model)
        try:
            with killed(kill):
                call(self.control)
        except errors.PvlrError as error:
            counts[f"refused: {type(error).__name__}"] += 1
            # Nothing was changed, as the next start shows.
        except Killed:
            counts["kills"] += 1
            if not (bank and self.foreign):
                succeed(after)
            self._start([before, after])
        else:
            counts["acknowledged"] += 1
            assert not (bank and self.foreign), "labels of another process are lost"
            succeed(self.model)

    def _start(self, models: list[Model]) -> None:
        """Start again; the settings, the bank and the plan must each be those of one of the models."""
        counts["starts"] += 1
        self.control.tagger.close()
        self.control, self.foreign = start(self.folder), False
        assert (self.folder / "site.yaml").read_bytes() == self.written, "the site file was written"
        changes, tagger = self.control.changes, self.control.tagger
        assert tagger.labels in [model.names for model in models]
        version = tagger.info["signature"]["version"]
        assert version in [model.version for model in models]
        index = frozenset(tagger.labels)
        thresholds = {name: value for name, value in changes.thresholds.items() if name in index}
        found = thresholds, self.control.events.labels
        for model in models:
            model.names, model.new = (
                tagger.labels,
                models[-1].new.union(models[0].new).intersection(tagger.labels),
            )
        (self.model, *_) = [model for model in models if model.known() == found] or [None]
        assert self.model, (found, models)
        self.model.version, self.used = version, found
        assert not list(self.folder.rglob(".*.tmp"))

    def _report(self, model: Model, reported: list[str], names: list[str]) -> None:
        model.reported = None if len(reported) == len(names) else tuple(reported)
        self.used = self.used[0], model.reported


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("onnx", "cryptography"):
        pytest.importorskip(package)
    return write_plans(tmp_path_factory.mktemp("plans"))


@pytest.fixture
def machine(plans: Path) -> Iterator[type[Machine]]:
    Machine.plans = plans
    with mock.patch("pvlr_sdk._util.files._ABANDONED", 0):  # leftovers are removed at once
        yield Machine


@pytest.mark.slow
def test_the_next_start_has_what_was_acknowledged(machine: type[Machine]) -> None:
    """``PVLR_STATE_STEPS=10000`` runs so many steps."""
    steps = int(os.environ.get("PVLR_STATE_STEPS", "40"))
    length = min(steps // 4, 50)
    options = settings(
        max_examples=steps // length, stateful_step_count=length, deadline=None, derandomize=not LONG,
        database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    counts.clear()
    try:
        run_state_machine_as_test(machine, settings=options)
    finally:
        print(dict(counts))


@pytest.mark.slow
def test_a_process_that_is_killed(
    plans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL at any time; ``PVLR_STATE_KILLS=500`` sends it so often."""
    folder, random = write_site(tmp_path / "site", plans), Random(7)
    for name, value in state_in(folder).items():
        monkeypatch.setenv(name, value)
    command, root = (
        [sys.executable, "-m", "tests.pvlr_sdk.cameras.control.kept_process", str(folder)],
        Path(__file__).parents[4],
    )
    expected = [["0", "0"]]
    for _ in range(int(os.environ.get("PVLR_STATE_KILLS", "5"))):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
            assert process.stdout
            word, *state = process.stdout.readline().split()
            assert (word, state in expected) == ("start", True), (state, expected)
            lines = [process.stdout.readline() for _ in range(2 * random.randrange(1, 20))]
            threading.Event().wait(random.random() / 50)  # during the next change
            process.kill()
            words = [line.split() for line in [*lines, *process.stdout]]
            expected = [*[state for word, *state in words if word == "done"][-1:], words[-1][1:]]


def test_regions_that_are_too_many_parts_with_other_tiles_are_ignored() -> None:
    shape = {"polygon": [[0, 0], [1, 0], [0, 1]]}
    change = {"enabled": False, "regions": {"x": shape, "y": shape}}
    stored = Changes.model_validate({"cameras": {"door": change}})
    tiled = {"cameras": {"door": {"uri": "test://", "tiles": "3x3"}}}
    changes, dropped = stored.fitting(SiteConfig.parse(tiled, source="test"))
    assert changes.cameras["door"].regions is None
    assert changes.cameras["door"].enabled is False
    assert dropped == ["regions of camera 'door', 18 parts = 2 regions x 9 tiles"]
