"""``--print-config``: a site as one YAML file, with the origin of each setting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..cameras.site.changes import Changes

_OPTION = "option"
_CHANGE = "changed while running"


def settings_with_origins(raw: Mapping[str, Any], file: Mapping[str, Any], changes: Changes) -> str:
    """The text of a site file. Settings without a comment are those of the file.

    Args:
        raw: the settings of the file and of options.
        file: those of the file alone.
        changes: what was changed while the site ran.
    """
    from ..cameras.site.yaml_file import format_yaml

    origins = dict.fromkeys(_different(raw, file, ()), _OPTION)
    settings = {**raw}
    for keys, value in _changed(changes, settings):
        settings = _with(settings, keys, value)
        origins = {place: origin for place, origin in origins.items() if place[: len(keys)] != keys}
        if keys[-1] != "uri":  # of a camera that the file has as its URI alone
            origins[keys] = _CHANGE
    return format_yaml(settings, origins)


def _different(value: Any, other: Any, place: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The places of settings that another mapping does not have."""
    if isinstance(value, Mapping):
        others = other if isinstance(other, Mapping) else {}
        return [
            leaf
            for key in value
            for leaf in _different(value[key], others.get(key, ...), (*place, key))
        ]
    return [] if value == other else [place]


def _changed(changes: Changes, settings: Mapping[str, Any]) -> list[tuple[tuple[str, ...], Any]]:
    """The keys of changed settings, and their values; a dollar begins a variable in a site file."""
    changed: list[tuple[tuple[str, ...], Any]] = []
    for label, value in changes.thresholds.items():
        changed.append((("events", "thresholds", label), value))
    if changes.labels is not None:
        names = (
            None
            if changes.labels == "all"
            else [label.replace("$", "$$") for label in changes.labels]
        )
        changed.append((("events", "labels"), names))
        if (settings.get("events") or {}).get("deny"):
            changed.append((("events", "deny"), []))
    for name, camera in changes.cameras.items():
        written = (settings.get("cameras") or {}).get(name)
        if not isinstance(written, Mapping):
            changed.append((("cameras", name, "uri"), written))
        if camera.enabled is not None:
            changed.append((("cameras", name, "enabled"), camera.enabled))
        if camera.regions is not None:
            regions = (isinstance(written, Mapping) and written.get("regions")) or {}
            shapes = {
                region: {**regions.get(region, {}), **shape.model_dump(mode="json")}
                for region, shape in camera.regions.items()
            }
            changed.append((("cameras", name, "regions"), shapes))
    if changes.deployed:
        changed.append((("plan",), str(changes.deployed.plan).replace("$", "$$")))
    return changed


def _with(settings: Any, keys: tuple[str, ...], value: Any) -> Any:
    """A copy of nested mappings with one value set."""
    if not keys:
        return value
    mapping = settings if isinstance(settings, Mapping) else {}
    return {**mapping, keys[0]: _with(mapping.get(keys[0]), keys[1:], value)}
