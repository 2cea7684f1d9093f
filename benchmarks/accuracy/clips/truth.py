"""What is visible in a clip, and when: a YAML file per clip, checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from pvlr_sdk._util.validation import first_problem
from pvlr_sdk.cameras.site.yaml_file import read_yaml
from pvlr_sdk.errors import ConfigError

FOLDER = Path(__file__).parent


class Interval(NamedTuple):
    """Seconds from the first frame of the clip."""

    start: float
    end: float


Intervals = Mapping[str, list[Interval]]
"""By label."""


@dataclass(frozen=True)
class Truth:
    """What is visible in a clip.

    Attributes:
        file: the clip, relative to the folder of the data.
        present: when each label is visible; a label that is in neither mapping is never visible.
        optional: when each label may or may not be reported.
    """

    file: str
    present: Intervals
    optional: Intervals = field(default_factory=dict)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    file: str
    present: dict[str, list[Interval]] = {}
    optional: dict[str, list[Interval]] = {}

    @field_validator("present", "optional")
    @classmethod
    def _in_order(cls, intervals: dict[str, list[Interval]]) -> dict[str, list[Interval]]:
        for label, pairs in intervals.items():
            times = [-1e-9, *(time for pair in pairs for time in pair)]
            if not all(a < b for a, b in pairwise(times)):
                raise ValueError(f"intervals of {label} that are not in order")
        return intervals


def read_truth(path: Path) -> Truth:
    """Read a YAML file with ``file``, ``present`` and ``optional``. Raises ConfigError if it is invalid."""
    try:
        found = _File.model_validate(read_yaml(path))
    except ValidationError as error:
        raise ConfigError(
            str(path),
            "file, present and optional",
            first_problem(error),
            "Write intervals as car: [[4.4, 8.4], [14.4, 19]], in seconds and in order.",
        ) from None
    return Truth(found.file, found.present, found.optional)
