"""What is visible in a clip, and when: a YAML file per clip, checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pvlr_sdk.errors import ConfigError
from pvlr_sdk.watch.yaml_file import read_yaml

FOLDER = Path(__file__).parent
_HINT = "Write intervals as car: [[4.4, 8.4], [14.4, 19]], in seconds, in order and without overlap."


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
        unknown: labels about which nothing is known; their events are ignored.
    """

    file: str
    present: Intervals
    optional: Intervals = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()


def read_truth(path: Path) -> Truth:
    """Read a YAML file with ``file``, ``present`` and ``optional``. Raises ConfigError if it is invalid."""
    raw = read_yaml(path)
    unknown = sorted(set(raw) - {"file", "present", "optional"}, key=str)
    if unknown or not isinstance(raw.get("file"), str):
        got = f"the key {unknown[0]!r}" if unknown else f"file: {raw.get('file')!r}"
        hint = "The keys are file, a path below --data, and present and optional, intervals by label."
        raise ConfigError(str(path), expected="file, present and optional", got=got, hint=hint)
    return Truth(raw["file"], *(_intervals(raw.get(key) or {}, f"{path}: {key}") for key in ("present", "optional")))


def _intervals(raw: Any, where: str) -> Intervals:
    if not isinstance(raw, dict) or not all(isinstance(label, str) for label in raw):
        raise ConfigError(where, expected="intervals by label", got=repr(raw), hint=_HINT)
    for label, pairs in raw.items():
        times = [time for pair in pairs for time in pair] if _are_pairs(pairs) else [0.0, 0.0]
        if not all(a < b for a, b in zip([-1e-9, *times], times, strict=False)):
            raise ConfigError(f"{where}: {label}", expected="intervals in order", got=repr(pairs), hint=_HINT)
    return {label: [Interval(*map(float, pair)) for pair in pairs] for label, pairs in raw.items()}


def _are_pairs(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list) and len(pair) == 2 and all(type(time) in (int, float) for time in pair) for pair in value
    )
