"""What the knowledge file says of words: it is read once, and again after it was replaced."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import Tagger, errors
from pvlr_sdk.bundle.bundle import knowledge_path
from pvlr_sdk.cameras.control.words import Words
from pvlr_sdk.labels import Knowledge
from pvlr_sdk.models.find import default_plan


@pytest.fixture
def tagger(tmp_path: Path) -> Iterator[Tagger]:
    """The bundled model, in a folder of its own."""
    folder = shutil.copytree(default_plan().parent, tmp_path / "model")
    with Tagger(folder, num_threads=1) as made:
        yield made


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The plans whose knowledge files are read."""
    read: list[Any] = []
    load = Knowledge.load
    monkeypatch.setattr(
        Knowledge, "load", lambda path, **options: read.append(path) or load(path, **options)
    )
    return read


def test_the_file_is_read_once_and_again_after_it_was_replaced(
    tagger: Tagger, reads: list[Any]
) -> None:
    words = Words(tagger)
    path = knowledge_path(tagger.info["plan"])
    knowledge = Knowledge.load(path)
    reads.clear()
    for word in ("espresso", "castle", "espresso"):
        assert words.bank(word).to_bytes() == knowledge.bank([word]).to_bytes()
    assert words.bank("espresso") is words.bank("espresso")
    assert len(reads) == 1
    stricter = replace(knowledge.calibration, threshold=0.75)
    replaced = replace(knowledge, calibration=stricter)
    replaced.save(path)
    assert words.bank("espresso").to_bytes() == replaced.bank(["espresso"]).to_bytes()
    assert words.bank("espresso").thresholds > knowledge.bank(["espresso"]).thresholds
    assert len(reads) == 2
    path.unlink()
    with pytest.raises(errors.OptionError, match="knowledge"):
        words.bank("espresso")


def test_a_word_is_refused_unless_forced(tagger: Tagger) -> None:
    words = Words(tagger)
    for _ in range(2):
        with pytest.raises(errors.OptionError, match="nearest concepts"):
            words.bank("bulldozer")
    assert words.bank("bulldozer", force=True).names == ["bulldozer"]
