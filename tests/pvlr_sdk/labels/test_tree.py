"""Parents, synonyms and names of labels, and the file of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pvlr_sdk import errors
from pvlr_sdk.labels.tree import FILE, LabelTree
from pvlr_sdk.models.find import load_bundle

LABELS = load_bundle(None).labels.names
TREE = LabelTree.packaged()


@pytest.fixture
def load(tmp_path: Path):
    def load(content: Any, labels: Any = (*LABELS, "my mug")) -> LabelTree:
        path = tmp_path / "names.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), "utf-8")
        return LabelTree.load(path, labels)

    return load


def test_the_table_is_small_and_has_few_levels():
    assert FILE.stat().st_size < 60_000
    assert {len(TREE.ancestors(label)) for label in TREE.parents} <= {1, 2, 3, 4}
    assert not {"entity", "object", "artifact", "whole"} & {*TREE.parents.values()}


@pytest.mark.parametrize(
    ("label", "levels"),
    [
        ("dog", ["animal", "mammal", "dog"]),
        ("mouse", ["electronics", "mouse"]),
        ("kite", ["toy", "kite"]),
        ("person", ["person"]),
        ("my dog", ["animal", "mammal", "dog", "my dog"]),  # neither is in the table
        ("poodle", ["animal", "mammal", "dog", "poodle"]),
        ("xyzzy", ["xyzzy"]),
    ],
)
def test_levels(label, levels):
    assert TREE.levels(label) == levels


@pytest.mark.parametrize(
    ("word", "labels"),
    [
        ("animal", {"bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"}),
        ("Animals", {"bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe"}),
        ("automobile", {"car"}),
        ("sofas", {"couch"}),
        ("ungulate", {"horse", "sheep", "cow", "zebra", "giraffe"}),
        ("dog", {"dog"}),
        ("forklift", set()),
    ],
)  # fmt: skip
def test_matching(word, labels):
    assert {*TREE.matching(word, LABELS)} == labels


def test_a_file_adds_and_replaces(load):
    tree = load(
        {
            "parents": {"Dog": "pet", "pet": "mammal", "my mug": "tableware", "bird": None},
            "synonyms": {"truck": ["automobile", "lorry"]},
            "names": {"de": {"dog": "Hund", "animal": "Tier"}, "pt-BR": {"dog": "cachorro"}},
        }
    )
    assert tree.levels("dog", "de") == ["Tier", "mammal", "pet", "Hund"]
    assert tree.levels("bird") == ["bird"]
    assert tree.name("cat", "de") == "cat"
    assert tree.matching("pets", LABELS) == ["dog"]
    assert tree.matching("hund", LABELS) == tree.matching("Cachorro", LABELS) == ["dog"]
    assert tree.matching("automobile", LABELS) == ["truck"]
    assert tree.matching("motorcar", LABELS) == ["car"]
    assert tree.matching("tableware", ["my mug", "cup"]) == ["my mug", "cup"]
    assert TREE.levels("dog") == ["animal", "mammal", "dog"]


@pytest.mark.parametrize(
    ("content", "got"),
    [
        ({"parents": {"animal": "dog"}}, "a label below itself"),
        ({"parents": {"dog": "dog"}}, "a label below itself: dog < dog"),
        ({"synonyms": {"dog": ["animal"]}}, "a label below itself"),
        ({"parents": {"dgo": "animal"}}, "'dgo'"),
        ({"synonyms": {"dgo": ["hound"]}}, "'dgo'"),
        ({"names": {"de": {"dgo": "Hund"}}}, "'dgo'"),
        ({"parent": {}}, "parent"),
        ({"parents": []}, "parents"),
        ([], "dictionary"),
        ({"parents": {"dog": ["animal"]}}, "parents.dog"),
        ({"synonyms": {"dog": "hound"}}, "synonyms.dog"),
        ({"names": {"de": {"dog": 3}}}, "names.de.dog"),
        ({"names": {"de": {"dog": " "}}}, "names.de.dog"),
        ({"names": {"German": {"dog": "Hund"}}}, "names.German"),
        ({"names": {"de": {"dog": "H" * 10_000}}}, "names.de.dog"),
        ({"parents": {"dog": "a\x07"}}, "control character"),
        ('{"parents": {"dog": "pet", "dog": "animal"}}', "a key twice"),
        ({"parents": {"dog": "pet", "Dog": "animal"}}, "'dog' more than once"),
        ({"names": {"de": {"dog": "Hund", "DOG": "Köter"}}}, "'dog' more than once"),
        ({"synonyms": {"dog": ["hound", "Hound"]}}, "'hound' more than once"),
        ({"synonyms": {"dog": ["hound"], "cat": ["Hound"]}}, "'hound' more than once"),
        ("{", "line 1"),
        ("\x00", "line 1"),
    ],
)
def test_bad_files(load, content, got):
    with pytest.raises(errors.ConfigError) as caught:
        load(content)
    assert got in caught.value.got


def test_unreadable_files(tmp_path):
    with pytest.raises(errors.ConfigError, match="No such file"):
        LabelTree.load(tmp_path / "none.json")
    with pytest.raises(errors.ConfigError, match="directory"):
        LabelTree.load(tmp_path)


def test_a_misspelt_label_gets_a_hint_and_other_plans_labels_pass(load):
    with pytest.raises(errors.ConfigError, match="Did you mean 'my mug'"):
        load({"parents": {"my mgu": "tableware"}})
    assert load({"parents": {"my mgu": "tableware"}}, None).ancestors("my mgu") == ("tableware",)


def test_a_language_without_names():
    with pytest.raises(errors.OptionError, match="got 'de'"):
        TREE.checked("de")
    assert TREE.checked(None) == ""
