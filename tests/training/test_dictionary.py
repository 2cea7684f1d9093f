"""The builder of the dictionary, on a small WordNet: its files, similarities, and which words are concrete."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from pvlr_training.dictionary import WordNet

# wndb(5): offset, file, type, words in hex, words with a number each, pointers, gloss. The licence begins with spaces.
DATA = """  1 This software and database is being provided to you
00000001 03 n 01 entity 0 000 | what is
00000002 05 n 02 animal 0 beast 0 001 @ 00000001 n 0000 | a living thing
00000003 05 n 01 bird 0 001 @ 00000002 n 0000 | it flies
00000004 05 n 01 kite 0 001 @ 00000003 n 0000 | a hawk
00000005 06 n 01 toy 0 001 @ 00000001 n 0000 | to play with
00000006 06 n 01 kite 1 001 @ 00000005 n 0000 | on a string
00000007 05 n 01 Fido 0 001 @i 00000002 n 0000 | a dog of that name
00000008 14 n 01 taxonomic_group 0 001 @ 00000001 n 0000 | of organisms
00000009 05 n 01 genus_Milvus 0 001 @ 00000008 n 0000 | of kites
00000010 05 n 01 Milvus_migrans 0 001 @ 00000004 n 0000 | a kite
00000011 07 n 01 speed 0 001 @ 00000001 n 0000 | how fast
"""
INDEX = """  1 This software and database is being provided to you
animal n 1 1 @ 1 1 00000002
beast n 1 1 @ 1 1 00000002
bird n 1 1 @ 1 1 00000003
entity n 1 0 1 1 00000001
fido n 1 1 @i 1 0 00000007
genus_milvus n 1 1 @ 1 0 00000009
kite n 2 1 @ 2 0 00000004 00000006
milvus_migrans n 1 1 @ 1 0 00000010
speed n 1 1 @ 1 0 00000011
taxonomic_group n 1 1 @ 1 0 00000008
toy n 1 1 @ 1 0 00000005
"""


@pytest.fixture
def wordnet(tmp_path: Path) -> WordNet:
    (tmp_path / "data.noun").write_text(DATA)
    (tmp_path / "index.noun").write_text(INDEX)
    return WordNet(tmp_path)


def test_words_for_what_photos_show(wordnet: WordNet) -> None:
    assert wordnet.concrete() == {
        "animal": [2],
        "beast": [2],
        "bird": [3],
        "kite": [4, 6],
        "toy": [5],
    }


def test_similarity_is_the_information_that_two_meanings_share(wordnet: WordNet) -> None:
    # Kinds, with the synset itself: entity 11, animal 5 (with Fido), bird 3, kite 2, toy 2, the toy kite 1.
    information = {
        offset: 1 - math.log(kinds) / math.log(11)
        for offset, kinds in {2: 5, 3: 3, 4: 2, 6: 1}.items()
    }
    assert {offset: wordnet.information[offset] for offset in information} == pytest.approx(
        information
    )
    others = [4, 6, 2]
    below = {1: [0, 1, 2], 2: [0, 2], 3: [0], 4: [0], 5: [1], 6: [1]}
    expected = [
        2 * information[3] / (information[3] + information[4]),
        0,
        2 * information[2] / (information[3] + information[2]),
    ]
    np.testing.assert_allclose(wordnet.similarity(3, others, below), expected)
