"""The labels that settings name, in mappings, sequences, rules and groups."""

from __future__ import annotations

from typing import Any


def without(value: Any, labels: frozenset[str]) -> Any:
    """A mapping or a sequence of labels without some of them, and without rules that name them; None stays None. A
    group of which one label is left is none."""
    if isinstance(value, dict):
        groups = {
            key: without(item, labels)
            for key, item in value.items()
            if isinstance(item, (list, tuple))
        }
        others = {key: item for key, item in value.items() if key not in groups}
        kept = {key: item for key, item in others.items() if labels.isdisjoint(named({key: item}))}
        return {**kept, **{key: item for key, item in groups.items() if len(item) > 1}}
    return None if value is None else type(value)(label for label in value if label not in labels)


def named(value: Any) -> frozenset[str]:
    """The labels that a mapping or a sequence of labels names, also in rules of ``when``, or those of groups."""
    if isinstance(value, dict) and any(isinstance(item, (list, tuple)) for item in value.values()):
        return frozenset(label for labels in value.values() for label in labels)
    items = value.values() if isinstance(value, dict) else ()
    rules = [dict(rule) for rule in items if not isinstance(rule, (int, float))]
    return frozenset(value or ()).union(
        *(rule.get(name, ()) for rule in rules for name in ("present", "absent"))
    )
