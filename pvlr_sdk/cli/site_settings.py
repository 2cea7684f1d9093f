"""The settings of a site: of its file, of options, and of what was changed while it ran."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from .. import errors
from .._util.files import remove_leftovers
from . import option_groups
from .print_config import settings_with_origins

if TYPE_CHECKING:
    from ..cameras.control.plans import Plans
    from ..cameras.control.state import State
    from ..cameras.site import SiteConfig
    from ..cameras.site.changes import Changes

_NAMED = re.compile(r"([A-Za-z0-9_.-]+)=(.+)", re.DOTALL)
_log = logging.getLogger(__name__)


def build_config(
    uris: Sequence[str] = (),
    site: option_groups.Site = option_groups.Site(),
    model: option_groups.Model = option_groups.Model(),
    events: option_groups.Events = option_groups.Events(),
    *,
    sections: Mapping[str, Mapping[str, Any]] | None = None,
    stdout: bool = False,
) -> SiteSettings:
    """The configuration of a file, or an empty one, extended or overridden by options, and what was changed while it
    ran before. With ``--print-config``, prints it as a site file and exits.

    Args:
        uris: additional cameras: ``NAME=URI``, or a URI whose host or file gives the name.
        site, model, events: options; relative paths are relative to the working directory.
        sections: further keys of sections of the file, unless None.
        stdout: print events on stdout if no file for them is named.

    Raises:
        ConfigError, OptionError: a key or an option is invalid.
        MissingPartError: ruamel.yaml is not installed.
    """
    draft = _Draft(site.config)
    draft.use_model(model, site.device)
    draft.override("events", {"labels": events.labels, "min_duration": events.min_duration})
    for name, values in (sections or {}).items():
        draft.override(name, values)
    draft.override("memory", {"folder": events.memory and events.memory.absolute()})
    draft.set_thresholds(events.threshold or ())
    draft.add_cameras(uris, site.loop)
    draft.tile_cameras(site.tiles)
    draft.add_files(events.files or ())
    if site.print_config:
        changes = read_changes(draft.parse(), site.config, site.state, model.plan is None).changes
        typer.echo(settings_with_origins(draft.raw, draft.of_file(), changes), nl=False)
        raise typer.Exit
    if stdout and not draft.has_file_of_events():
        draft.add_files(["-"])
    config = draft.parse()
    if config.bank:
        remove_leftovers(config.bank.resolve())
    return read_changes(config, site.config, site.state, model.plan is None)


class _Draft:
    """The keys of a site file, before they are checked. Options extend and override them."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.raw = self.of_file()

    def of_file(self) -> dict[str, Any]:
        """The keys of the file alone."""
        from ..cameras.site.yaml_file import read_yaml

        return read_yaml(self._path) if self._path else {}

    def parse(self) -> SiteConfig:
        """The configuration. Raises ConfigError, which names all that is invalid."""
        from ..cameras.site.config import SiteConfig

        source = str(self._path) if self._path else "options"
        return SiteConfig.parse(self.raw, source=source, folder=self._path and self._path.parent)

    def use_model(self, model: option_groups.Model, device: str) -> None:
        from ..models.find import find_plan

        values = {
            "plan": model.plan and find_plan(model.plan).absolute(),
            "bank": model.bank and model.bank.absolute(),
            "words": model.words_list,
            "device": None if device == "auto" else device,
        }
        self.raw.update(_present(values))

    def override(self, name: str, values: Mapping[str, Any]) -> None:
        """Set the keys of a section that are not None."""
        if present := _present(values):
            self.raw[name] = {**self._section(self.raw, name, dict), **present}

    def set_thresholds(self, texts: Sequence[str]) -> None:
        """Set the thresholds of ``X`` for all labels, or of ``LABEL=X``; they extend the file's."""
        if not texts:
            return
        events = dict(self._section(self.raw, "events", dict))
        events["thresholds"] = dict(self._section(events, "thresholds", dict))
        for text in texts:
            label, value = _threshold(text)
            if label:
                events["thresholds"][label] = value
            else:
                events.update(threshold=value, thresholds={})
        self.raw["events"] = events

    def add_cameras(self, uris: Sequence[str], loop: bool) -> None:
        """Add cameras; one may replace a camera of the file. With ``loop`` they restart files at their end."""
        if loop and not uris:
            raise errors.OptionError(
                "--loop", "a camera as URI", "none", "For a camera of a site file, set loop: there."
            )
        of_file = self._section(self.raw, "cameras", dict)
        cameras = dict(of_file)
        for text in uris:
            named, uri = _split(text)
            name = named or _free_name(uri, cameras)
            if name in cameras and name not in of_file:
                raise errors.OptionError(
                    "URI", "each name once", f"{name!r} twice", "Rename a camera."
                )
            uri = _absolute(uri)
            cameras[name] = {"uri": uri, "loop": True} if loop else uri
        if cameras:
            self.raw["cameras"] = cameras

    def tile_cameras(self, tiles: str | None) -> None:
        """Set the tiles of all cameras. Raises OptionError."""
        from ..frames.tiles import check_tiles

        if not check_tiles(tiles):
            return
        cameras = {}
        for name, camera in self._section(self.raw, "cameras", dict).items():
            settings = camera if isinstance(camera, dict) else {"uri": camera}
            cameras[name] = {**settings, "tiles": tiles}
        if cameras:
            self.raw["cameras"] = cameras

    def add_files(self, files: Iterable[str]) -> None:
        """Write events as JSON lines to these files; ``-`` is stdout."""
        sinks = [
            {"kind": "jsonl", "path": file if file == "-" else os.path.abspath(file)}
            for file in files
        ]
        if sinks:
            self.raw["sinks"] = [*self._section(self.raw, "sinks", list), *sinks]

    def has_file_of_events(self) -> bool:
        sinks = self._section(self.raw, "sinks", list)
        return any(isinstance(sink, dict) and sink.get("kind") == "jsonl" for sink in sinks)

    def _section(self, keys: Mapping[str, Any], name: str, kind: type[Any]) -> Any:
        """The value of a key, or an empty one. Of another type, it raises all errors of the file."""
        value = keys.get(name)
        if value is not None and not isinstance(value, kind):
            self.parse()
        return kind() if value is None else value


