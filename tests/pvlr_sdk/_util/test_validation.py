"""Problems in words: pydantic's, misspelt names and long lists."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pvlr_sdk._util.validation import did_you_mean, expected, few, first_problem


class _Door(BaseModel):
    model_config = ConfigDict(extra="forbid")
    width: float = Field(ge=0)


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ({"width": -1}, "greater than or equal to 0"),
        ({"width": "wide"}, "a valid number, unable to parse string as a number"),
        ({"width": 1, "color": 2}, "a known key"),
        ({}, "a value"),
    ],
)
def test_what_was_expected(values: dict[str, object], wanted: str) -> None:
    with pytest.raises(ValidationError) as failure:
        _Door(**values)
    assert [expected(problem) for problem in failure.value.errors()] == [wanted]


def test_the_first_problem_does_not_show_the_value() -> None:
    with pytest.raises(ValidationError) as failure:
        _Door(width="secret", color=1)
    text = first_problem(failure.value)
    assert text.startswith("width: Input should be a valid number")
    assert "secret" not in text


def test_similar_names_are_quoted_unless_they_are_options() -> None:
    names = ["person", "parson", "cat"]
    assert did_you_mean("persn", names) == "Did you mean 'person' or 'parson'?"
    assert did_you_mean("persn", names, 1) == "Did you mean 'person'?"
    assert did_you_mean("--colr", ["--color"], quoted=False) == "Did you mean --color?"
    assert did_you_mean("zebra", names) == ""


def test_few_of_many() -> None:
    assert few(["a", "b"]) == "'a', 'b'"
    assert few(list("abcd"), 2) == "'a', 'b' and 2 more"
    assert few(list("abcdefgh")) == "'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'"
