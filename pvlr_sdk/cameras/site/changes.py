"""Changes of the settings of events: as fields of :class:`EventsConfig`, and as keys of the site file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from ...bundle.label_bank import find_label
from ...errors import OptionError
from .config import EventsConfig

Keys: TypeAlias = dict[tuple[str, ...], Any]


class Change(NamedTuple):
    """New values of some fields, and what the site file gets: keys that lead to a value, and the value."""

    fields: dict[str, Any]
    keys: Keys


def select(
    events: EventsConfig,
    known: Sequence[str],
    keeps: Callable[[str], bool],
    thresholds: Mapping[str, float],
    labels: Sequence[str] | None,
) -> Change:
    """Set some thresholds, and the labels whose events are reported (None: no change).

    Args:
        known: the labels in use.
        keeps: whether the next start has a label, so that the site file may name it.

    Raises:
        UnknownLabelError, OptionError: a label is unknown, or named twice.
    """
    index = {label: position for position, label in enumerate(known)}
    for label in (*thresholds, *(labels or ())):
        find_label(label, index)
    if twice := [label for label, count in Counter(labels or ()).items() if count > 1]:
        got, hint = f"{twice[0]!r} twice", "Name each label once."
        raise OptionError("labels", expected="different labels", got=got, hint=hint)
    new = {label: round(value, 6) for label, value in thresholds.items()}
    fields: dict[str, Any] = {"thresholds": {**events.thresholds, **new}}
    keys: Keys = {("events", "thresholds", label): value for label, value in new.items() if keeps(label)}
    if labels is not None:
        every = len(labels) == len(index)
        fields["labels"] = None if every else tuple(labels)
        keys["events", "labels"] = None if every else [_escaped(label) for label in labels if keeps(label)]
        if events.deny:
            fields["deny"] = ()
            keys["events", "deny"] = []
    return Change(fields, keys)


def remove(events: EventsConfig, written: Mapping[str, Any], labels: frozenset[str]) -> Change:
    """Remove labels from all settings; ``written``: the settings as in the site file."""
    fields: dict[str, Any] = {}
    keys: Keys = {}
    for name in ("thresholds", "off_thresholds", "labels", "deny", "when", "groups"):
        fields[name] = without(getattr(events, name), labels)
        value = written.get(name)
        if isinstance(value, (dict, list)):
            escaped = frozenset(map(_escaped, labels))
            gone = escaped if isinstance(value, list) else escaped | labels  # keys are not escaped
            if not gone.isdisjoint(named(value)):
                keys["events", name] = without(value, gone)
    return Change(fields, keys)


def camera_keys(camera: str, written: Any, field: str, value: Any) -> Keys:
    """A field of a camera as keys of the site file; ``written``: the camera there, a URI or a section."""
    if isinstance(written, dict):
        return {("cameras", camera, field): value}
    return {("cameras", camera): {"uri": written, field: value}}


def region_keys(camera: str, written: Any, shapes: Mapping[str, Mapping[str, Any]]) -> Keys:
    """Polygons of a camera as keys of the site file; ``written``: as for :func:`camera_keys`."""
    kept = (isinstance(written, dict) and written.get("regions")) or {}
    if not isinstance(written, dict) or kept.keys() - shapes.keys():
        regions = {name: {**kept.get(name, {}), **shape} for name, shape in shapes.items()}
        return camera_keys(camera, written, "regions", regions)
    # So that comments stay.
    return {("cameras", camera, "regions", name, key): shapes[name][key] for name in shapes for key in shapes[name]}


def without(value: Any, labels: frozenset[str]) -> Any:
    """A mapping or a sequence of labels without some of them, and without rules that name them; None stays None. A
    group of which one label is left is none."""
    if isinstance(value, dict):
        groups = {key: without(item, labels) for key, item in value.items() if isinstance(item, (list, tuple))}
        others = {key: item for key, item in value.items() if key not in groups}
        kept = {key: item for key, item in others.items() if labels.isdisjoint(named({key: item}))}
        return {**kept, **{key: item for key, item in groups.items() if len(item) > 1}}
    return None if value is None else type(value)(one for one in value if one not in labels)


def named(value: Any) -> frozenset[str]:
    """The labels that a mapping or a sequence of labels names, also in rules of ``when``, or those of groups."""
    if isinstance(value, dict) and any(isinstance(one, (list, tuple)) for one in value.values()):
        return frozenset(label for labels in value.values() for label in labels)
    items = value.values() if isinstance(value, dict) else ()
    rules = [dict(one) for one in items if not isinstance(one, (int, float))]
    return frozenset(value or ()).union(*(rule.get(name, ()) for rule in rules for name in ("present", "absent")))


def _escaped(label: str) -> str:
    """As a string of the site file, in which $ begins a variable."""
    return label.replace("$", "$$")
