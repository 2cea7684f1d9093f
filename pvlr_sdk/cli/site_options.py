"""A site's configuration from a file and from options that add to it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import errors

if TYPE_CHECKING:
    from ..site import SiteConfig

_NAMED = re.compile(r"([A-Za-z0-9_.-]+)=(.+)", re.DOTALL)


def build_config(
    path: Path | None,
    uris: Sequence[str],
    *,
    region: str | None = None,
    settings: Mapping[str, Any] | None = None,
    events: Mapping[str, Any] | None = None,
    stream: Mapping[str, Any] | None = None,
    serve: Mapping[str, Any] | None = None,
    sinks: Sequence[Mapping[str, Any]] = (),
    stdout: bool = True,
) -> SiteConfig:
    """The configuration in a file, or an empty one, with what the options say added or put in its place.

    Args:
        path: the YAML file.
        uris: more cameras, ``NAME=URI`` or just the URI, whose host or file then gives the name.
        region: of those cameras, as ``x,y,w,h``.
        settings, events, stream, serve: keys to replace at the top and in these sections; None leaves them alone.
        sinks: more sinks.
        stdout: without any sink, events go to stdout.

    Raises:
        ConfigError, OptionError, MissingPartError: a key, an option or PyYAML is wrong or missing.
    """
    from ..site.config import SiteConfig, read_yaml

    raw: dict[str, Any] = read_yaml(path) if path else {}
    source = str(path) if path else "options"
    raw.update(_given(settings))
    for name, values in (("events", events), ("stream", stream), ("serve", serve)):
        if _given(values):
            raw[name] = {**_section(raw, name, source, dict), **_given(values)}
    cameras = dict(_section(raw, "cameras", source, dict))
    for uri in uris:
        named = _NAMED.fullmatch(uri)
        name, uri = (named[1], named[2]) if named else (_free_name(uri, cameras), uri)
        cameras[name] = {"uri": uri, **({"region": _region(region)} if region else {})}
    if not cameras and not path:
        raise errors.OptionError("URI", expected="a camera", got="none", hint="Name one, or a --config with cameras.")
    if cameras:
        raw["cameras"] = cameras
    raw["sinks"] = [*_section(raw, "sinks", source, list), *map(dict, sinks)]
    if stdout and not raw["sinks"]:
        raw["sinks"] = [{"kind": "jsonl", "path": "-"}]
    return SiteConfig.parse(raw, source=source, folder=path.parent if path else None)


def _given(values: Mapping[str, Any] | None) -> dict[str, Any]:
    return {
        key: str(value) if isinstance(value, Path) else value
        for key, value in (values or {}).items()
        if value is not None
    }


def _section(raw: Mapping[str, Any], key: str, source: str, kind: type[Any]) -> Any:
    value = raw.get(key)
    if value is not None and not isinstance(value, kind):
        expected = "a list" if kind is list else "a mapping of keys"
        raise errors.ConfigError(f"{source}: {key}", expected=expected, got=repr(value), hint="See docs/events.md.")
    return kind() if value is None else value


def _free_name(uri: str, taken: Mapping[str, Any]) -> str:
    """A name for a camera, from its host, device or file."""
    from ..sources.uri import DeviceUri, NetworkUri, PathUri, parse_uri

    parsed = parse_uri(uri)
    if isinstance(parsed, NetworkUri):
        text = parsed.host
    elif isinstance(parsed, (PathUri, DeviceUri)):
        text = Path(parsed.path if isinstance(parsed, PathUri) else parsed.device).stem
    else:
        text = uri.partition(":")[0]
    base = re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_")[:48] or "camera"
    name, number = base, 2
    while name in taken:
        name, number = f"{base}-{number}", number + 1
    return name


def _region(text: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != 4:
        raise errors.OptionError(
            "--region", expected="left,top,width,height as fractions", got=repr(text), hint="For example 0.5,0,0.5,1."
        )
    return numbers
