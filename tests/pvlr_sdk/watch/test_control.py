"""What changes while a site runs is checked first, then used, then kept: all of it or nothing, in one order."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.pvlr_sdk.open_labels import tiny_open

from pvlr_sdk import LabelBank, Tagger, errors
from pvlr_sdk.watch import Site, load_config
from pvlr_sdk.watch.control import Control

SITE = "bank: bank.safetensors\ncameras: {door: 'test://'}\nevents: {labels: [cat], thresholds: {cat: 0.5}}\n"
EMBEDDINGS = np.random.default_rng(0).normal(size=(8, tiny_open.DEPTH))


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
    return Control(tagger, site, folder / "site.yaml", bank=folder / "bank.safetensors")


def taught(tagger: Tagger, label: str = "mug") -> LabelBank:
    """The bank in use and a taught label."""
    base = tagger.label_bank
    names = [*base.names, label]
    more = tiny_open.make_bank(len(names))
    text = {**more.text, "features": tiny_open.FEATURES, "taught": {label: {"before": None}}}
    weights = np.zeros((len(names), tiny_open.DEPTH), np.float16)
    return LabelBank(names, more.embeddings, more.thresholds, text, weights=weights)


class TestRefused:
    @pytest.mark.parametrize(
        ("labels", "error"),
        [(["cat"] * 140_000, errors.OptionError), (["cat", "cta"], errors.UnknownLabelError)],
    )
    def test_labels(self, control: Control, folder: Path, labels: list[str], error: type[errors.PvlrError]) -> None:
        """The server could not start again: the site file had more values than its reader accepts."""
        with pytest.raises(error):
            control.configure({}, labels)
        assert (folder / "site.yaml").read_text() == SITE
        assert control.events.labels == ("cat",)

    @pytest.mark.parametrize(
        "filler",
        [f"# {'x' * (2**20 - len(SITE) - 10)}\n", f"serve: {{names: [{', '.join(['a'] * 99_970)}]}}\n"],
        ids=["bytes", "values"],
    )
    def test_what_the_next_start_could_not_read(self, control: Control, folder: Path, filler: str) -> None:
        text = SITE + filler
        (folder / "site.yaml").write_text(text)
        load_config(folder / "site.yaml")
        thresholds = dict.fromkeys(tiny_open.NAMES, 0.25)
        with pytest.raises(errors.ConfigError, match=r"bytes|values"):
            for _ in range(9):  # each adds a few
                control.configure(thresholds, tiny_open.NAMES[1:])
                thresholds = {label: value + 0.001 for label, value in thresholds.items()}
                text = (folder / "site.yaml").read_text()
                (folder / "site.yaml").write_text(text.replace("names: [", "names: [a, a, a, a, a, a, a, a, "))
        load_config(folder / "site.yaml")

    def test_a_bank_that_another_process_has_written(self, control: Control, folder: Path, tagger: Tagger) -> None:
        """Its labels were lost without a word."""
        path, other = folder / "bank.safetensors", tiny_open.make_bank(5)
        other.save(path)
        with pytest.raises(errors.DeployError, match="Another process"):
            control.set_labels(taught(tagger), report="mug")
        assert path.read_bytes() == other.to_bytes()
        assert tagger.labels == tiny_open.NAMES
        assert (folder / "site.yaml").read_text() == SITE