def check_files(uris: Iterable[str]) -> None:
    """Raises SourceOpenError for a file or folder that is not there: a typo, unlike a camera that is away."""
    from ..cameras.sources import parse_uri
    from ..cameras.sources.uri import PathUri

    for _, uri in map(_split, uris):
        parsed = parse_uri(uri)
        if not isinstance(parsed, PathUri) or uri.startswith("$"):  # a variable may be any URI
            continue
        if not os.path.exists(parsed.path):
            raise errors.SourceOpenError(
                uri, "an image, a video or a folder", "no such file", "Check the path."
            )


def _split(text: str) -> tuple[str | None, str]:
    """The name, if there is one, and the URI of a camera on the command line."""
    named = _NAMED.fullmatch(text)
    return (named[1], named[2]) if named else (None, text)


class SiteSettings(NamedTuple):
    """A site as its file and options describe it, and what was changed while it ran before.

    ``state``: keeps further changes; ``plans``: names the plan of the next start; None: changes hold until the end.
    """

    config: SiteConfig
    changes: Changes
    state: State | None
    plans: Plans | None


def read_changes(
    config: SiteConfig, path: Path | None, folder: Path | None, plan_of_file: bool = True
) -> SiteSettings:
    """The changes of a site; those that no longer apply are ignored with a warning.

    ``plan_of_file``: an option that names the plan takes precedence over the site file and over deployments.
    """
    from ..cameras.control.plans import Plans
    from ..cameras.control.state import State
    from ..cameras.site.changes import Changes
    from ..cameras.site.config import load_config

    if path is None and folder is None:
        return SiteSettings(config, Changes(), None, None)
    state = State.of_site(path, folder) if path else State(folder or Path())
    state.remove_leftovers()
    stored = state.read_or_set_aside()
    if not plan_of_file:
        stored = stored.model_copy(update={"deployed": None})
    changes, dropped = stored.fitting(config)
    for name in dropped:
        _log.warning("%s: a change is ignored, since it no longer applies: %s", state.path, name)
    plans = Plans(state, lambda: load_config(path)) if path and plan_of_file else None
    if plans:
        plans.remove_leftovers()
    return SiteSettings(config, changes, state, plans)


def _present(values: Mapping[str, Any]) -> dict[str, Any]:
    present = {key: value for key, value in values.items() if value is not None}
    return {key: str(value) if isinstance(value, Path) else value for key, value in present.items()}


def _absolute(uri: str) -> str:
    """The URI of a camera; a path does not depend on the working directory any more."""
    from ..cameras.sources import parse_uri
    from ..cameras.sources.uri import PathUri

    parsed = parse_uri(uri)
    if isinstance(parsed, PathUri) and not uri.startswith("$"):  # a variable may be any URI
        return os.path.abspath(parsed.path)
    return uri


def _free_name(uri: str, taken: Mapping[str, Any]) -> str:
    """A unique name for a camera, from its host, device or file."""
    from ..cameras.sources import parse_uri
    from ..cameras.sources.uri import DeviceUri, NetworkUri, PathUri

    parsed = parse_uri(uri)
    if isinstance(parsed, NetworkUri):
        text = parsed.host
    elif isinstance(parsed, (PathUri, DeviceUri)):
        text = Path(parsed.path if isinstance(parsed, PathUri) else parsed.device).stem
    else:
        text = uri.partition(":")[0]
    base = re.sub(r"[^A-Za-z0-9_.-]+", "_", text).strip("_.")[:48] or "camera"
    name = base
    number = 2
    while name in taken:
        name = f"{base}-{number}"
        number += 1
    return name


def _threshold(text: str) -> tuple[str, float]:
    """The label, or an empty one, and the score of ``--threshold``. Raises OptionError."""
    label, _, number = text.rpartition("=")
    try:
        value = float(number)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise errors.OptionError(
            "--threshold",
            "a score from 0 to 1",
            repr(text),
            "For example --threshold 0.6, or --threshold person=0.6 for one label.",
        )
    return label, value
