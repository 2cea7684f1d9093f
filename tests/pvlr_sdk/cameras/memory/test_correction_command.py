"""``pvlr teach --not-again``: a false event of a memory changes its label in a bank, and --undo brings it back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pvlr_sdk import LabelBank, errors
from pvlr_sdk.cameras.memory.store import Store
from tests.pvlr_sdk.cameras.memory.conftest import Site, pvlr
from tests.pvlr_sdk.labels import tiny_open

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def open_plan(tmp_path_factory):
    pytest.importorskip("onnx", reason="writes a network")
    return tiny_open.build_plan(tmp_path_factory.mktemp("open"))


class Memory(Site):
    """Events with features of the tiny open plan."""

    def cat(self, peak: float, second: float, answer=None) -> str:
        features = np.zeros(tiny_open.DEPTH, np.float32)
        features[:2] = 1, second
        event = self.event(peak, answer, label="cat", features=features / np.linalg.norm(features))
        self.store._database.execute("UPDATE moments SET space = ?", (tiny_open.FEATURES,))
        row = self.store.rows("event = ?", (event,))[0]
        self.store.features.write(tiny_open.FEATURES, row.id, features / np.linalg.norm(features))
        return event


@pytest.fixture
def memory(tmp_path: Path) -> Memory:
    return Memory(tmp_path / "memory")


def test_a_false_event_ends_and_returns(memory: Memory, open_plan, tmp_path: Path) -> None:
    wrong = memory.cat(0.7, 0.1)
    like, right = memory.cat(0.7, 0.2), memory.cat(0.9, -2, answer="yes")
    out = tmp_path / "bank.safetensors"
    event = ["--not-again", wrong, "--memory", tmp_path / "memory"]
    printed = pvlr("teach", open_plan, *event, "-o", out)
    assert f"gone  {like:.8}" in printed
    assert f"stay  {right:.8}" in printed
    assert printed.endswith(f"cat: 1 other events gone, 1 stay\n{out}\n")
    assert LabelBank.load(out).taught["cat"]["moves"][0]["event"] == wrong
    assert memory.answers() == {wrong: "no", right: "yes"}
    again = tmp_path / "again.safetensors"
    values = json.loads(pvlr("teach", open_plan, *event, "-o", again, "--json"))
    assert (values["gone"], values["stay"], values["right"]) == ([like], [right], 1)
    printed = pvlr("teach", open_plan, *event, "--undo", "--bank", out, "-o", out)
    assert printed == f"{out}\n"
    assert out.read_bytes() == tiny_open.make_bank().to_bytes()
    assert memory.answers() == {right: "yes"}


def test_the_answer_stays_where_the_bank_cannot_be_written(
    memory: Memory, open_plan, tmp_path: Path
) -> None:
    wrong = memory.cat(0.7, 0.1)
    (tmp_path / "no folder").touch()
    out = tmp_path / "no folder/bank.safetensors"
    with pytest.raises(errors.OutputError):
        pvlr("teach", open_plan, "--not-again", wrong, "--memory", tmp_path / "memory", "-o", out)
    assert memory.answers() == {}


def test_options_that_do_not_fit(memory: Memory, open_plan, plan, tmp_path: Path) -> None:
    wrong = memory.cat(0.7, 0.1)
    out = ["-o", tmp_path / "bank.safetensors"]
    event, folder = ["--not-again", wrong], ["--memory", tmp_path / "memory"]
    for options, text in (
        (event, "got no --memory"),
        (folder, "got no event"),
        (["--undo"], "got no event"),
        ([*event, *folder, "--label", "mug"], "nothing to teach or to forget, got --label"),
        ([*event, *folder, "--undo"], "a label with a correction"),
        (["--not-again", "missing", *folder], "the id of a remembered event"),
    ):
        with pytest.raises(errors.OptionError, match=text):
            pvlr("teach", open_plan, *options, *out)
    with pytest.raises(errors.BackendError, match="expected an open plan"):
        pvlr("teach", plan, *event, *folder, *out)
    assert not out[1].exists()
    assert memory.answers() == {}
    assert isinstance(memory.store, Store)
