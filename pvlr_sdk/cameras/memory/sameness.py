"""Whether events of a label depend on the same as earlier ones: on its vector, on the plan and on its settings."""

from __future__ import annotations

from dataclasses import replace

from ..events import EventSettings
from .recording import Context


def is_same(label: str, first: Context, second: Context) -> bool:
    """Whether events of a label depend on the same in two contexts, whatever the thresholds and the choice of labels.

    Other labels count where the label's events need them: those of its condition, and of its group.
    """
    if first is second:
        return True
    if first.plan != second.plan or label not in first.names or label not in second.names:
        return False
    if _settings(label, first.settings) != _settings(label, second.settings):
        return False
    if first.bank == second.bank:
        return True
    names = _needed(label, first.settings)
    vectors = [_vectors(names, context) for context in (first, second)]
    return None not in vectors and vectors[0] == vectors[1]


def _needed(label: str, settings: EventSettings) -> list[str]:
    """The label, and all labels on which its events depend."""
    names = [label]
    for name in names:  # which grows
        others = [member for group in settings.groups.values() if name in group for member in group]
        if rule := settings.when.get(name):
            others += [*rule.present, *rule.absent]
        names += [other for other in dict.fromkeys(others) if other not in names]
    return names


def _settings(label: str, settings: EventSettings) -> EventSettings:
    """Those that the events of a label depend on but for thresholds and the choice of labels."""
    names = set(_needed(label, settings))
    when = {name: rule for name, rule in settings.when.items() if name in names}
    groups = {name: group for name, group in settings.groups.items() if names & {*group}}
    return replace(settings, on={}, off={}, labels=None, deny=(), when=when, groups=groups)


def _vectors(names: list[str], context: Context) -> list[str] | None:
    """None: memories of version 0.2 do not have them, nor does one of a bank that was just replaced."""
    if context.vectors is None:
        return None
    return [
        context.vectors[context.names.index(name)] if name in context.names else "missing"
        for name in names
    ]
