"""``--print-config``: a site as one YAML file, with the origin of each setting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:
    from ..cameras.site.changes import CameraChange, Changes

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


_Change: TypeAlias = tuple[tuple[str, ...], Any]
"""The keys of a setting, and its value."""


def _changed(changes: Changes, settings: Mapping[str, Any]) -> list[_Change]:
    """The changed settings. A dollar begins a variable in a site file."""
    changed: list[_Change] = []
    for label, value in changes.thresholds.items():
        changed.append((("events", "thresholds", label), value))
    if changes.labels is not None:
        changed.append((("events", "labels"), _listed(changes.labels)))
        if (settings.get("events") or {}).get("deny"):
            changed.append((("events", "deny"), []))
    cameras = settings.get("cameras") or {}
    for name, camera in changes.cameras.items():
        for keys, value in _changed_camera(camera, cameras.get(name)):
            changed.append((("cameras", name, *keys), value))
    if changes.deployed:
        changed.append((("plan",), str(changes.deployed.plan).replace("$", "$$")))
    return changed


def _listed(labels: Literal["all"] | tuple[str, ...]) -> list[str] | None:
    """As in a site file, where None is every label."""
    return None if labels == "all" else [label.replace("$", "$$") for label in labels]


def _changed_camera(camera: CameraChange, written: Any) -> list[_Change]:
    """The changed settings of a camera, which the file writes as its URI or as a mapping."""
    changed: list[_Change] = []
    if not isinstance(written, Mapping):
        changed.append((("uri",), written))
        written = {}
    if camera.enabled is not None:
        changed.append((("enabled",), camera.enabled))
    if camera.regions is not None:
        regions = written.get("regions") or {}
        shapes = {
            region: {**regions.get(region, {}), **shape.model_dump(mode="json")}
            for region, shape in camera.regions.items()
        }
        changed.append((("regions",), shapes))
    return changed


def _with(settings: Any, keys: tuple[str, ...], value: Any) -> Any:
    """A copy of nested mappings with one value set."""
    if not keys:
        return value
    mapping = settings if isinstance(settings, Mapping) else {}
    return {**mapping, keys[0]: _with(mapping.get(keys[0]), keys[1:], value)}
